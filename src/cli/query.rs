//! `millrace query`: one question to one view, of a data directory or of a server.

use super::question::QuestionArgs;
use super::{SettingsArgs, Usage, now_ms, place, views, warn};
use crate::client::Connection;
use crate::ingest::QUARANTINE;
use crate::log;
use crate::output::{Format, Layout, print};
use crate::settings::nearest;
use clap::Args;
use millrace_dataflows::query::Query;
use millrace_dataflows::table::Table;
use std::io::Write;
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  millrace query sales --data-dir data --group-by day --from 2019-10-01 --to 2019-10-31
  millrace query sales --data-dir data --group-by product_id,category --order-by net_sales:desc --limit 10
  millrace query funnel --data-dir data --group-by device --where category=garden
  millrace query related_products --data-dir data --where product_id=85123A --rank-by lift
  millrace query quarantine --data-dir data --where rule=missing_field --format json
  millrace query sales --data-dir data --group-by month --format csv > sales.csv
  millrace query sales --addr localhost:7117 --group-by day

`millrace views` lists the views and their columns. A server that wants a token gets MILLRACE_TOKEN.";

/// A table shows so many rows where no limit is given; csv and json have all.
const TABLE_ROWS_MAX: usize = 1_000;
/// A longer text is cut in a table.
const CELL_CHARS_MAX: usize = 120;

/// Ask a view
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    question: QuestionArgs,
    /// The data directory that was replayed into
    #[arg(long, value_name = "DIR", required_unless_present = "addr", conflicts_with = "addr")]
    data_dir: Option<String>,
    /// A server to ask
    #[arg(long, value_name = "HOST:PORT")]
    addr: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl QueryArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let (view, known) = (&self.question.view, views::queryable());
        if !known.contains(&view.as_str()) {
            let (nearest, known) = (nearest(view, &known), known.join(", "));
            return Err(Usage(format!("no view {view:?}; did you mean {nearest}? The views are {known}")).into());
        }
        let query = self.question.query(self.limit_of_engine())?;
        let table = match (&self.data_dir, &self.addr) {
            (Some(data_dir), _) => {
                let settings = self.settings.load()?.settings;
                crate::commands::query(data_dir, &settings, view, &query, Arc::new(now_ms), &mut warn)?
            }
            (None, Some(addr)) => self.ask(addr, &query)?,
            (None, None) => return Err(Usage("name --data-dir or --addr".to_owned()).into()),
        };
        let rows_max = self.question.limit.unwrap_or(TABLE_ROWS_MAX);
        let rows_counted = view != QUARANTINE;
        let layout = Layout { rows_max, rows_counted, cell_chars_max: CELL_CHARS_MAX, ..Layout::of_stdout() };
        print(&table, self.format, layout, out)?;
        Ok(())
    }

    fn ask(&self, addr: &str, query: &Query) -> anyhow::Result<Table> {
        let view = &self.question.view;
        let settings = self.settings.load()?.settings;
        let (table, at) = Connection::open(addr, &settings.client)?.query(view, query)?;
        log::note(place::of(&at));
        Ok(table)
    }

    /// A table is cut when it is printed, so that it can say how many rows there are. Not of the quarantine, whose
    /// rows are too many and too large to be read for that: one more than is shown tells that there are more.
    fn limit_of_engine(&self) -> Option<usize> {
        match self.format {
            Format::Table if self.question.view == QUARANTINE => {
                Some(self.question.limit.unwrap_or(TABLE_ROWS_MAX).saturating_add(1))
            }
            Format::Table => None,
            Format::Csv | Format::Json => self.question.limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};

    fn parsed(line: &str) -> QueryArgs {
        let matches = QueryArgs::augment_args(Command::new("query")).get_matches_from(line.split_whitespace());
        QueryArgs::from_arg_matches(&matches).expect("clap has checked it")
    }

    fn asked(line: &str) -> Result<Query, Usage> {
        let args = parsed(line);
        args.question.query(args.limit_of_engine())
    }

    #[test]
    fn a_line_becomes_a_query() {
        let line = "query sales --data-dir d --group-by day,category --where category=a=b --where day=2019-10-01 \
            --order-by net_sales:desc,day --limit 3 --from 2019-10-01 --to 2019-10-02 --as-of 2019-10-02T01:00:00+01:00";
        let expected = Query {
            group_by: vec!["day".to_owned(), "category".to_owned()],
            filters: vec![("category".to_owned(), "a=b".to_owned()), ("day".to_owned(), "2019-10-01".to_owned())],
            order_by: vec![("net_sales".to_owned(), true), ("day".to_owned(), false)],
            rank_by: None,
            limit: None,
            days: Some((18_170, 18_171)),
            as_of: Some(18_171 * 86_400_000_000),
        };
        assert_eq!(asked(line), Ok(expected));
    }

    #[test]
    fn a_table_is_cut_when_printed_and_the_rest_by_the_engine() {
        let limit = |line: &str| parsed(line).limit_of_engine();
        assert_eq!(limit("query sales --data-dir d --limit 3"), None);
        assert_eq!(limit("query sales --data-dir d --limit 3 --format csv"), Some(3));
        assert_eq!(limit("query sales --data-dir d --format json"), None);
        assert_eq!(limit("query quarantine --data-dir d --limit 3"), Some(4));
    }

    #[test]
    fn days_go_forward() {
        let line = "query sales --data-dir d --from 2019-10-02 --to 2019-10-01";
        assert_eq!(asked(line), Err(Usage("--from is after --to".to_owned())));
    }
}
