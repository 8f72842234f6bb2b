//! What a view's table costs: CPU-seconds to write and to read 2 M rows.
//!
//! `cargo run --release -p millrace-connectors --example table_speed`

use millrace_connectors::lake::{Column, Columns, Compression, TextBuilder, read_table, write_table};
use millrace_connectors::store::{Local, Store};
use std::sync::Arc;
use std::time::Instant;

const ROWS: i64 = 2_000_000;

fn main() {
    let mut table = Columns::default();
    let mut products = TextBuilder::default();
    let mut related = TextBuilder::default();
    for row in 0..ROWS {
        products.push(Some(&format!("{}", 1_000_000 + row / 10)));
        related.push(Some(&format!("{}", 1_000_000 + row * 7_919 % 200_000)));
    }
    table.push("product_id", Column::Text(products.finish()));
    table.push("rank", Column::Int((0..ROWS).map(|row| Some(row % 10)).collect()));
    table.push("related_id", Column::Text(related.finish()));
    table.push("n_ab", Column::Int((0..ROWS).map(|row| Some(row * 31 % 500)).collect()));
    table.push("cosine", Column::Float((0..ROWS).map(|row| Some(1.0 / (row % 5_000 + 1) as f64)).collect()));
    let store: Arc<dyn Store> = Arc::new(Local::new(&std::env::temp_dir(), false));
    let key = format!("table_speed-{}.parquet", std::process::id());
    for compression in [Compression::Snappy, Compression::Zstd] {
        let (cpu, start) = (cpu_seconds(), Instant::now());
        let file = write_table(&store, &key, &table, compression).expect("a temporary file can be written");
        let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        println!("{compression:?}: write {cpu:.2} CPU-s ({wall:.2} s), {} MB", file.bytes / 1_000_000);
    }
    let cpu = cpu_seconds();
    let read = read_table(&key, store.get(&key).expect("it was just written")).expect("it was just written");
    println!("read {:.2} CPU-s", cpu_seconds() - cpu);
    assert!(read == table, "it reads back");
    store.delete(&[key]).expect("it was just written");
}

/// User and system time of this process, all threads: fields 14 and 15 of `man proc`, 100 ticks a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or("").split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}
