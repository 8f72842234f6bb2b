//! `millrace views`: what can be asked, and what the answers' columns are.

mod plan;

use super::SettingsArgs;
use crate::ingest::{QUARANTINE, QUARANTINE_COLUMNS};
use crate::output::{Format, Layout, print};
use clap::{Args, Subcommand, ValueEnum};
use millrace_dataflows::settings::ViewContext;
use millrace_dataflows::table::{Table, Value};
use millrace_dataflows::views::{self, VIEWS};
use plan::PlanArgs;
use serde::Serialize;
use std::io::Write;

const EXAMPLES: &str = "\
Examples:
  millrace views
  millrace views --format json
  millrace views --config shop.toml      (the funnel's columns follow its steps)
  millrace views plan --data-dir lake    (what a start would make anew)";

/// List the views and their columns
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct ViewsArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: ViewsFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(PlanArgs),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ViewsFormat {
    /// For people; fits the terminal
    #[default]
    Table,
    /// An array of objects
    Json,
}

/// What can be asked.
#[derive(Debug, Serialize)]
struct View {
    name: &'static str,
    question: &'static str,
    group_columns: Vec<String>,
    columns: Vec<String>,
}

impl ViewsArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        if let Some(Command::Plan(plan)) = &self.command {
            return plan.run(out);
        }
        let loaded = self.settings.load()?;
        let views = catalogue(&loaded.validate()?.views);
        match self.format {
            ViewsFormat::Table => print(&rows(&views), Format::Table, Layout::of_texts(), out)?,
            ViewsFormat::Json => {
                serde_json::to_writer_pretty(&mut *out, &views).map_err(std::io::Error::from)?;
                writeln!(out)?;
            }
        }
        Ok(())
    }
}

/// The names that `millrace query` takes.
pub(super) fn queryable() -> Vec<&'static str> {
    VIEWS.iter().map(|(name, _)| *name).chain([QUARANTINE]).collect()
}

/// What each view answers; the columns are the views' own.
fn catalogue(context: &ViewContext) -> Vec<View> {
    let view = |view: Box<dyn views::View>| {
        let definition = view.definition();
        View {
            name: definition.name,
            question: definition.question,
            group_columns: definition.groups.clone(),
            columns: definition.values.clone(),
        }
    };
    let quarantine = View {
        name: QUARANTINE,
        question: "Which records were rejected, and why?",
        group_columns: Vec::new(),
        columns: QUARANTINE_COLUMNS.map(str::to_owned).to_vec(),
    };
    views::all(context).map(view).chain([quarantine]).collect()
}

fn rows(views: &[View]) -> Table {
    let mut table = Table::new(["view", "group by", "columns"]);
    for view in views {
        let texts = [view.name.to_owned(), view.group_columns.join(", "), view.columns.join(", ")];
        table.rows.push(texts.iter().map(Value::text).collect());
    }
    table
}

#[cfg(test)]
pub(super) fn names(settings: &crate::settings::Settings) -> Vec<&'static str> {
    catalogue(&settings.validate().expect("the settings are good").views).iter().map(|view| view.name).collect()
}
