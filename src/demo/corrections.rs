//! A late refund and a reclassification, put among the events of a running demonstration.

use super::place::Way;
use anyhow::Context;
use millrace_connectors::producer::Producer;
use millrace_connectors::source::kafka::{KafkaSettings, KafkaSource, Topic};
use millrace_connectors::source::log::{LogReader, LogWriter};
use millrace_connectors::source::{ReadOptions, Resume, Source, Start};
use millrace_schema::calendar::rfc3339_micros;
use millrace_schema::decode::{Bump, DecodeSettings, decode};
use millrace_schema::{Kind, OwnedRecord};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a purchase is looked for.
const LOOK: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);
const SEGMENT_BYTES: u64 = 16 << 20;
/// Where the reclassified product goes.
pub const NEW_CATEGORY: &str = "demo/reclassified";

/// What is put in.
#[derive(Clone, Debug, PartialEq)]
pub enum Correction {
    /// All of an early sale comes back, now.
    Refund(Box<OwnedRecord>),
    /// A product moves to another category, with all its past.
    Reclassify { product_id: String },
}

impl Correction {
    /// The record, as of `now` (UTC microseconds).
    pub fn line(&self, now: i64) -> Vec<u8> {
        let at = rfc3339_micros(now);
        let record: Value = match self {
            Correction::Refund(sale) => json!({
                "event_type": "refund",
                "event_id": format!("demo-refund-{now}"),
                "event_time": at,
                "order_id": sale.order_id,
                "product_id": sale.product_id,
                "quantity": sale.quantity,
                "amount": number(&sale.currency.format(sale.amount)),
                "currency": sale.currency.to_string(),
                "reason": "demo",
            }),
            Correction::Reclassify { product_id } => json!({
                "event_type": "product",
                "product_id": product_id,
                "updated_at": at,
                "category": NEW_CATEGORY,
            }),
        };
        record.to_string().into_bytes()
    }
}

/// An amount as the JSON number that its digits are.
fn number(text: &str) -> Value {
    serde_json::from_str(text).expect("an amount of money prints as a number")
}

/// What was put in, and what an answer must cover to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    pub source: String,
    pub next_offset: u64,
}

impl Way {
    /// The first sold line of the events.
    ///
    /// # Errors
    /// Where the events cannot be read, or nothing is sold for a while.
    pub fn first_sale(&self) -> anyhow::Result<OwnedRecord> {
        let options = ReadOptions::default();
        let mut source: Box<dyn Source> = match self {
            Way::Log { events, .. } => Box::new(LogReader::open(events, |_| Some(0), options)?),
            Way::Kafka { brokers, events, .. } => {
                let settings = KafkaSettings::new(brokers, vec![Topic::named(events)]);
                Box::new(KafkaSource::open(settings, Start::Earliest, Resume::default(), options)?)
            }
        };
        let (settings, until) = (DecodeSettings::default(), Instant::now() + LOOK);
        while Instant::now() < until {
            let Some(chunk) = source.next_chunk()? else {
                std::thread::sleep(PAUSE);
                continue;
            };
            for raw in chunk.records() {
                let arena = Bump::new();
                if let Ok(record) = decode(raw.bytes, raw.received_at, &settings, &arena)
                    && record.kind == Kind::Purchase
                    && record.quantity > 0
                {
                    return Ok(record.to_owned());
                }
            }
        }
        anyhow::bail!("nothing has been sold yet: try again in a moment")
    }
}

/// Puts a correction in.
///
/// # Errors
/// Where it cannot be written.
pub fn inject(way: &Way, correction: &Correction, now: i64) -> anyhow::Result<Injected> {
    let line = correction.line(now);
    match way {
        Way::Log { corrections, .. } => {
            let mut log = LogWriter::open(corrections, 1, SEGMENT_BYTES)?;
            log.append(0, &line)?;
            log.flush()?;
            let next_offset = log.end(0).context("the log of corrections has no partition")?;
            Ok(Injected { source: corrections.display().to_string(), next_offset })
        }
        Way::Kafka { brokers, corrections, .. } => {
            let producer = Producer::open(brokers, corrections, 1, &BTreeMap::new())?;
            producer.send(0, &[], &line, None)?;
            producer.flush()?;
            let next_offset = producer.ends().get(&0).copied().context("Kafka did not say where the record is")?;
            Ok(Injected { source: corrections.clone(), next_offset })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_are_valid_records() {
        let arena = Bump::new();
        let sale = br#"{"event_type":"purchase","event_id":"e","event_time":"2026-03-01T00:00:00Z","session_id":"s",
            "order_id":"o \"1\"","product_id":"p","quantity":3,"price_paid":12.50,"currency":"EUR"}"#;
        let sale = decode(sale, None, &DecodeSettings::default(), &arena).expect("a sale").to_owned();
        let line = Correction::Refund(Box::new(sale.clone())).line(1_772_323_200_000_000);
        let refund = decode(&line, None, &DecodeSettings::default(), &arena).expect("a refund");
        assert_eq!((refund.order_id, refund.amount, refund.quantity), ("o \"1\"", 1250, 3));
        let line = Correction::Reclassify { product_id: sale.product_id }.line(1_772_323_200_000_001);
        let product = decode(&line, None, &DecodeSettings::default(), &arena).expect("a product");
        assert_eq!((product.product_id, product.category), ("p", NEW_CATEGORY));
    }
}
