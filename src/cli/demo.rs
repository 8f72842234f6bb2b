//! `millrace demo`: everything at once, with no set-up; and `millrace demo refund`, which corrects its past.

use super::signal::{self, Stop};
use super::watch::parse_duration;
use super::{SettingsArgs, now_ms, serving};
use crate::client::Connection;
use crate::demo::{Correction, Fed, Injected, KafkaSink, LogSink, Place, Screen, Sink, Way, feed, inject};
use crate::generate::Options;
use crate::live::{self, Live};
use crate::log;
use crate::metrics::Process;
use crate::output::{Format, Layout, print, terminal};
use crate::serve::ServeError;
use crate::serve::status::Engine;
use crate::settings::{Origin, Settings, SourceKind, TopicSettings};
use anyhow::Context;
use clap::{Args, Subcommand};
use millrace_dataflows::query::Query;
use millrace_dataflows::table::{Table, Value};
use millrace_proto::prost_types;
use millrace_proto::v1;
use std::io::{ErrorKind, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  millrace demo
  millrace demo --rate 5000 --for 30s
  millrace demo --kafka localhost:9092
  millrace demo refund                 (in another terminal, while it runs)
  millrace query sales --addr 127.0.0.1:7117 --group-by category

Ctrl-C ends it.";

const REDRAW: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(20);
const MICROS_PER_SECOND: i64 = 1_000_000;

/// Watch a generated shop live: events, engine, answers, gRPC
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DemoArgs {
    #[command(subcommand)]
    then: Option<Then>,
    /// Events a second
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    rate: u32,
    /// How much of the past there is at the start
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = parse_duration)]
    history: Duration,
    /// End after this time, with a summary: 30s, 5m
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    how_long: Option<Duration>,
    /// Send the events through Kafka: host:port of some brokers
    #[arg(long, value_name = "BROKERS")]
    kafka: Option<String>,
    /// Folder for the events; what an earlier demonstration left there is removed
    #[arg(long, value_name = "DIR", default_value = "millrace-demo")]
    dir: PathBuf,
    /// Partitions of the events
    #[arg(long, value_name = "N", default_value = "4")]
    partitions: NonZeroUsize,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Subcommand)]
enum Then {
    /// Put a late refund and a reclassification in, and show the difference they make
    Refund(RefundArgs),
}

#[derive(Debug, Args)]
struct RefundArgs {
    /// The folder of the demonstration
    #[arg(long, value_name = "DIR", default_value = "millrace-demo")]
    dir: PathBuf,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl DemoArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        match &self.then {
            Some(Then::Refund(refund)) => refund.run(out),
            None => self.show(out),
        }
    }

    fn show(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let stop = Stop::listen()?;
        signal::end_on_panic();
        let loaded = self.settings.load()?;
        let wants_address =
            loaded.leaves.iter().any(|leaf| leaf.key == "serve.address" && leaf.origin != Origin::Default);
        let mut settings = loaded.settings;
        if wants_address {
            serving::check(&settings.serve)?;
        }
        let process = Arc::<Process>::default();
        let _endpoint = serving::figures(&settings.metrics, process.clone(), Arc::default())?;
        Place::prepare(&self.dir)?;
        let way = self.way()?;
        let sink = self.sinks(&way)?;
        read_from(&mut settings, &way);

        let started = Instant::now();
        let feeding = Feeding::start(self.options(), self.partitions, sink)?;
        let live = live::start(&settings, String::new())?;
        let mut taken = String::new();
        let server = match serving::start(&settings.serve, &live.board, live.engine.clone()) {
            // Somebody else has the port. Any other will do, unless it was asked for.
            Err(ServeError::Listen { address, reason }) if !wants_address && reason.kind() == ErrorKind::AddrInUse => {
                log::warning(format!("{address} (serve.address) is taken: another address is served on"));
                taken = format!(" ({address} is taken)");
                settings.serve.address = "127.0.0.1:0".to_owned();
                serving::start(&settings.serve, &live.board, live.engine.clone())?
            }
            server => server?,
        };
        process.shows(&live.board, live.engine.clone());
        server.iter().for_each(|server| process.is_served_by(server.ask()));
        let address = server.as_ref().map(|server| server.address.to_string()).unwrap_or_default();
        Place { address: address.clone(), way }.write(&self.dir)?;

        let until = self.how_long.map(|time| started + time);
        let is_over = || stop.is_asked() || until.is_some_and(|until| Instant::now() >= until);
        self.watch(&live, &feeding, &format!("{address}{taken}"), is_over, out)?;

        feeding.end()?;
        let board = live.board.clone();
        live.engine.drain();
        live.join()?;
        if let Some(server) = server {
            server.drain()?;
        }
        if stop.has_hung_up() && terminal::is_on_stdout() {
            return Ok(());
        }
        let version = board.current();
        writeln!(out, "\nafter {:.0} s", started.elapsed().as_secs_f64())?;
        write!(out, "{}", Screen::default().body(&version))?;
        Ok(())
    }

    /// Shows how it goes until it is over, or something has ended by itself.
    fn watch(
        &self,
        live: &Live,
        feeding: &Feeding,
        address: &str,
        is_over: impl Fn() -> bool,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let on_terminal = terminal::width().is_some();
        let mut screen = Screen::default();
        let mut next = Instant::now();
        let help = format!("gRPC on {address} · `millrace demo refund` corrects the past · Ctrl-C ends");
        if !on_terminal {
            writeln!(out, "{help}")?;
        }
        while !is_over() && !live.has_ended() && !feeding.has_ended() {
            if Instant::now() >= next {
                next = Instant::now() + if on_terminal { REDRAW } else { LINE_EVERY };
                let version = live.board.current();
                let header = screen.header(&version, &live.engine.status(), now_ms());
                if on_terminal {
                    draw(&format!("{header}\n{help}\n{}", screen.body(&version)), out)?;
                } else {
                    writeln!(out, "{header}")?;
                }
                out.flush()?;
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn options(&self) -> Options {
        let now = now_micros();
        let history = i64::try_from(self.history.as_micros()).unwrap_or(i64::MAX);
        let seed = now.unsigned_abs();
        Options { inventory: false, ..Options::live(f64::from(self.rate), now.saturating_sub(history).max(0), seed) }
    }

    fn way(&self) -> anyhow::Result<Way> {
        match &self.kafka {
            None => {
                let directory = std::path::absolute(&self.dir).context("finding the folder of the demonstration")?;
                Ok(Way::Log { events: directory.join("events"), corrections: directory.join("corrections") })
            }
            Some(brokers) => {
                // Topics of their own: an earlier demonstration's events are another shop's.
                let name = |what: &str, at: u64| format!("millrace-demo-{at}-{what}");
                let at = now_ms();
                let (events, corrections) = (name("events", at), name("corrections", at));
                Ok(Way::Kafka { brokers: brokers.clone(), events, corrections })
            }
        }
    }

    /// Makes both logs or topics. Returns the way to the events.
    fn sinks(&self, way: &Way) -> anyhow::Result<Box<dyn Sink>> {
        match way {
            Way::Log { events, corrections } => {
                // It is there, and nobody holds it.
                drop(LogSink::open(corrections, NonZeroUsize::MIN)?);
                Ok(Box::new(LogSink::open(events, self.partitions)?))
            }
            Way::Kafka { brokers, events, corrections } => {
                drop(KafkaSink::open(brokers, corrections, NonZeroUsize::MIN)?);
                Ok(Box::new(KafkaSink::open(brokers, events, self.partitions)?))
            }
        }
    }
}

fn read_from(settings: &mut Settings, way: &Way) {
    "earliest".clone_into(&mut settings.source.start);
    match way {
        Way::Log { events, corrections } => {
            settings.source.kind = SourceKind::Log;
            settings.source.log.paths = [events, corrections].map(|path| path.display().to_string()).to_vec();
        }
        Way::Kafka { brokers, events, corrections } => {
            let topic = |name: &String| TopicSettings {
                name: name.clone(),
                event_type: String::new(),
                type_header: String::new(),
            };
            settings.source.kind = SourceKind::Kafka;
            settings.source.kafka.brokers.clone_from(brokers);
            settings.source.kafka.topics = [events, corrections].map(topic).to_vec();
        }
    }
}

fn draw(text: &str, out: &mut dyn Write) -> std::io::Result<()> {
    const HOME: &str = "\x1b[H";
    const TO_END_OF_LINE: &str = "\x1b[K";
    const BELOW: &str = "\x1b[J";
    const HEIGHT_DEFAULT: usize = 50;
    let height = terminal::height().unwrap_or(HEIGHT_DEFAULT);
    write!(out, "{HOME}")?;
    for line in text.lines().take(height.saturating_sub(1)) {
        write!(out, "{line}{TO_END_OF_LINE}\r\n")?;
    }
    write!(out, "{BELOW}")
}

fn now_micros() -> i64 {
    i64::try_from(now_ms()).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000)
}

/// The thread that sends the events.
struct Feeding {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Feeding {
    fn start(options: Options, partitions: NonZeroUsize, mut sink: Box<dyn Sink>) -> anyhow::Result<Feeding> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let work = move || feed(options, partitions, &mut *sink, now_micros, &Arc::<Fed>::default(), &told);
        let thread =
            std::thread::Builder::new().name("feeder".to_owned()).spawn(work).context("starting the feeder")?;
        Ok(Feeding { stop, thread })
    }

    fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    fn end(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the feeder panicked")))
    }
}

impl RefundArgs {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let client = self.settings.load()?.settings.client;
        let Place { address, way } = Place::read(&self.dir)?;
        let connection = Connection::open(&address, &client)
            .with_context(|| format!("the demonstration of {} does not answer: is it running?", self.dir.display()))?;
        let sale = way.first_sale()?;
        let (amount, product) = (sale.currency.format(sale.amount), sale.product_id.clone());
        writeln!(
            out,
            "order {} of {} bought {} × {product} for {amount}",
            sale.order_id,
            time(sale.time),
            sale.quantity
        )?;

        let asking = Asking { connection: &connection, product: &product };
        let before = asking.sales(None)?;
        writeln!(out, "\nsales of {product}, by day and category:")?;
        show(&before, out)?;

        let now = now_micros();
        let refund = inject(&way, &Correction::Refund(Box::new(sale.clone())), now)?;
        let after = asking.sales(Some(&refund))?;
        let seconds = (now - sale.time) / MICROS_PER_SECOND;
        writeln!(out, "\nafter a refund of {amount}, {seconds} s after the sale:")?;
        show(&after, out)?;
        changes(&before, &after, out)?;

        let reclassify = Correction::Reclassify { product_id: product.clone() };
        let reclassified = inject(&way, &reclassify, now_micros())?;
        let last = asking.sales(Some(&reclassified))?;
        writeln!(out, "\nafter the product has moved to another category, with all its past:")?;
        show(&last, out)?;
        changes(&after, &last, out)?;
        Ok(())
    }
}

fn time(micros: i64) -> String {
    millrace_schema::calendar::rfc3339_micros(micros)
}

struct Asking<'a> {
    connection: &'a Connection,
    product: &'a str,
}

impl Asking<'_> {
    /// The sales of the product, once what was put in is in the answer.
    fn sales(&self, covered: Option<&Injected>) -> anyhow::Result<Table> {
        let query = Query {
            filters: vec![("product_id".to_owned(), self.product.to_owned())],
            ..Query::group_by(["day", "category"])
        };
        let covers = covered.map(|injected| v1::SourcePositions {
            source: injected.source.clone(),
            next_offsets: vec![injected.next_offset],
        });
        let consistency = v1::Consistency {
            covers: covers.into_iter().collect(),
            max_staleness: None::<prost_types::Duration>,
            ..v1::Consistency::default()
        };
        let (table, _) = self.connection.query_when("sales", &query, consistency)?;
        let shown = ["day", "category", "lines", "orders", "order_revenue", "returns", "returns_as_sold", "net_sales"];
        let places: Vec<usize> = shown.iter().filter_map(|name| table.column(name)).collect();
        let mut picked = Table::new(places.iter().map(|&place| table.columns[place].as_str()));
        picked.rows = table.rows.iter().map(|row| places.iter().map(|&at| row[at].clone()).collect()).collect();
        Ok(picked)
    }
}

fn show(table: &Table, out: &mut dyn Write) -> anyhow::Result<()> {
    print(table, Format::Table, Layout::of_stdout(), out)?;
    Ok(())
}

/// The rows that have gone, come or changed, a line each.
fn changes(before: &Table, after: &Table, out: &mut dyn Write) -> anyhow::Result<()> {
    let has = |table: &Table, row: &Vec<Value>| table.rows.contains(row);
    let line = |row: &Vec<Value>| row.iter().map(ToString::to_string).collect::<Vec<String>>().join("  ");
    for row in before.rows.iter().filter(|row| !has(after, row)) {
        writeln!(out, "- {}", line(row))?;
    }
    for row in after.rows.iter().filter(|row| !has(before, row)) {
        writeln!(out, "+ {}", line(row))?;
    }
    Ok(())
}
