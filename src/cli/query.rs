//! `millrace query`: one question to one view of a data directory.

use super::output::{Format, Layout, print};
use super::{Usage, views};
use crate::settings::nearest;
use clap::Args;
use millrace_dataflows::query::Query;
use millrace_schema::calendar::{parse_day, parse_rfc3339};
use std::io::Write;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  millrace query sales --data-dir data --group-by day --from 2019-10-01 --to 2019-10-31
  millrace query sales --data-dir data --group-by product_id,category --order-by net_sales:desc --limit 10
  millrace query funnel --data-dir data --group-by device --where category=garden
  millrace query related_products --data-dir data --where product_id=85123A --rank-by lift
  millrace query quarantine --data-dir data --where rule=missing_field --format json
  millrace query sales --data-dir data --group-by month --format csv > sales.csv

`millrace views` lists the views and their columns.";

/// A table shows so many rows where no limit is given; csv and json have all.
const TABLE_ROWS_MAX: usize = 1_000;
/// A longer text is cut in a table.
const CELL_CHARS_MAX: usize = 120;

/// Ask a view
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct QueryArgs {
    /// sales, funnel, related_products, traffic, quality or quarantine
    view: String,
    /// The data directory that was replayed into
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Group columns, in their order
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    group_by: Vec<String>,
    /// Only rows whose group column has this value; several must all hold
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = parse_filter)]
    filters: Vec<(String, String)>,
    /// Columns to sort by; by the group columns if none is given
    #[arg(long, value_name = "COLUMN[:desc],…", value_delimiter = ',', value_parser = parse_order)]
    order_by: Vec<(String, bool)>,
    /// The score of related_products: n_ab, cosine (default), jaccard, lift or llr
    #[arg(long, value_name = "SCORE")]
    rank_by: Option<String>,
    /// At most so many rows; a table shows 1000 unless told
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// First day, YYYY-MM-DD of the store's calendar; days without data are filled in
    #[arg(long, value_name = "DAY", value_parser = parse_day_argument, requires = "to")]
    from: Option<i64>,
    /// Last day, included
    #[arg(long, value_name = "DAY", value_parser = parse_day_argument, requires = "from")]
    to: Option<i64>,
    /// The instant that "now" means; by default the largest event time less the allowed lateness
    #[arg(long, value_name = "RFC3339", value_parser = parse_instant)]
    as_of: Option<i64>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl QueryArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let known = views::queryable();
        if !known.contains(&self.view.as_str()) {
            let (view, nearest, known) = (&self.view, nearest(&self.view, &known), known.join(", "));
            return Err(Usage(format!("no view {view:?}; did you mean {nearest}? The views are {known}")).into());
        }
        let table = crate::engine::query(&self.data_dir, &self.view, &self.query()?)?;
        let rows_max = self.limit.unwrap_or(TABLE_ROWS_MAX);
        let rows_counted = self.view != views::QUARANTINE;
        let layout = Layout { rows_max, rows_counted, cell_chars_max: CELL_CHARS_MAX, ..Layout::of_stdout() };
        print(&table, self.format, layout, out)?;
        Ok(())
    }

    fn query(&self) -> Result<Query, Usage> {
        let days = self.from.zip(self.to);
        if days.is_some_and(|(from, to)| from > to) {
            return Err(Usage("--from is after --to".to_owned()));
        }
        Ok(Query {
            group_by: self.group_by.clone(),
            filters: self.filters.clone(),
            order_by: self.order_by.clone(),
            rank_by: self.rank_by.clone(),
            limit: self.limit_of_engine(),
            days,
            as_of: self.as_of,
        })
    }

    /// A table is cut when it is printed, so that it can say how many rows there are. Not of the quarantine, whose
    /// rows are too many and too large to be read for that: one more than is shown tells that there are more.
    fn limit_of_engine(&self) -> Option<usize> {
        match self.format {
            Format::Table if self.view == views::QUARANTINE => {
                Some(self.limit.unwrap_or(TABLE_ROWS_MAX).saturating_add(1))
            }
            Format::Table => None,
            Format::Csv | Format::Json => self.limit,
        }
    }
}

fn parse_filter(text: &str) -> Result<(String, String), &'static str> {
    let (column, value) = text.split_once('=').ok_or("expected COLUMN=VALUE, as in category=garden")?;
    Ok((column.trim().to_owned(), value.to_owned()))
}

fn parse_order(text: &str) -> Result<(String, bool), &'static str> {
    match text.split_once(':') {
        None => Ok((text.trim().to_owned(), false)),
        Some((column, "asc")) => Ok((column.trim().to_owned(), false)),
        Some((column, "desc")) => Ok((column.trim().to_owned(), true)),
        Some(_) => Err("expected COLUMN, COLUMN:asc or COLUMN:desc"),
    }
}

fn parse_day_argument(text: &str) -> Result<i64, &'static str> {
    // Longer texts are instants, which `--as-of` takes.
    let is_day = text.len() == "2019-10-01".len();
    parse_day(text).filter(|_| is_day).ok_or("expected a day such as 2019-10-01")
}

fn parse_instant(text: &str) -> Result<i64, &'static str> {
    parse_rfc3339(text).ok_or("expected an instant such as 2019-10-01T07:00:00Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};

    fn parsed(line: &str) -> QueryArgs {
        let matches = QueryArgs::augment_args(Command::new("query")).get_matches_from(line.split_whitespace());
        QueryArgs::from_arg_matches(&matches).expect("clap has checked it")
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
        assert_eq!(parsed(line).query(), Ok(expected));
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
        let args = parsed("query sales --data-dir d --from 2019-10-02 --to 2019-10-01");
        assert_eq!(args.query(), Err(Usage("--from is after --to".to_owned())));
    }
}
