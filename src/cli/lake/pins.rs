//! `millrace lake pins`, `lake unpin`, and the pin of `lake files`.

use super::super::{SettingsArgs, Usage, now_ms, warn};
use crate::checkpoint::{
    FileEntry, LONGEST_MS, Manifest, Pin, files_of, find, is_id, is_there, manifest_at, open_store, pin, pin_id,
    read_manifest, read_pins, renew, unpin,
};
use crate::log;
use crate::numbers::Epoch;
use crate::output::{Format, Layout, print};
use clap::Args;
use millrace_connectors::store::Store;
use millrace_dataflows::settings::parse_span;
use millrace_dataflows::table::{Table, Value};
use millrace_schema::calendar::rfc3339_micros;
use std::io::Write;

/// What `lake files` says of a pin.
#[derive(Debug, Args)]
pub(super) struct PinArgs {
    /// The name of a pin: the files are those of its checkpoint. With --for it is taken, or renewed
    #[arg(long, value_name = "ID")]
    pin: Option<String>,
    /// Pin the checkpoint for so long: its files stay. A number with s, m, h or d, up to 7d
    #[arg(long = "for", value_name = "SPAN")]
    span: Option<String>,
}

impl PinArgs {
    /// The checkpoint that is asked for, with or without a pin, and the files of the lake at it.
    ///
    /// # Errors
    /// Where there is no such checkpoint or pin, or none can be taken.
    pub(super) fn checkpoint(
        &self,
        store: &dyn Store,
        epoch: Option<Epoch>,
    ) -> anyhow::Result<(Manifest, Vec<FileEntry>)> {
        let manifest = match self.pinned(store, epoch)? {
            Some(manifest) => manifest,
            None => manifest_at(store, epoch, &mut warn)?,
        };
        let files = files_of(store, &manifest)?;
        Ok((manifest, files))
    }

    /// The checkpoint that is pinned, or is now; `None` where no pin is asked for.
    fn pinned(&self, store: &dyn Store, epoch: Option<Epoch>) -> anyhow::Result<Option<Manifest>> {
        let for_ms = self.span.as_deref().map(span_ms).transpose()?;
        let is_there = match &self.pin {
            None => false,
            Some(id) if !is_id(id) => {
                return Err(Usage(format!(
                    "--pin {id:?}: a name has letters, digits, - _ and ., and up to 100 of them"
                ))
                .into());
            }
            Some(id) => for_ms.is_some() && is_there(store, id)?,
        };
        let (id, pin) = match (&self.pin, for_ms) {
            (None, None) => return Ok(None),
            (Some(id), Some(for_ms)) if is_there => (id.clone(), renew(store, id, for_ms, now_ms())?),
            (Some(id), None) => (id.clone(), find(store, id)?),
            (id, Some(for_ms)) => {
                let id = id.clone().unwrap_or_else(pin_id);
                let (manifest, pin) = pin(store, &id, epoch, ("millrace lake files", for_ms), &now_ms, &mut warn)?;
                note(&id, &pin, &store.place());
                return Ok(Some(manifest));
            }
        };
        if let Some(epoch) = epoch.filter(|epoch| *epoch != pin.epoch) {
            return Err(Usage(format!("--at {epoch}: the pin {id} is of epoch {}", pin.epoch)).into());
        }
        note(&id, &pin, &store.place());
        let manifest = read_manifest(store, pin.manifest)?;
        Ok(Some(manifest.ok_or_else(|| anyhow::anyhow!("the checkpoint of the pin {id} is gone: it had ended"))?))
    }
}

fn note(id: &str, pin: &Pin, place: &str) {
    log::note(format!(
        "epoch {} is pinned until {}: millrace lake unpin {id} --data-dir {place} lets it go",
        pin.epoch,
        time(pin.expires_ms)
    ));
}

fn time(ms: u64) -> String {
    rfc3339_micros(i64::try_from(ms).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000))
}

fn span_ms(text: &str) -> Result<u64, Usage> {
    let micros = parse_span(text).flatten().and_then(|micros| u64::try_from(micros).ok());
    let ms = micros.map(|micros| micros / 1_000).filter(|ms| *ms <= LONGEST_MS);
    ms.ok_or_else(|| Usage(format!("--for {text}: a number with s, m, h or d, such as 1h, up to 7d")))
}

#[derive(Debug, Args)]
pub(super) struct PinsArgs {
    /// The lake: a folder or s3://bucket/prefix
    #[arg(long, value_name = "PLACE")]
    data_dir: String,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl PinsArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let settings = self.settings.load()?.settings;
        let store = open_store(&self.data_dir, &settings)?;
        let mut table = Table::new(["pin", "holds", "epoch", "manifest", "who", "created", "renewed", "expires"]);
        let int = |value: u64| Value::Int(i64::try_from(value).unwrap_or(i64::MAX));
        for stored in read_pins(&*store)? {
            let holds = if stored.until_ms() > now_ms() { "yes" } else { "no: it has ended" };
            let until = Value::text(time(stored.until_ms()));
            let id = Value::text(&stored.id);
            table.rows.push(match stored.pin {
                Ok(pin) => {
                    let [created, renewed] = [pin.created_ms, pin.renewed_ms].map(|ms| Value::text(time(ms)));
                    let (epoch, manifest) = (int(pin.epoch.0), int(pin.manifest));
                    vec![id, Value::text(holds), epoch, manifest, Value::text(pin.who), created, renewed, until]
                }
                Err(why) => {
                    let holds = format!("every checkpoint: it cannot be read ({why})");
                    let none = || Value::Null;
                    vec![id, Value::text(holds), none(), none(), none(), none(), none(), until]
                }
            });
        }
        print(&table, self.format, Layout::of_stdout(), out)?;
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct UnpinArgs {
    /// The name of the pin
    id: String,
    /// The lake: a folder or s3://bucket/prefix
    #[arg(long, value_name = "PLACE")]
    data_dir: String,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl UnpinArgs {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let settings = self.settings.load()?.settings;
        let store = open_store(&self.data_dir, &settings)?;
        unpin(&*store, &self.id)
    }
}
