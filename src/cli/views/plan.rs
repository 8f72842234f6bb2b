//! `millrace views plan`: which views a start would make anew, from how many events, and about how long that takes.

use super::super::{SettingsArgs, Usage};
use crate::checkpoint::{Change, Redefinition, check_whole, files_of, look, open_store};
use crate::output::{Format, Layout, print};
use clap::Args;
use millrace_dataflows::table::{Table, Value};
use serde_json::json;
use std::io::Write;

const EXAMPLES: &str = "\
Examples:
  millrace views plan --config millrace.toml
  millrace views plan --data-dir lake --set views.funnel.window=1h
  millrace views plan --data-dir lake --set 'views.enabled=[\"sales\",\"customers\"]' --format json

Nothing is changed. `millrace run` does what is planned; with --refuse-rebuild it ends where there is anything to do.
Exit code 1 where a view cannot be made, for the lake does not hold all accepted events.";

/// Events of the lake that a worker goes through in a second, as measured with five views made anew.
const EVENTS_A_SECOND: u64 = 200_000;

/// Say which views of a lake would be made anew under these settings
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlanArgs {
    /// The lake; otherwise lake.url
    #[arg(long, value_name = "PLACE")]
    data_dir: Option<String>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: super::ViewsFormat,
}

impl PlanArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let settings = self.settings.load()?.settings;
        let place = self.data_dir.clone().unwrap_or_else(|| settings.lake.url.clone());
        if place.is_empty() {
            return Err(Usage("name a lake: --data-dir PLACE, or lake.url in the settings".to_owned()).into());
        }
        let store = open_store(&place, &settings)?;
        let Some(manifest) = look(&*store)?.manifest else { anyhow::bail!("{place} holds no checkpoint yet") };
        let redefinition = Redefinition::of(&manifest, &settings)?;
        let events = u64::try_from(manifest.accounted.accepted).unwrap_or(0);
        let is_due = !redefinition.made_anew().is_empty();
        let seconds = events / (EVENTS_A_SECOND * settings.live.workers as u64).max(1);
        match self.format {
            super::ViewsFormat::Table => {
                print(&table(&redefinition), Format::Table, Layout::of_texts(), out)?;
                if is_due {
                    writeln!(
                        out,
                        "made from {events} events, in about {seconds} s with {} workers",
                        settings.live.workers
                    )?;
                }
                for setting in &redefinition.from_now_on {
                    writeln!(out, "from now on only: {setting}; what was decided before stays as it was decided")?;
                }
            }
            super::ViewsFormat::Json => {
                let view = |(name, change): &(String, Change)| {
                    let (what, why) = words(change);
                    json!({ "view": name, "change": what, "why": why })
                };
                let object = json!({
                    "views": redefinition.views.iter().map(view).collect::<Vec<_>>(),
                    "events": if is_due { events } else { 0 },
                    "seconds": if is_due { seconds } else { 0 },
                    "from_now_on": redefinition.from_now_on,
                });
                serde_json::to_writer_pretty(&mut *out, &object).map_err(std::io::Error::from)?;
                writeln!(out)?;
            }
        }
        if is_due {
            check_whole(&place, &manifest, &files_of(&*store, &manifest)?)?;
        }
        Ok(())
    }
}

fn words(change: &Change) -> (&'static str, String) {
    match change {
        Change::Same => ("kept", String::new()),
        Change::New => ("made", "it is new".to_owned()),
        Change::Changed(why) => ("made anew", why.join("; ")),
        Change::Gone => ("dropped", "it is not in views.enabled".to_owned()),
    }
}

fn table(redefinition: &Redefinition) -> Table {
    let mut table = Table::new(["view", "change", "why"]);
    for (name, change) in &redefinition.views {
        let (what, why) = words(change);
        table.rows.push(vec![Value::text(name), Value::text(what), Value::text(why)]);
    }
    table
}
