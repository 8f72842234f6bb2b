//! `millrace views`: what can be asked, and what the answers' columns are.

use super::SettingsArgs;
use super::output::{Format, Layout, print};
use clap::{Args, ValueEnum};
use millrace_dataflows::settings::FunnelSettings;
use millrace_dataflows::table::{Table, Value};
use serde::Serialize;
use std::io::Write;

const EXAMPLES: &str = "\
Examples:
  millrace views
  millrace views --format json
  millrace views --config shop.toml      (the funnel's columns follow its steps)";

/// What is kept of rejected records; can be asked like a view, and is always there.
pub(super) const QUARANTINE: &str = "quarantine";

/// List the views and their columns
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ViewsArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: ViewsFormat,
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
    group_columns: Vec<&'static str>,
    columns: Vec<String>,
}

impl ViewsArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let loaded = self.settings.load()?;
        let views = catalogue(&loaded.settings.views.funnel);
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
    crate::settings::VIEWS.into_iter().chain([QUARANTINE]).collect()
}

/// Columns as `METRICS.md` names them.
fn catalogue(funnel: &FunnelSettings) -> Vec<View> {
    vec![
        View {
            name: "sales",
            question: "How much was sold and returned, of what, when?",
            group_columns: words("hour day month product_id category category_as_was currency"),
            columns: columns(
                "lines orders units units_returned net_units gross_sales discounts order_revenue returns \
                 returns_as_sold net_sales average_order_value",
            ),
        },
        View {
            name: "funnel",
            question: "How far do visits come, from a view to a purchase, and how long does it take?",
            group_columns: words("day month category referrer device"),
            columns: funnel_columns(funnel),
        },
        View {
            name: "related_products",
            question: "Which products are viewed or bought together?",
            group_columns: words("kind product_id rank"),
            columns: columns("related_id n_ab n_a n_b cosine jaccard lift llr"),
        },
        View {
            name: "traffic",
            question: "What is going on in the shop, by the minute?",
            group_columns: words("minute hour day"),
            columns: columns("page_views cart_additions purchases active_sessions active_users net_sales"),
        },
        View {
            name: "quality",
            question: "How good is the data, by rule and source?",
            group_columns: words("hour day source rule"),
            columns: columns("read accepted duplicates quarantined pending late warned quality_score"),
        },
        View {
            name: QUARANTINE,
            question: "Which records were rejected, and why?",
            group_columns: Vec::new(),
            columns: columns("source partition offset rule field message received_at bytes bytes_total"),
        },
    ]
}

fn words(text: &'static str) -> Vec<&'static str> {
    text.split_whitespace().collect()
}

fn columns(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn funnel_columns(funnel: &FunnelSettings) -> Vec<String> {
    let names = || funnel.steps.iter().map(|step| step.name.as_str());
    let mut all = columns("sessions");
    all.extend(names().map(|step| format!("reached_{step}")));
    all.extend(names().map(|step| format!("ordered_{step}")));
    all.extend(columns("carts_abandoned cart_abandonment"));
    // Nothing is before the first step to convert from.
    all.extend(names().skip(1).map(|step| format!("step_conversion_{step}")));
    all.extend(columns(
        "overall_conversion median_seconds_to_purchase p90_seconds_to_purchase mean_seconds_to_purchase immature_until \
         capped_sessions",
    ));
    all
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
    catalogue(&settings.views.funnel).iter().map(|view| view.name).collect()
}
