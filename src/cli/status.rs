//! `millrace status`: what the engine behind a server is doing.

use super::rejected::{self, Counts, Place};
use super::{SettingsArgs, place, serving};
use crate::client::Connection;
use crate::output::{Format, Layout, print};
use clap::{Args, ValueEnum};
use millrace_dataflows::table::{Table, Value};
use millrace_proto::prost_types::Timestamp;
use millrace_proto::v1;
use serde_json::{Value as Json, json};
use std::io::Write;

const EXAMPLES: &str = "\
Examples:
  millrace status
  millrace status --config shop.toml
  millrace status --addr shop-1:7117 --format json

A server that wants a token gets MILLRACE_TOKEN.";

/// Show what a server's engine is doing
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    /// The server; otherwise serve.address of the settings
    #[arg(long, value_name = "HOST:PORT")]
    addr: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: StatusFormat,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    /// For people; fits the terminal
    #[default]
    Table,
    /// One object
    Json,
}

impl StatusArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let settings = self.settings.load()?.settings;
        let address = serving::address(self.addr.as_deref(), &settings.serve)?;
        let connection = Connection::open(&address, &settings.client)?;
        let status = connection.status()?;
        let counts = Counts::of_status(&status);
        let rejected = if counts.rejected > 0 { rejected::of_server(&connection) } else { Vec::new() };
        match self.format {
            StatusFormat::Table => {
                table(status, out)?;
                let place = Place::of("--addr", &address);
                rejected::write(counts, &rejected, Some(&place), out)?;
                Ok(())
            }
            StatusFormat::Json => {
                let mut object = object(status);
                object["rejected"] = serde_json::to_value(rejected)?;
                serde_json::to_writer_pretty(&mut *out, &object).map_err(std::io::Error::from)?;
                writeln!(out)?;
                Ok(())
            }
        }
    }
}

impl Counts {
    fn of_status(status: &v1::GetStatusResponse) -> Counts {
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        status.accounting.as_ref().map_or(Counts::default(), |accounting| Counts {
            read: count(accounting.read),
            rejected: count(accounting.quarantined),
            pending: count(accounting.pending),
        })
    }
}

fn table(status: v1::GetStatusResponse, out: &mut dyn Write) -> anyhow::Result<()> {
    let (at, engine) = (status.at.unwrap_or_default(), status.engine.unwrap_or_default());
    let server = status.server.unwrap_or_default();
    writeln!(out, "{}", place::of(&at))?;
    if !engine.source_down.is_empty() {
        writeln!(out, "the source cannot be reached: {}", engine.source_down)?;
    }
    if let Some(building) = &status.building {
        let v1::Building { views, events, events_total } = building;
        writeln!(out, "{}: being made from the lake, {events} of {events_total} events are in", views.join(", "))?;
    }
    if server.draining {
        writeln!(out, "draining")?;
    }
    print(&partitions(&engine.partitions), Format::Table, Layout::of_stdout(), out)?;
    let mut counts = Table::new(["count", "value"]);
    let mut count = |name: &str, value: i64| counts.rows.push(vec![Value::text(name), Value::Int(value)]);
    if let Some(a) = status.accounting {
        let named = [("read", a.read), ("accepted", a.accepted), ("duplicates", a.duplicates)];
        named
            .into_iter()
            .chain([("quarantined", a.quarantined), ("pending", a.pending)])
            .for_each(|(n, v)| count(n, v));
    }
    let of = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    count("epochs in flight", of(engine.epochs_in_flight));
    count("workers", i64::from(engine.workers));
    count("memory bytes", of(engine.memory_bytes));
    engine.held.iter().for_each(|held| count(&format!("held {}", held.name), of(held.count)));
    count("subscriptions", i64::from(server.subscriptions));
    count("connections", i64::from(server.connections));
    count("bytes for callers", of(server.memory_bytes));
    count("refused for want of memory", of(server.refused));
    count("wrong tokens", of(server.wrong_tokens));
    server.methods.iter().for_each(|method| count(&method.method, of(method.requests)));
    print(&counts, Format::Table, Layout::of_stdout(), out)?;
    Ok(())
}

fn partitions(partitions: &[v1::PartitionStatus]) -> Table {
    let mut table = Table::new(["source", "partition", "next_offset", "end_offset", "lag", "watermark", "state"]);
    let int = |value: u64| Value::Int(i64::try_from(value).unwrap_or(i64::MAX));
    for partition in partitions {
        table.rows.push(vec![
            Value::text(&partition.source),
            Value::Int(i64::from(partition.partition)),
            int(partition.next_offset),
            partition.end_offset.map_or(Value::Null, int),
            lag(partition).map_or(Value::Null, int),
            partition.watermark.as_ref().map_or(Value::Null, |time| Value::text(place::instant(time))),
            Value::text(state(partition)),
        ]);
    }
    table
}

fn lag(partition: &v1::PartitionStatus) -> Option<u64> {
    partition.end_offset.map(|end| end.saturating_sub(partition.next_offset))
}

fn state(partition: &v1::PartitionStatus) -> String {
    let lost = (partition.lost > 0).then(|| format!("{} lost", partition.lost));
    let idle = partition.idle.then(|| "idle".to_owned());
    let fault = (!partition.fault.is_empty()).then(|| partition.fault.clone());
    let states: Vec<String> = [fault, lost, idle].into_iter().flatten().collect();
    if states.is_empty() { "reading".to_owned() } else { states.join(", ") }
}

fn object(status: v1::GetStatusResponse) -> Json {
    let (at, engine) = (status.at.unwrap_or_default(), status.engine.unwrap_or_default());
    let server = status.server.unwrap_or_default();
    let time = |time: &Option<Timestamp>| time.as_ref().map(place::instant);
    let partition = |partition: &v1::PartitionStatus| {
        json!({
            "source": partition.source,
            "partition": partition.partition,
            "next_offset": partition.next_offset,
            "end_offset": partition.end_offset,
            "lag": lag(partition),
            "watermark": time(&partition.watermark),
            "idle": partition.idle,
            "lost": partition.lost,
            "fault": partition.fault,
        })
    };
    let method = |method: &v1::MethodStatus| {
        let (requests, errors, seconds) = (method.requests, method.errors, method.seconds);
        json!({ "method": method.method, "requests": requests, "errors": errors, "seconds": seconds })
    };
    let held: serde_json::Map<String, Json> =
        engine.held.iter().map(|held| (held.name.clone(), json!(held.count))).collect();
    let accounting = status.accounting.map(|a| {
        json!({
            "read": a.read,
            "accepted": a.accepted,
            "duplicates": a.duplicates,
            "quarantined": a.quarantined,
            "pending": a.pending,
        })
    });
    let building = status.building.map(|building| {
        let v1::Building { views, events, events_total } = building;
        json!({ "views": views, "events": events, "events_total": events_total })
    });
    json!({
        "epoch": at.epoch,
        "watermark": time(&at.watermark),
        "restored": at.restored,
        "building": building,
        "accounting": accounting,
        "partitions": engine.partitions.iter().map(partition).collect::<Vec<_>>(),
        "source_down": engine.source_down,
        "engine_epoch": engine.epoch,
        "epochs_in_flight": engine.epochs_in_flight,
        "workers": engine.workers,
        "started_at": time(&engine.started_at),
        "memory_bytes": engine.memory_bytes,
        "cpu_seconds": engine.cpu_seconds,
        "held": held,
        "draining": server.draining,
        "subscriptions": server.subscriptions,
        "live_questions": server.live_questions,
        "connections": server.connections,
        "wrong_tokens": server.wrong_tokens,
        "callers_memory_bytes": server.memory_bytes,
        "callers_memory_bytes_max": server.memory_bytes_max,
        "refused": server.refused,
        "methods": server.methods.iter().map(method).collect::<Vec<_>>(),
    })
}
