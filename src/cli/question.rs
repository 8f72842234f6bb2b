//! A question as flags, for the commands that ask one.

use super::Usage;
use clap::Args;
use millrace_dataflows::query::Query;
use millrace_schema::calendar::{parse_day, parse_rfc3339};

/// What is asked
#[derive(Debug, Args)]
pub(super) struct QuestionArgs {
    /// sales, funnel, related_products, traffic, quality or quarantine
    pub(super) view: String,
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
    #[arg(long, value_name = "N", value_parser = parse_limit)]
    pub(super) limit: Option<usize>,
    /// First day, YYYY-MM-DD of the store's calendar; days without data are filled in
    #[arg(long, value_name = "DAY", value_parser = parse_day_argument, requires = "to")]
    from: Option<i64>,
    /// Last day, included
    #[arg(long, value_name = "DAY", value_parser = parse_day_argument, requires = "from")]
    to: Option<i64>,
    /// The instant that "now" means; by default the largest event time less the allowed lateness
    #[arg(long, value_name = "RFC3339", value_parser = parse_instant)]
    as_of: Option<i64>,
}

impl QuestionArgs {
    /// The question, with a limit of the caller's choice.
    pub(super) fn query(&self, limit: Option<usize>) -> Result<Query, Usage> {
        let days = self.from.zip(self.to);
        if days.is_some_and(|(from, to)| from > to) {
            return Err(Usage("--from is after --to".to_owned()));
        }
        Ok(Query {
            group_by: self.group_by.clone(),
            filters: self.filters.clone(),
            order_by: self.order_by.clone(),
            rank_by: self.rank_by.clone(),
            limit,
            days,
            as_of: self.as_of,
        })
    }
}

/// Zero could be no row or all of them, and over gRPC it is no limit.
fn parse_limit(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|limit| *limit > 0).ok_or("expected 1 or more; leave --limit out for all rows")
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
    parse_day(text).filter(|_| is_day).ok_or("expected a day from 1970 to 2199 such as 2019-10-01")
}

fn parse_instant(text: &str) -> Result<i64, &'static str> {
    parse_rfc3339(text).ok_or("expected an instant from 1970 to 2199 such as 2019-10-01T07:00:00Z")
}
