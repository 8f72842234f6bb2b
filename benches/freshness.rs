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
    println!("|  asked/s |   sent/s | p50 ms | p99 ms | p99.9 ms | max ms | versions/s | engine us/event | engine cores | broker | driver |");
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
                    send(&producer, &topic, partition_of(&info, partitions), line, info.arrival)?;
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
        let (mut report, end) = (Report { asked: rate, ..Report::default() }, begin + Duration::from_secs(options.seconds));
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
    line: Vec<u8>,
    /// Of `line`, if it is still to be sent.
    next: Option<LineInfo>,
}

impl Opened {
    fn new(rate: u32, seed: u64) -> anyhow::Result<Opened> {
        let start = now_micros() - i64::try_from(OPEN_SINCE.as_micros())?;
        let generator = Generator::new(Shop::live(f64::from(rate), start, seed))?;
        let mut opened = Opened { generator, before: VecDeque::new(), line: Vec::new(), next: None };
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
        let info = if let Some((info, line)) = self.before.pop_front() {
            self.line_before = line;
            info
        } else {
            let info = self.peek().filter(|info| info.arrival <= now)?;
            self.next = None;
            info
        };
        Some((info, self.line.strip_suffix(b"\n").unwrap_or(&self.line)))
    }
}
