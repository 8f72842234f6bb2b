//! How old an answer is: the time from a record's acknowledgement by Kafka to the first answer over gRPC that covers it.
//!
//! ```text
//! generated events ──▶ producer ──▶ topic ──▶ millrace run, all views on ──▶ every version, as it is published
//!                          └─ acknowledged: (partition, offset), when ────────┴─▶ covered: when
//! ```
//! ```text
//! cargo build --release --bins --examples
//! target/release/examples/freshness --rates 1000,10000,50000 --seconds 20
//! ```
//! Reads are sales in total with `min_epoch` one above the answer before, one at a time on one connection: each is answered
//! as soon as there is a newer version, so that every version is seen when it shows. A read in a tight loop would see the
//! same, and take a core from what is measured.
//!
//! Every record counts, and the first record of those that are acknowledged together tells the time of all. Broker, engine and
//! this driver share the machine; the driver's CPU time is printed beside the others'.

mod running;

use anyhow::Context;
use clap::Parser;
use millrace::generate::command::partition_of;
use millrace::generate::{Generator, LineInfo, Options as Shop};
use millrace_connectors::producer::Producer as Topic;
use millrace_parts::kafka::Broker;
use millrace_proto::v1;
use millrace_proto::v1::analytics_client::AnalyticsClient;
use rdkafka::Message as _;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use running::Engine;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tonic::transport::{Channel, Endpoint};

/// Measure how old answers are while events flow
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Events a second, one run each
    #[arg(long, default_value = "1000,10000,50000", value_delimiter = ',')]
    rates: Vec<u32>,
    /// How long, of each rate
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Before it counts, the rate is kept up for so long
    #[arg(long, default_value_t = 8)]
    warm_up: u64,
    #[arg(long, default_value_t = NonZeroUsize::new(12).expect("it is not 0"))]
    partitions: NonZeroUsize,
    /// Brokers; without, one is started
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// The program; the one beside this if not given
    #[arg(long, value_name = "PATH")]
    millrace: Option<PathBuf>,
    /// A setting of the engine, as live.workers=1
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The shop has been open for so long: sessions begin and end at one rate.
const OPEN_SINCE: Duration = Duration::from_secs(12 * 60);
/// How long the driver sleeps where nothing is due.
const STEP: Duration = Duration::from_millis(1);
/// How long the end waits for what was sent to be covered.
const PATIENCE: Duration = Duration::from_secs(30);
/// Records that are acknowledged within this time are taken together.
const TOGETHER: Duration = Duration::from_micros(100);

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let started = options.brokers.is_none().then(|| Broker::start(&millrace_parts::kafka::Options::default()));
    let broker = started.transpose()?;
    let brokers = options.brokers.clone().or_else(|| broker.as_ref().map(|broker| broker.bootstrap().to_owned()));
    let brokers = brokers.context("one is started where none is given")?;
    println!(
        "|  asked/s |   sent/s | p50 ms | p99 ms | p99.9 ms | max ms | versions/s | engine us/event | engine cores | broker | driver |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for &rate in &options.rates {
        println!("{}", measure(rate, &brokers, broker.as_ref().and_then(Broker::pid), &options)?);
    }
    Ok(())
}

/// One rate: a topic and an engine of its own.
fn measure(rate: u32, brokers: &str, broker: Option<u32>, options: &Options) -> anyhow::Result<Report> {
    let topic = format!("freshness-{rate}-{}", now_micros());
    drop(Topic::open(brokers, &topic, u32::try_from(options.partitions.get())?, &BTreeMap::new())?);
    let mut settings = vec![
        "source.kind=kafka".to_owned(),
        format!("source.kafka.brokers={brokers}"),
        format!("source.kafka.topics=[{{name=\"{topic}\"}}]"),
    ];
    settings.extend(options.set.iter().cloned());
    let engine = Engine::start(options.millrace.as_deref(), &settings)?;

    let acknowledged = Acknowledged::new(options.partitions.get());
    let producer: ThreadedProducer<Acknowledged> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "1")
        .set("batch.size", "262144")
        .create_with_context(acknowledged.clone())?;
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut shop = Opened::new(rate, options.seed)?;
    let sending = std::thread::spawn({
        let (stop, sent, topic, partitions) = (stop.clone(), sent.clone(), topic.clone(), options.partitions);
        move || -> anyhow::Result<()> {
            while !stop.load(Relaxed) {
                let now = now_micros();
                while let Some((info, line)) = shop.due(now) {
                    send(&producer, &topic, partition_of(&info, partitions) as u32, line, info.arrival)?;
                    sent.fetch_add(1, Relaxed);
                }
                std::thread::sleep(STEP);
            }
            Ok(producer.flush(PATIENCE)?)
        }
    });

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let channel = Endpoint::from_shared(format!("http://{}", engine.address))?.tcp_nodelay(true).connect().await?;
        let mut reading = Reading { client: AnalyticsClient::new(channel), topic, epoch: 0 };
        let begin = Instant::now() + Duration::from_secs(options.warm_up);
        while Instant::now() < begin {
            acknowledged.covered_by(&reading.next().await?);
        }
        let before = Usage::now(&mut reading, broker).await?;
        let (begin, sent_before) = (Instant::now(), sent.load(Relaxed));
        let (mut report, end) =
            (Report { asked: rate, ..Report::default() }, begin + Duration::from_secs(options.seconds));
        while Instant::now() < end {
            let next_offsets = reading.next().await?;
            report.versions += 1;
            report.ages.extend(acknowledged.covered_by(&next_offsets));
        }
        report.took = begin.elapsed();
        report.sent = sent.load(Relaxed) - sent_before;
        report.usage = Usage::now(&mut reading, broker).await?.since(&before);
        Ok::<_, anyhow::Error>(report)
    });
    stop.store(true, Relaxed);
    sending.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
    report
}

/// A shop that has been open for a while.
struct Opened {
    generator: Generator,
    /// Its dimension records until now, which are sent first; of the events of that time, none is.
    before: VecDeque<(LineInfo, Vec<u8>)>,
    /// The last of those.
    sent: Vec<u8>,
    line: Vec<u8>,
    /// Of `line`, if it is still to be sent.
    next: Option<LineInfo>,
}

impl Opened {
    fn new(rate: u32, seed: u64) -> anyhow::Result<Opened> {
        let start = now_micros() - i64::try_from(OPEN_SINCE.as_micros())?;
        let generator = Generator::new(Shop::live(f64::from(rate), start, seed))?;
        let mut opened = Opened { generator, before: VecDeque::new(), sent: Vec::new(), line: Vec::new(), next: None };
        while let Some(info) = opened.peek().filter(|info| info.arrival < now_micros()) {
            if info.dimension {
                opened.before.push_back((info, opened.line.clone()));
            }
            opened.next = None;
        }
        Ok(opened)
    }

    fn peek(&mut self) -> Option<LineInfo> {
        if self.next.is_none() {
            self.line.clear();
            self.next = self.generator.next_line(&mut self.line);
        }
        self.next
    }

    /// The next line, if its time has come.
    fn due(&mut self, now: i64) -> Option<(LineInfo, &[u8])> {
        if let Some((info, line)) = self.before.pop_front() {
            self.sent = line;
            return Some((info, self.sent.strip_suffix(b"\n").unwrap_or(&self.sent)));
        }
        let info = self.peek().filter(|info| info.arrival <= now)?;
        self.next = None;
        Some((info, self.line.strip_suffix(b"\n").unwrap_or(&self.line)))
    }
}

fn send(
    producer: &ThreadedProducer<Acknowledged>,
    topic: &str,
    partition: u32,
    line: &[u8],
    arrival: i64,
) -> anyhow::Result<()> {
    let partition = i32::try_from(partition)?;
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(partition).payload(line);
    record = record.timestamp(arrival / 1_000);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                record = unsent;
                std::thread::sleep(STEP);
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// The last offset of a run of records, when it was acknowledged, and how many they are.
type Run = (u64, Instant, u64);

/// By partition, the runs that no answer has covered yet, in order.
#[derive(Clone)]
struct Acknowledged(Arc<Vec<Mutex<VecDeque<Run>>>>);

impl Acknowledged {
    fn new(partitions: usize) -> Acknowledged {
        Acknowledged(Arc::new((0..partitions).map(|_| Mutex::default()).collect()))
    }

    fn take(&self, partition: usize, offset: u64) {
        let now = Instant::now();
        let mut waiting = self.0[partition].lock().expect("no holder panics");
        match waiting.back_mut() {
            Some((last, at, count)) if now.duration_since(*at) < TOGETHER => {
                *last = offset;
                *count += 1;
            }
            _ => waiting.push_back((offset, now, 1)),
        }
    }

    /// The ages of the records that these positions cover, and how many are of each.
    fn covered_by(&self, next_offsets: &[u64]) -> Vec<(Duration, u64)> {
        let now = Instant::now();
        let mut ages = Vec::new();
        for (waiting, next) in self.0.iter().zip(next_offsets) {
            let mut waiting = waiting.lock().expect("no holder panics");
            while let Some((_, at, count)) = waiting.pop_front_if(|(last, ..)| *last < *next) {
                ages.push((now.duration_since(at), count));
            }
        }
        ages
    }
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => self.take(message.partition() as usize, message.offset() as u64),
            Err((error, _)) => eprintln!("not delivered: {error}"),
        }
    }
}

/// Reads version after version.
struct Reading {
    client: AnalyticsClient<Channel>,
    topic: String,
    epoch: u64,
}

impl Reading {
    /// The positions of the next version.
    async fn next(&mut self) -> anyhow::Result<Vec<u64>> {
        let consistency = v1::Consistency { min_epoch: self.epoch + 1, ..v1::Consistency::default() };
        let request = v1::GetSalesRequest { consistency: Some(consistency), ..v1::GetSalesRequest::default() };
        let answer = self.client.get_sales(request).await?.into_inner();
        let at = answer.at.context("an answer says where it is true")?;
        self.epoch = at.epoch;
        let of_topic = at.positions.into_iter().find(|positions| positions.source == self.topic);
        Ok(of_topic.map(|positions| positions.next_offsets).unwrap_or_default())
    }
}

/// CPU seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    engine: f64,
    broker: f64,
    driver: f64,
}

impl Usage {
    async fn now(reading: &mut Reading, broker: Option<u32>) -> anyhow::Result<Usage> {
        let status = reading.client.get_status(v1::GetStatusRequest {}).await?.into_inner();
        Ok(Usage {
            engine: status.engine.map_or(0.0, |engine| engine.cpu_seconds),
            broker: broker.map_or(0.0, |pid| cpu_seconds(&pid.to_string())),
            driver: cpu_seconds("self"),
        })
    }

    fn since(&self, before: &Usage) -> Usage {
        Usage {
            engine: self.engine - before.engine,
            broker: self.broker - before.broker,
            driver: self.driver - before.driver,
        }
    }
}

/// User and system time of a process: fields 14 and 15 of `man proc`, 100 ticks a second.
fn cpu_seconds(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or("").split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

#[expect(clippy::disallowed_methods, reason = "the events it makes happen now")]
fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[derive(Debug, Default)]
struct Report {
    asked: u32,
    sent: u64,
    took: Duration,
    versions: u64,
    ages: Vec<(Duration, u64)>,
    usage: Usage,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut ages = self.ages.clone();
        ages.sort();
        let all: u64 = ages.iter().map(|(_, count)| count).sum();
        let quantile = |share: f64| {
            let mut left = (all as f64 * share) as u64;
            let found = ages.iter().find(|(_, count)| {
                let here = left < *count;
                left = left.saturating_sub(*count);
                here
            });
            found.or(ages.last()).map_or(f64::NAN, |(age, _)| age.as_secs_f64() * 1_000.0)
        };
        let seconds = self.took.as_secs_f64();
        write!(
            f,
            "| {} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
            self.asked,
            self.sent as f64 / seconds,
            quantile(0.5),
            quantile(0.99),
            quantile(0.999),
            quantile(1.0),
            self.versions as f64 / seconds,
            self.usage.engine * 1e6 / self.sent.max(1) as f64,
            self.usage.engine / seconds,
            self.usage.broker / seconds,
            self.usage.driver / seconds
        )
    }
}
