//! How long one line takes: `cargo run --release -p millrace-schema --example decode_speed -- events.jsonl`.
//!
//! Prints nanoseconds of this thread's CPU time per line.

use millrace_schema::decode::{Bump, DecodeSettings, decode, decode_reference};
use millrace_schema::{NameCache, Names, Place, Record, Reject};
use std::hint::black_box;
use std::sync::Arc;

type Decoder = for<'a> fn(&'a [u8], Option<i64>, &DecodeSettings, &'a Bump) -> Result<Record<'a>, Reject>;

fn main() {
    let path = std::env::args().nth(1).expect("usage: decode_speed <file.jsonl>");
    let bytes = std::fs::read(&path).expect("the file is readable");
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
    println!("{} lines, {} bytes each", lines.len(), bytes.len() / lines.len().max(1));
    for _ in 0..3 {
        report("decode", &lines, |lines| run(lines, decode, None));
        let mut names = NameCache::new(Arc::new(Names::default()));
        report("decode + to_event", &lines, |lines| run(lines, decode, Some(&mut names)));
        report("decode_reference", &lines, |lines| run(lines, decode_reference, None));
    }
}

/// Returns how many lines were accepted.
fn run(lines: &[&[u8]], decode: Decoder, mut names: Option<&mut NameCache>) -> usize {
    let settings = DecodeSettings::default();
    let mut accepted = 0;
    let mut arena = Bump::new();
    for (offset, line) in lines.iter().enumerate() {
        if let Ok(record) = &decode(line, None, &settings, &arena) {
            black_box(record);
            accepted += 1;
            if let Some(names) = names.as_deref_mut() {
                drop(black_box(record.to_event(Place::new(0, offset as u64), names)));
            }
        }
        if offset % 1_024 == 0 {
            arena.reset();
        }
    }
    accepted
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
