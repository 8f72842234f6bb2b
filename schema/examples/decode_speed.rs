//! How long one line takes: `cargo run --release -p millrace-schema --example decode_speed -- events.jsonl`.
//!
//! Prints nanoseconds of this thread's CPU time per line.

use millrace_schema::decode::{Bump, DecodeSettings, decode_into, decode_reference};
use millrace_schema::{Kind, NameCache, Names, Place, Record, Reject};
use std::hint::black_box;
use std::sync::Arc;

type Decoder = for<'a> fn(&'a [u8], Option<i64>, &DecodeSettings, &'a Bump, &mut Record<'a>) -> Result<(), Reject>;

fn main() {
    let path = std::env::args().nth(1).expect("usage: decode_speed <file.jsonl>");
    let bytes = std::fs::read(&path).expect("the file is readable");
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
    println!("{} lines, {} bytes each", lines.len(), bytes.len() / lines.len().max(1));
    for _ in 0..3 {
        report("decode", &lines, |lines| run(lines, decode_into, None));
        let mut names = NameCache::new(Arc::new(Names::default()));
        report("decode + to_event", &lines, |lines| run(lines, decode_into, Some(&mut names)));
        report("decode_reference", &lines, |lines| run(lines, reference, None));
    }
}

/// Returns how many lines were accepted.
fn run(lines: &[&[u8]], decode: Decoder, mut names: Option<&mut NameCache>) -> usize {
    let settings = DecodeSettings::default();
    let mut accepted = 0;
    let mut arena = Bump::new();
    let mut offset = 0;
    for block in lines.chunks(1_024) {
        let mut record = Record::empty(Kind::PageView, settings.default_currency);
        for line in block {
            offset += 1;
            if decode(line, None, &settings, &arena, &mut record).is_ok() {
                black_box(&record);
                accepted += 1;
                if let Some(names) = names.as_deref_mut() {
                    drop(black_box(record.to_event(Place::new(0, offset), names)));
                }
            }
        }
        arena.reset();
    }
    accepted
}

fn reference<'a>(
    line: &'a [u8],
    received_at: Option<i64>,
    settings: &DecodeSettings,
    arena: &'a Bump,
    record: &mut Record<'a>,
) -> Result<(), Reject> {
    *record = decode_reference(line, received_at, settings, arena)?;
    Ok(())
}

fn report(what: &str, lines: &[&[u8]], run: impl FnOnce(&[&[u8]]) -> usize) {
    let start = thread_cpu_ns();
    let accepted = run(lines);
    let per_line = (thread_cpu_ns() - start) as f64 / lines.len() as f64;
    println!("{what:18} {per_line:7.1} ns/line, {accepted} accepted");
}

/// Time on a CPU of this thread, by Linux's account of it.
fn thread_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("linux keeps schedstat");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("schedstat begins with a number")
}
