//! From what is asked on the wire to what a view is asked.

use super::at::micros;
use crate::serve::{Published, ViewRows};
use bytes::Bytes;
use millrace_dataflows::query::{Query, QueryError};
use millrace_proto::prost_types::Timestamp;
use millrace_proto::v1;
use millrace_schema::calendar::parse_day;
use prost::Message;
use tonic::Status;

/// The rejected records: no view, and asked like one.
pub const QUARANTINE: &str = "quarantine";

/// A question to a view of any version.
#[derive(Clone, Debug)]
pub struct Question {
    pub view: String,
    pub query: Query,
    /// Equal for equal questions.
    pub key: Bytes,
}

impl Question {
    /// # Errors
    /// INVALID_ARGUMENT where a day or an instant is none.
    pub fn of(asked: v1::Query) -> Result<Question, Status> {
        let key = asked.encode_to_vec().into();
        let query = Query {
            group_by: asked.group_by,
            filters: asked.filters.into_iter().map(|filter| (filter.column, filter.value)).collect(),
            order_by: order(asked.order_by),
            rank_by: Some(asked.rank_by).filter(|score| !score.is_empty()),
            limit: limit(asked.limit),
            days: days(asked.days.as_ref())?,
            as_of: instant(asked.as_of.as_ref())?,
        };
        Ok(Question { view: asked.view, query, key })
    }
}

pub fn order(order: Vec<v1::OrderBy>) -> Vec<(String, bool)> {
    order.into_iter().map(|order| (order.column, order.descending)).collect()
}

pub fn limit(limit: u32) -> Option<usize> {
    (limit > 0).then_some(limit as usize)
}

pub fn days(range: Option<&v1::DayRange>) -> Result<Option<(i64, i64)>, Status> {
    let Some(range) = range else { return Ok(None) };
    let day = |name, text: &str| {
        let is_day = text.len() == "2019-10-01".len();
        let bad = || {
            Status::invalid_argument(format!(
                "days.{name} = {text:?}: expected a day from 1970 to 2199 such as 2019-10-01"
            ))
        };
        parse_day(text).filter(|_| is_day).ok_or_else(bad)
    };
    let (from, to) = (day("from", &range.from)?, day("to", &range.to)?);
    if from > to {
        return Err(Status::invalid_argument("days.from is after days.to"));
    }
    Ok(Some((from, to)))
}

pub fn instant(timestamp: Option<&Timestamp>) -> Result<Option<i64>, Status> {
    let Some(timestamp) = timestamp else { return Ok(None) };
    let bad = || Status::invalid_argument("as_of is not an instant: its nanos are 0 to 999,999,999");
    // What lies further off than any calendar reaches is no instant either.
    const MOST: i64 = 253_402_300_800 * 1_000_000;
    micros(timestamp).filter(|time| (-MOST..MOST).contains(time)).map(Some).ok_or_else(bad)
}

/// # Errors
/// NOT_FOUND where there is no such view.
pub fn view<'a>(version: &'a Published, name: &str) -> Result<&'a ViewRows, Status> {
    version.view(name).ok_or_else(|| {
        let known: Vec<&str> = version.views.iter().map(|rows| rows.view.name()).collect();
        Status::not_found(format!("no view {name:?}; the views are {}", known.join(", ")))
    })
}

pub fn misfit(error: QueryError) -> Status {
    match error {
        QueryError::OnlyAList(view) => Status::invalid_argument(format!("{view} has no groups and no days")),
        // Nothing is wrong with the question.
        error @ QueryError::SumsTooLarge { .. } => Status::failed_precondition(error.to_string()),
        error => Status::invalid_argument(error.to_string()),
    }
}
