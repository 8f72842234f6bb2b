//! What is asked of a view.

use crate::table::{Table, Value};
use millrace_schema::calendar::parse_rfc3339;
use std::cmp::Ordering;

/// A question to a view. Group columns and values are named as docs/metrics.md names them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Group columns, in the order in which they are to stand in the answer.
    pub group_by: Vec<String>,
    /// `column = text` on group columns, all of which must hold. The column need not be in `group_by`.
    pub filters: Vec<(String, String)>,
    /// Columns to sort by, and whether descending. By default by the group columns.
    pub order_by: Vec<(String, bool)>,
    /// `related_products`: the score of the lists.
    pub rank_by: Option<String>,
    /// Rows at most; never `Some(0)`, which over gRPC is no limit.
    pub limit: Option<usize>,
    /// The days asked for, first and last, both included. Days (and hours, months) in it without data are zero-filled
    /// where they are the only group column, or stand beside `currency` alone: then for each currency.
    pub days: Option<(i64, i64)>,
    /// The instant that "now" means, UTC microseconds.
    pub as_of: Option<i64>,
}

/// A question that a view cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("{view} has no group column {column:?}; it has {known}")]
    UnknownGroup { view: &'static str, column: String, known: String },
    #[error("cannot order by {column:?}; the answer's columns are {known}")]
    UnknownOrder { column: String, known: String },
    #[error("cannot rank by {score:?}; the scores are n_ab, cosine, jaccard, lift, llr")]
    UnknownScore { score: String },
    #[error("{column} = {text:?} is not a value of that column: {expected}")]
    BadFilter { column: String, text: String, expected: &'static str },
    #[error("group by one of {0} at a time: the coarser follow from the finest")]
    SeveralTimes(&'static str),
    #[error("{0} is a list of records, which has no groups and no days: leave out --group-by, --from and --to")]
    OnlyAList(&'static str),
    #[error("customers are counted by the day all together: user_id, segment and currency do not go with days")]
    DaysAlone,
    #[error("distinct counts over a range of days do not follow from what is kept: group by day or hour as well")]
    RangeNeedsDays,
    #[error(
        "the amounts in {currency} come to more than 2^63 minor units, so its sums may be wrong and are not shown: ask with a filter on another currency"
    )]
    SumsTooLarge { currency: String },
    #[error("{buckets} times {column} is more than is filled in at once ({most}): ask for fewer days")]
    TooManyBuckets { column: String, buckets: u64, most: u64 },
}

impl Query {
    pub fn group_by<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Query {
        Query { group_by: columns.into_iter().map(Into::into).collect(), ..Query::default() }
    }

    /// The rows of a list that is no view, by filters on the columns' texts.
    ///
    /// # Errors
    /// [`QueryError`] where there is no such column, or groups or days are asked for.
    pub fn list(&self, name: &'static str, mut table: Table) -> Result<Table, QueryError> {
        if !self.group_by.is_empty() || self.days.is_some() {
            return Err(QueryError::OnlyAList(name));
        }
        let mut filters = Vec::new();
        for (column, text) in &self.filters {
            let index = table.column(column).ok_or_else(|| QueryError::UnknownGroup {
                view: name,
                column: column.clone(),
                known: table.columns.join(", "),
            })?;
            filters.push((index, text));
        }
        table.rows.retain(|row| filters.iter().all(|(index, text)| row[*index].to_string() == **text));
        self.arrange(table)
    }

    /// Sorts an answer as asked (stable; then by all columns from the left, so that the order is total) and cuts it.
    ///
    /// # Errors
    /// [`QueryError::UnknownOrder`] where a column is not in the answer.
    pub fn arrange(&self, mut table: Table) -> Result<Table, QueryError> {
        let mut keys = Vec::new();
        for (column, descending) in &self.order_by {
            let index = table
                .column(column)
                .ok_or_else(|| QueryError::UnknownOrder { column: column.clone(), known: table.columns.join(", ") })?;
            keys.push((index, *descending));
        }
        let instants: Vec<bool> = table.columns.iter().map(|column| column == "hour" || column == "minute").collect();
        let order = |index: usize, a: &Vec<Value>, b: &Vec<Value>| {
            if instants[index] { order_of_instants(&a[index], &b[index]) } else { a[index].order(&b[index]) }
        };
        let compare = |a: &Vec<Value>, b: &Vec<Value>| {
            let asked = keys.iter().map(|&(index, descending)| {
                let order = order(index, a, b);
                if descending { order.reverse() } else { order }
            });
            let rest = (0..a.len()).map(|index| order(index, a, b));
            asked.chain(rest).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        };
        table.rows.sort_by(compare);
        if let Some(limit) = self.limit {
            table.rows.truncate(limit);
        }
        Ok(table)
    }
}

/// Hours and minutes as the instants they are: where the clock is set back, their texts are in another order.
fn order_of_instants(a: &Value, b: &Value) -> Ordering {
    const OFFSET: usize = "+00:00".len();
    if let (Value::Text(a), Value::Text(b)) = (a, b)
        && a.as_bytes().last_chunk::<OFFSET>() != b.as_bytes().last_chunk::<OFFSET>()
        && let (Some(a), Some(b)) = (parse_rfc3339(a), parse_rfc3339(b))
    {
        return a.cmp(&b);
    }
    a.order(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_hours_of_one_name_stand_in_the_order_in_which_they_pass() {
        let hours = ["2024-10-27T01:00:00+00:00", "2024-10-27T01:00:00+01:00", "2024-10-27T00:00:00+01:00"];
        let mut table = Table::new(["hour"]);
        table.rows = hours.iter().map(|hour| vec![Value::text(hour)]).collect();
        let arranged = Query::default().arrange(table).expect("there is nothing to complain of");
        let expected = [hours[2], hours[1], hours[0]].map(|hour| vec![Value::text(hour)]);
        assert_eq!(arranged.rows, expected);
    }
}
