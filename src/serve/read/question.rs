//! What is asked of a view, whichever wire it came over.

use super::error::{Kind, ReadError};
use crate::serve::{Published, ViewRows};
use bytes::Bytes;
use millrace_dataflows::query::{Query, QueryError};
use millrace_schema::calendar::parse_day;

/// The rejected records: no view, and asked like one.
pub const QUARANTINE: &str = "quarantine";

/// A question to a view of any version.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub view: String,
    pub query: Query,
}

impl Question {
    /// Equal for equal questions, and only for those.
    pub fn key(&self) -> Bytes {
        let Question { view, query } = self;
        // By name, so that no field is forgotten: two questions would get one answer.
        let Query { group_by, filters, order_by, rank_by, limit, days, as_of } = query;
        let key = postcard::to_allocvec(&(view, group_by, filters, order_by, rank_by, limit, days, as_of));
        key.expect("texts and numbers can be written to memory").into()
    }
}

/// The days asked for, both included.
///
/// # Errors
/// Where one of them is none, or they are in the wrong order.
pub fn days(from: &str, to: &str) -> Result<(i64, i64), ReadError> {
    let day = |name: &'static str, text: &str| {
        let is_day = text.len() == "2019-10-01".len();
        let bad = || {
            ReadError::invalid(format!("days.{name} = {text:?}: expected a day from 1970 to 2199 such as 2019-10-01"))
        };
        parse_day(text).filter(|_| is_day).ok_or_else(bad)
    };
    let (from, to) = (day("from", from)?, day("to", to)?);
    if from > to {
        return Err(ReadError::invalid("days.from is after days.to"));
    }
    Ok((from, to))
}

/// An instant in UTC microseconds, if it is one: what lies further off than any calendar reaches is none.
pub fn instant(micros: i64) -> Option<i64> {
    const MOST: i64 = 253_402_300_800 * 1_000_000;
    (-MOST..MOST).contains(&micros).then_some(micros)
}

/// # Errors
/// Where there is no such view.
pub fn view<'a>(version: &'a Published, name: &str) -> Result<&'a ViewRows, ReadError> {
    version.view(name).ok_or_else(|| {
        let known: Vec<&str> = version.views.iter().map(|rows| rows.view.name()).collect();
        ReadError::new(Kind::NotFound, format!("no view {name:?}; the views are {}", known.join(", ")))
    })
}

/// Why a view has no answer to a question.
pub fn misfit(error: QueryError) -> ReadError {
    match error {
        QueryError::OnlyAList(view) => ReadError::invalid(format!("{view} has no groups and no days")),
        // Nothing is wrong with the question.
        error @ QueryError::SumsTooLarge { .. } => ReadError::new(Kind::Unmet, error.to_string()),
        error => ReadError::invalid(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_that_differ_have_other_keys() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let filters = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let queries = [
            Query::default(),
            Query { group_by: texts(&["day"]), ..Query::default() },
            Query { group_by: texts(&["d", "ay"]), ..Query::default() },
            Query { filters: filters(&[("day", "")]), ..Query::default() },
            Query { filters: filters(&[("", "day")]), ..Query::default() },
            Query { order_by: vec![("day".to_owned(), false)], ..Query::default() },
            Query { order_by: vec![("day".to_owned(), true)], ..Query::default() },
            Query { rank_by: Some("day".to_owned()), ..Query::default() },
            Query { limit: Some(1), ..Query::default() },
            Query { days: Some((1, 1)), ..Query::default() },
            Query { as_of: Some(1), ..Query::default() },
        ];
        let of = |view: &str, query: &Query| Question { view: view.to_owned(), query: query.clone() }.key();
        let views = ["sales", "sale", ""];
        let keys: Vec<Bytes> = views.iter().flat_map(|view| queries.iter().map(|query| of(view, query))).collect();
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == key), Some(index));
        }
        assert_eq!(keys[1], of("sales", &queries[1]));
    }
}
