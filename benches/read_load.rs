//! An open-loop load of reads over gRPC.
//!
//! Requests are sent when they are due, whether or not earlier ones are answered, and latency counts from when a request
//! was due: a server that stalls is not spared the requests that it held up.
//!
//! ```text
//! cargo run --release --example read_load -- --data-dir target/bench --rate 30000 --seconds 10
//! cargo run --release --example read_load -- --addr localhost:7117 --find
//! ```
//! With `--data-dir` the server is in this process, on threads of its own, and may be given new epochs all the while.

use clap::Parser;
use millrace::commands::{Kept, kept};
use millrace::serve::commit::Changed;
use millrace::serve::status::{Engine, EngineStatus};
use millrace::serve::{Commit, Publisher, ServeSettings, Server};
use millrace_dataflows::rows::Change;
use millrace_dataflows::table::Table;
use millrace_proto::v1;
use millrace_proto::v1::analytics_client::AnalyticsClient;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

/// Load a server with reads
#[derive(Clone, Debug, Parser)]
struct Options {
    /// The server
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "data_dir")]
    addr: Option<String>,
    /// A data directory that was replayed into, to serve from this process
    #[arg(long, value_name = "DIR", required_unless_present = "addr")]
    data_dir: Option<PathBuf>,
    /// Threads of that server
    #[arg(long, default_value_t = 1)]
    server_threads: usize,
    /// Threads that load
    #[arg(long, default_value_t = 1)]
    client_threads: usize,
    /// That server gets a new epoch so often; 0: never
    #[arg(long, value_name = "MS", default_value_t = 0)]
    publish_every: u64,
    /// Requests a second
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// How long; of each rate, with --find
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Before it counts, the rate is kept up for so long
    #[arg(long, default_value_t = 1)]
    warm_up: u64,
    /// Connections
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Parts of related products : one day's sales : a page of 100 rows of sales by day and product
    #[arg(long, default_value = "70:28:2", value_parser = parse_mix)]
    mix: [u32; 3],
    /// The exponent of the products' popularity
    #[arg(long, default_value_t = 1.0)]
    zipf: f64,
    /// Raise the rate by a tenth until p99 is over 10 ms or a hundredth of the requests are missing
    #[arg(long)]
    find: bool,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const P99_MOST: Duration = Duration::from_millis(10);
const PAGE_ROWS: u32 = 100;
/// Requests of one connection that may be open; what is due beyond that is late, and counted so.
const OPEN_MOST: usize = 500;
/// Answers are waited for so long after the last request.
const PATIENCE: Duration = Duration::from_secs(5);

fn parse_mix(text: &str) -> Result<[u32; 3], &'static str> {
    let parts: Vec<u32> = text.split(':').filter_map(|part| part.parse().ok()).collect();
    parts
        .try_into()
        .ok()
        .filter(|parts: &[u32; 3]| parts.iter().sum::<u32>() > 0)
        .ok_or("expected three numbers: 70:28:2")
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let local = options.data_dir.as_ref().map(|data_dir| Local::start(data_dir, &options)).transpose()?;
    let address = match (&options.addr, &local) {
        (Some(address), _) => address.clone(),
        (None, Some(local)) => local.server.address.to_string(),
        (None, None) => anyhow::bail!("--addr or --data-dir"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(options.client_threads).enable_all().build()?;
    let load = Arc::new(runtime.block_on(Load::prepare(&address, &options))?);
    println!("{} products, {} days, {} connections", load.products.len(), load.days.len(), options.connections);
    let mut rate = options.rate;
    loop {
        let report = runtime.block_on(load.clone().run(rate, &options));
        println!("{report}");
        if !options.find || !report.holds() {
            break;
        }
        rate += rate / 10;
    }
    if let Some(local) = local {
        local.publishing.store(false, Relaxed);
        for method in local.server.metrics.counts() {
            let mean = method.took.seconds / method.requests.max(1) as f64 * 1e6;
            println!("{}: {} requests, {} errors, {mean:.1} us each", method.method, method.requests, method.errors);
        }
    }
    Ok(())
}

/// A server in this process.
struct Local {
    server: Server,
    publishing: Arc<AtomicBool>,
}

struct NoEngine;

impl Engine for NoEngine {
    fn status(&self) -> EngineStatus {
        EngineStatus::default()
    }
    fn drain(&self) {}
    fn quarantine(&self) -> Table {
        Table::new(self.quarantine_columns())
    }

    fn quarantine_columns(&self) -> Vec<String> {
        ["rule", "offset"].map(str::to_owned).to_vec()
    }

    fn settings(&self) -> String {
        String::new()
    }
}

impl Local {
    fn start(data_dir: &std::path::Path, options: &Options) -> anyhow::Result<Local> {
        let Kept { shared, watermark, epoch, views } =
            kept(&data_dir.to_string_lossy(), &millrace::settings::Settings::default())?;
        let names: Vec<&str> = views.iter().map(|(name, _)| *name).collect();
        let settings = ServeSettings {
            address: "127.0.0.1:0".to_owned(),
            workers: options.server_threads,
            ..ServeSettings::default()
        };
        let mut publisher = Publisher::new(&shared, &names, settings.keep_epochs());
        let changes = |(name, state): &(&'static str, millrace_dataflows::rows::State)| {
            let rows: Vec<Change> = state.iter().map(|(key, sums)| (*key, 0, sums.to_measures())).collect();
            (*name, rows)
        };
        let changes: Vec<(&'static str, Vec<Change>)> = views.iter().map(changes).collect();
        // What a later epoch touches: some hundred rows of each view, to and fro.
        let touched: Vec<(&'static str, Vec<Change>)> = changes
            .iter()
            .map(|(view, rows)| (*view, rows.iter().step_by(rows.len() / 200 + 1).cloned().collect()))
            .collect();
        publisher.add(commit(epoch, watermark, changes));
        publisher.publish();
        let server = Server::start(&settings, publisher.board(), Arc::new(NoEngine), Arc::new(|| 0))?;
        let publishing = Arc::new(AtomicBool::new(options.publish_every > 0));
        let (going, every) = (publishing.clone(), Duration::from_millis(options.publish_every));
        std::thread::spawn(move || {
            let mut epoch = epoch;
            while going.load(Relaxed) {
                std::thread::sleep(every);
                epoch += 1;
                publisher.add(commit(epoch, watermark, touched.clone()));
                publisher.publish();
            }
        });
        Ok(Local { server, publishing })
    }
}

/// What an engine that reads nothing has at an epoch.
fn commit(epoch: u64, watermark: Option<i64>, changes: Vec<(&'static str, Vec<Change>)>) -> Commit {
    let changes = changes.into_iter().map(|(view, changes)| (view, Changed::List(changes))).collect();
    Commit { epoch, at_ms: epoch, watermark, positions: None, names: Vec::new(), changes }
}

/// What is asked.
struct Load {
    clients: Vec<AnalyticsClient<Channel>>,
    products: Vec<String>,
    /// Of the products, the sums of their popularity up to each.
    popularity: Vec<f64>,
    days: Vec<String>,
}

impl Load {
    async fn prepare(address: &str, options: &Options) -> anyhow::Result<Load> {
        let mut clients = Vec::new();
        for _ in 0..options.connections {
            let channel = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?;
            clients.push(AnalyticsClient::new(channel).max_decoding_message_size(64 << 20));
        }
        let by = |column: &str, order: Option<&str>, limit| v1::GetSalesRequest {
            group_by: vec![column.to_owned()],
            order_by: order
                .into_iter()
                .map(|column| v1::OrderBy { column: column.to_owned(), descending: true })
                .collect(),
            limit,
            ..v1::GetSalesRequest::default()
        };
        let mut client = clients[0].clone();
        let products = client.get_sales(by("product_id", Some("lines"), 10_000)).await?.into_inner().rows;
        let products: Vec<String> = products.into_iter().filter_map(|row| row.product_id).collect();
        let days = client.get_sales(by("day", None, 0)).await?.into_inner().rows;
        let days: Vec<String> = days.into_iter().filter_map(|row| row.day).collect();
        // The large answer whose pages are asked for is worked out before the clock runs.
        client.query(page()).await?;
        anyhow::ensure!(!products.is_empty() && !days.is_empty(), "there are no sales to ask for");
        let mut sum = 0.0;
        let popularity = (1..=products.len()).map(|rank| {
            sum += 1.0 / (rank as f64).powf(options.zipf);
            sum
        });
        Ok(Load { clients, popularity: popularity.collect(), products, days })
    }

    async fn run(self: Arc<Self>, rate: u64, options: &Options) -> Report {
        let (sender, mut done) = mpsc::unbounded_channel();
        let start = Instant::now() + Duration::from_millis(50);
        let connections = options.connections as u64;
        for connection in 0..connections {
            let (load, options, sender) = (self.clone(), options.clone(), sender.clone());
            tokio::spawn(async move { load.send(connection, rate, start, &options, sender).await });
        }
        drop(sender);
        let start = start + Duration::from_secs(options.warm_up);
        tokio::time::sleep_until(start.into()).await;
        let cpu = cpu_time::ProcessTime::now();
        let mut report = Report { rate, seconds: options.seconds, ..Report::default() };
        let patience = start + Duration::from_secs(options.seconds) + PATIENCE;
        let mut batch = Vec::new();
        while let Ok(count @ 1..) = tokio::time::timeout_at(patience.into(), done.recv_many(&mut batch, 1 << 14)).await
        {
            report.answers += count as u64;
            for (latency, good) in batch.drain(..) {
                report.errors += u64::from(!good);
                report.latencies.push(latency);
            }
        }
        report.took = start.elapsed();
        report.cpu = cpu.elapsed();
        report.latencies.sort_unstable();
        report
    }

    /// Every request of one connection that is due, in its time.
    async fn send(
        &self,
        connection: u64,
        rate: u64,
        start: Instant,
        options: &Options,
        done: mpsc::UnboundedSender<(Duration, bool)>,
    ) {
        let connections = options.connections as u64;
        let mut random = SmallRng::seed_from_u64(options.seed * 1_000 + connection);
        let open = Arc::new(tokio::sync::Semaphore::new(OPEN_MOST));
        let client = &self.clients[connection as usize];
        let counts_from = start + Duration::from_secs(options.warm_up);
        for number in (connection..rate * (options.warm_up + options.seconds)).step_by(connections as usize) {
            let due = start + Duration::from_nanos(number * 1_000_000_000 / rate);
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            let Ok(permit) = open.clone().acquire_owned().await else { return };
            let asked = self.one(&mut random, options);
            let (mut client, done) = (client.clone(), done.clone());
            tokio::spawn(async move {
                let good = match asked {
                    Asked::Related(request) => client.get_related_products(request).await.is_ok(),
                    Asked::Sales(request) => client.get_sales(request).await.is_ok(),
                    Asked::Page(request) => client.query(request).await.is_ok(),
                };
                if due >= counts_from {
                    let _ = done.send((due.elapsed(), good));
                }
                drop(permit);
            });
        }
    }

    fn one(&self, random: &mut SmallRng, options: &Options) -> Asked {
        let [related, sales, _] = options.mix;
        let kind = random.random_range(0..options.mix.iter().sum());
        if kind < related {
            let most = self.popularity.last().copied().unwrap_or(1.0);
            let at = random.random_range(0.0..most);
            let rank = self.popularity.partition_point(|sum| *sum <= at).min(self.products.len() - 1);
            return Asked::Related(v1::GetRelatedProductsRequest {
                product_id: self.products[rank].clone(),
                kind: "viewed_together".to_owned(),
                ..Default::default()
            });
        }
        if kind < related + sales {
            let day = self.days[random.random_range(0..self.days.len())].clone();
            return Asked::Sales(v1::GetSalesRequest { day: Some(day), ..Default::default() });
        }
        Asked::Page(page())
    }
}

fn page() -> v1::QueryRequest {
    let group_by = vec!["day".to_owned(), "product_id".to_owned()];
    let query = Some(v1::Query { view: "sales".to_owned(), group_by, ..Default::default() });
    v1::QueryRequest { query, page_size: PAGE_ROWS, ..Default::default() }
}

enum Asked {
    Related(v1::GetRelatedProductsRequest),
    Sales(v1::GetSalesRequest),
    Page(v1::QueryRequest),
}

#[derive(Debug, Default)]
struct Report {
    rate: u64,
    seconds: u64,
    answers: u64,
    errors: u64,
    latencies: Vec<Duration>,
    took: Duration,
    /// Of this process: that of the load, and of the server where it is in it.
    cpu: Duration,
}

impl Report {
    fn percentile(&self, part: f64) -> Duration {
        let at = (self.latencies.len() as f64 * part) as usize;
        self.latencies.get(at.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    fn holds(&self) -> bool {
        let missing = (self.rate * self.seconds).saturating_sub(self.answers - self.errors);
        self.percentile(0.99) <= P99_MOST && missing * 100 <= self.rate * self.seconds
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let achieved = self.answers as f64 / self.took.as_secs_f64();
        let [half, p99, p999] = [0.5, 0.99, 0.999].map(|part| self.percentile(part).as_secs_f64() * 1e3);
        write!(
            f,
            "{} asked/s: {achieved:.0} answers/s, p50 {half:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, \
             {:.1} us of CPU each, {} errors{}",
            self.rate,
            self.cpu.as_secs_f64() * 1e6 / self.answers.max(1) as f64,
            self.errors,
            if self.holds() { "" } else { " (too slow)" }
        )
    }
}
