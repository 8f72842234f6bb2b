//! `millrace generate`: events of a shop that never was, to a file, a pipe, a log or Kafka.

use super::{Usage, progress};
use crate::generate::command::drive;
use crate::generate::{Generator, Options, Tally};
use anyhow::Context;
use clap::Args;
use millrace_connectors::producer::Producer;
use millrace_connectors::source::log::LogWriter;
use millrace_schema::calendar::{MICROS_PER_DAY, parse_day, parse_rfc3339};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  millrace generate --events 1000000 --seed 7 --to events.jsonl
  millrace generate --events 1000 --seed 7 --to - | head
  millrace generate --events 5000000 --seed 7 --log shop-log --partitions 4
  millrace generate --events 100000 --seed 7 --kafka localhost:9092 --topic events --partitions 12
  millrace generate --events 100000 --seed 7 --days 3 --late-fraction 0.05 --duplicate-fraction 0.1 --to messy.jsonl

Equal options give equal bytes. Fractions are between 0 and 1.";

const SEGMENT_BYTES: u64 = 128 << 20;
const BUFFER_BYTES: usize = 256 << 10;
const LINES_PER_ADVANCE: u64 = 4_096;

/// Generate events of a shop
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GenerateArgs {
    /// Lines besides the dimension records; copies and broken ones count
    #[arg(long, value_name = "N")]
    events: u64,
    /// Another seed, another history
    #[arg(long, value_name = "S")]
    seed: u64,
    #[command(flatten)]
    target: TargetArgs,
    /// Partitions of the log, or of a topic that is made; 1 if not given
    #[arg(long, value_name = "N", conflicts_with = "to")]
    partitions: Option<NonZeroUsize>,
    /// The topic to send to
    #[arg(long, value_name = "NAME", default_value = "events", requires = "kafka")]
    topic: String,
    /// A setting of librdkafka, as security.protocol=sasl_ssl
    #[arg(long = "property", value_name = "NAME=VALUE", requires = "kafka", value_parser = parse_property)]
    properties: Vec<(String, String)>,
    #[command(flatten)]
    shop: ShopArgs,
    /// No progress and no summary
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// File to write, over what is there; - is stdout
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// Directory of the log to start or to append to
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// Brokers to send to, host:port of some, separated by commas
    #[arg(long, value_name = "BROKERS")]
    kafka: Option<String>,
}

/// What differs from the generator's own defaults.
#[derive(Debug, Args)]
#[command(next_help_heading = "The shop")]
struct ShopArgs {
    /// First instant: a day (UTC) or an RFC 3339 time
    #[arg(long, value_name = "DAY", value_parser = parse_start)]
    start: Option<i64>,
    /// How long the events take
    #[arg(long, value_name = "N")]
    days: Option<u32>,
    /// Products of the catalogue
    #[arg(long, value_name = "N")]
    products: Option<u32>,
    /// Users with an account
    #[arg(long, value_name = "N")]
    users: Option<u32>,
    /// How uneven the demand for products is; 0 is even
    #[arg(long, value_name = "X")]
    zipf_exponent: Option<f64>,
    /// ISO 4217 codes
    #[arg(long, value_name = "CODE,…", value_delimiter = ',')]
    currencies: Option<Vec<String>>,
    /// Sessions without a user
    #[arg(long, value_name = "X")]
    guest_fraction: Option<f64>,
    /// Event lines that come from bots
    #[arg(long, value_name = "X")]
    bot_fraction: Option<f64>,
    /// Sold lines that come back by a refund
    #[arg(long, value_name = "X")]
    refund_fraction: Option<f64>,
    /// Sold lines that come back by a purchase of a negative quantity
    #[arg(long, value_name = "X")]
    return_line_fraction: Option<f64>,
    /// Lines that arrive late
    #[arg(long, value_name = "X")]
    late_fraction: Option<f64>,
    /// Lines that are copies of others
    #[arg(long, value_name = "X")]
    duplicate_fraction: Option<f64>,
    /// Lines that claim another's event_id with other content
    #[arg(long, value_name = "X")]
    conflict_fraction: Option<f64>,
    /// Lines that are broken
    #[arg(long, value_name = "X")]
    malformed_fraction: Option<f64>,
    /// Products that change category
    #[arg(long, value_name = "X")]
    recategorised_fraction: Option<f64>,
    /// Products whose first record comes after events name them
    #[arg(long, value_name = "X")]
    late_product_fraction: Option<f64>,
    /// Write received_at with the time of arrival
    #[arg(long)]
    received_at: bool,
}

impl GenerateArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut generator = Generator::new(self.options())?;
        let tally = match (&self.target.to, &self.target.log, &self.target.kafka) {
            (Some(path), ..) if path == Path::new("-") => self.write_lines(&mut generator, &mut *out)?,
            (Some(path), ..) => {
                let cannot = || format!("cannot write {}", path.display());
                let file = File::create(path).with_context(cannot)?;
                self.write_lines(&mut generator, BufWriter::with_capacity(BUFFER_BYTES, file)).with_context(cannot)?
            }
            (_, Some(directory), _) => self.write_log(&mut generator, directory)?,
            (.., Some(brokers)) => self.send(&mut generator, brokers)?,
            _ => return Err(Usage("say where the events go: --to, --log or --kafka".to_owned()).into()),
        };
        if !self.quiet {
            // Stdout may be the events.
            let _ = writeln!(io::stderr(), "{tally}");
        }
        Ok(())
    }

    fn options(&self) -> Options {
        let (shop, mut options) = (&self.shop, Options { events: self.events, seed: self.seed, ..Options::default() });
        overlay(&mut options.start, shop.start);
        overlay(&mut options.days, shop.days);
        overlay(&mut options.products, shop.products);
        overlay(&mut options.users, shop.users);
        overlay(&mut options.zipf_exponent, shop.zipf_exponent);
        overlay(&mut options.currencies, shop.currencies.clone());
        overlay(&mut options.guest_fraction, shop.guest_fraction);
        overlay(&mut options.bot_fraction, shop.bot_fraction);
        overlay(&mut options.refund_fraction, shop.refund_fraction);
        overlay(&mut options.return_line_fraction, shop.return_line_fraction);
        overlay(&mut options.late_fraction, shop.late_fraction);
        overlay(&mut options.duplicate_fraction, shop.duplicate_fraction);
        overlay(&mut options.conflict_fraction, shop.conflict_fraction);
        overlay(&mut options.malformed_fraction, shop.malformed_fraction);
        overlay(&mut options.recategorised_fraction, shop.recategorised_fraction);
        overlay(&mut options.late_product_fraction, shop.late_product_fraction);
        options.received_at |= shop.received_at;
        options
    }

    fn write_lines(&self, generator: &mut Generator, mut writer: impl Write) -> io::Result<Tally> {
        let tally = self.drive(generator, NonZeroUsize::MIN, |_, line| {
            writer.write_all(line)?;
            writer.write_all(b"\n")
        })?;
        writer.flush()?;
        Ok(tally)
    }

    fn write_log(&self, generator: &mut Generator, directory: &Path) -> anyhow::Result<Tally> {
        let partitions = self.partitions.unwrap_or(NonZeroUsize::MIN);
        let count = u32::try_from(partitions.get()).unwrap_or(u32::MAX);
        let mut log = LogWriter::open(directory, count, SEGMENT_BYTES)?;
        let tally = self.drive(generator, partitions, |partition, line| {
            let partition = u32::try_from(partition).expect("it is below a count that the log accepted");
            log.append(partition, line).map(drop).map_err(io::Error::other)
        })?;
        log.sync()?;
        Ok(tally)
    }

    fn send(&self, generator: &mut Generator, brokers: &str) -> anyhow::Result<Tally> {
        let partitions = self.partitions.unwrap_or(NonZeroUsize::MIN);
        let count = u32::try_from(partitions.get()).unwrap_or(u32::MAX);
        let say = |text: &str| drop(writeln!(io::stderr(), "warning: {text}"));
        let properties = self.properties.iter().cloned().collect();
        let producer = Producer::open_telling(brokers, &self.topic, count, &properties, &say)?;
        let tally = self.drive(generator, partitions, |partition, line| {
            let partition = u32::try_from(partition).expect("it is below the count");
            producer.poll();
            producer.send(partition, &[], line, None).map_err(io::Error::other)
        })?;
        producer.flush()?;
        Ok(tally)
    }

    /// [`drive`] with progress.
    fn drive(
        &self,
        generator: &mut Generator,
        partitions: NonZeroUsize,
        mut sink: impl FnMut(usize, &[u8]) -> io::Result<()>,
    ) -> io::Result<Tally> {
        let progress = progress::of_stderr("generate", self.quiet);
        let (bytes, lines) = (Cell::new(0_u64), Cell::new(0_u64));
        let result = drive(generator, partitions, |partition, line| {
            bytes.set(bytes.get() + line.len() as u64 + 1);
            lines.set(lines.get() + 1);
            if lines.get().is_multiple_of(LINES_PER_ADVANCE) {
                progress.advance(bytes.get(), lines.get(), 0);
            }
            sink(partition, line)
        });
        progress.finish();
        result
    }
}

fn overlay<T>(option: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *option = value;
    }
}

fn parse_property(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, as in security.protocol=sasl_ssl")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

fn parse_start(text: &str) -> Result<i64, &'static str> {
    let day = parse_day(text).filter(|_| text.len() == "2019-10-01".len()).map(|day| day * MICROS_PER_DAY);
    day.or_else(|| parse_rfc3339(text)).ok_or("expected a day such as 2026-03-01, or an RFC 3339 time")
}
