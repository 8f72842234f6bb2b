//! What event Parquet costs: CPU-seconds for 5 M events of a clickstream.
//!
//! `cargo run --release -p millrace-connectors --example event_parquet_speed -- [snappy|zstd] [sorted|permuted]`

use millrace_connectors::lake::{
    Compression, EventColumns, EventFiles, EventSettings, LakeError, LakeFile, Unfinished,
};
use millrace_connectors::source::PartitionInfo;
use millrace_connectors::store::{Local, Store};
use millrace_schema::calendar::Calendar;
use millrace_schema::{Currency, Kind, Page, Record};
use std::sync::Arc;
use std::time::Instant;

const EVENTS: u64 = 5_000_000;
const BATCH: usize = 16_384;
const REFERRERS: [&str; 4] = ["google", "newsletter", "instagram", "direct"];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let compression = if arguments.iter().any(|a| a == "zstd") { Compression::Zstd } else { Compression::Snappy };
    let permuted = arguments.iter().any(|argument| argument == "permuted");
    let directory = std::env::temp_dir().join(format!("event_parquet_speed-{}", std::process::id()));
    let partitions = [PartitionInfo { source: "events.jsonl.gz".into(), partition: 0, path: "events.jsonl.gz".into() }];

    // The cost of making the texts is measured alone first, then taken off.
    let before = cpu_seconds();
    let mut bytes = 0;
    generate(permuted, |record, _| bytes += record.event_id.len() + record.session_id.len());
    let generating = cpu_seconds() - before;

    let (before, start) = (cpu_seconds(), Instant::now());
    let mut columns = EventColumns::new(Calendar::utc());
    generate(permuted, |record, offset| {
        columns.push(record, offset, 0, 1);
        if columns.len() >= BATCH {
            drop(columns.finish(None));
        }
    });
    let staging = cpu_seconds() - before - generating;
    println!("staging  {staging:.2} CPU-s ({bytes} bytes of ids, {:.1} s)", start.elapsed().as_secs_f64());

    let settings = EventSettings { compression, ..EventSettings::default() };
    let (before, start) = (cpu_seconds(), Instant::now());
    let store: Arc<dyn Store> = Arc::new(Local::new(&directory, false));
    let mut files = EventFiles::new(store, "w0", settings);
    files.partitions(&partitions);
    let mut written: Vec<LakeFile> = Vec::new();
    let mut give = |file: Unfinished| -> Result<(), LakeError> {
        written.push(file.finish().expect("a temporary folder can be written"));
        Ok(())
    };
    let mut columns = EventColumns::new(Calendar::utc());
    generate(permuted, |record, offset| {
        columns.push(record, offset, 0, 1_700_000_000_000 + offset / 50_000_000);
        if columns.len() >= BATCH {
            // 1 % are duplicates.
            let keep = (0..columns.len()).map(|row| row % 100 != 0).collect();
            files.add(columns.finish(Some(keep)), &mut give).expect("a temporary folder can be written");
        }
    });
    files.add(columns.finish(None), &mut give).expect("a temporary folder can be written");
    files.end(&mut give).expect("a temporary folder can be written");
    let files = written;
    let total = cpu_seconds() - before - generating;
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    println!(
        "in all   {total:.2} CPU-s, {:.1} s, {} rows, {} files, {:.0} MB, peak memory {} MB",
        start.elapsed().as_secs_f64(),
        files.iter().map(|file| file.rows).sum::<u64>(),
        files.len(),
        bytes as f64 / 1e6,
        peak_megabytes()
    );
    if arguments.iter().any(|argument| argument == "keep") {
        println!("{}", directory.display());
    } else {
        std::fs::remove_dir_all(&directory).expect("it was made here");
    }
}

/// Sessions of ten events, many at a time; a view carries page, referrer and device, one event in twenty is a purchase.
fn generate(permuted: bool, mut each: impl FnMut(&Record<'_>, u64)) {
    let start = 1_569_888_000_000_000_i64;
    for number in 0..EVENTS {
        let event = if permuted { number.wrapping_mul(2_654_435_761) % EVENTS } else { number };
        let session = event / 2_000 * 200 + mix(event) % 200;
        let user = mix(session) % 150_000;
        // Skewed as products are: the product of two uniform numbers.
        let product = (mix(event ^ 7) % 100) * (mix(event ^ 9) % 100);
        let id = format!("evt_{event}");
        let random = mix(session ^ 3);
        let session_id = format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            random >> 32,
            random & 0xFFFF,
            session & 0xFFF,
            user & 0xFFFF,
            mix(random) & 0xFFFF_FFFF_FFFF
        );
        let user_id = format!("{}", 500_000_000 + user);
        let product_id = format!("{}", 1_000_000 + product * 37);
        let mut record = Record::empty(Kind::PageView, Currency::USD);
        record.event_id = &id;
        // Thirty days.
        record.time = start + event as i64 * (30 * 86_400 / 5) + (mix(event ^ 5) % 1_000_000) as i64;
        record.session_id = &session_id;
        record.user_id = &user_id;
        record.product_id = &product_id;
        match mix(event ^ 11) % 20 {
            0 => {
                record.kind = Kind::Purchase;
                record.order_id = &session_id;
                record.quantity = 1 + (event % 3) as i32;
                record.amount = 100 + (product * 13) as i64;
            }
            1 | 2 => {
                record.kind = Kind::AddToCart;
                record.quantity = 1;
            }
            other => {
                record.page = if other < 15 { Page::ProductDetail } else { Page::Category };
                record.referrer = REFERRERS[(session % 4) as usize];
                record.device = if session.is_multiple_of(3) { "desktop" } else { "mobile" };
            }
        }
        each(&record, number * 220);
    }
}

fn mix(value: u64) -> u64 {
    let mixed = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// User and system time of this process, all threads.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.rsplit(')').next().unwrap_or("").split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
    // Fields 14 and 15 of `man proc`, counted from after the name; 100 ticks a second.
    fields.get(11).copied().unwrap_or(0.0) / 100.0 + fields.get(12).copied().unwrap_or(0.0) / 100.0
}

fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}
