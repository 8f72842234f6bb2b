//! From what is asked on the wire to what is read.

use super::at::micros;
use crate::serve::SourcePositions;
use crate::serve::read::{self, Question, ReadError, Wanted};
use millrace_dataflows::query::Query;
use millrace_proto::prost_types::Timestamp;
use millrace_proto::v1;

/// # Errors
/// Where a day or an instant is none.
pub fn question(asked: v1::Query) -> Result<Question, ReadError> {
    let query = Query {
        group_by: asked.group_by,
        filters: asked.filters.into_iter().map(|filter| (filter.column, filter.value)).collect(),
        order_by: order(asked.order_by),
        rank_by: Some(asked.rank_by).filter(|score| !score.is_empty()),
        limit: limit(asked.limit),
        days: days(asked.days.as_ref())?,
        as_of: instant(asked.as_of.as_ref())?,
    };
    Ok(Question { view: asked.view, query })
}

/// # Errors
/// Where a duration is negative or a source is named twice.
pub fn wanted(asked: Option<v1::Consistency>) -> Result<Wanted, ReadError> {
    let Some(asked) = asked else { return Ok(Wanted::default()) };
    let covers = asked.covers.into_iter();
    let covers = covers.map(|c| SourcePositions { source: c.source, next_offsets: c.next_offsets }).collect();
    let wanted = Wanted::new(asked.min_epoch, covers)?;
    let max_staleness_ms = asked.max_staleness.map(|duration| {
        let bad = || ReadError::invalid("consistency.max_staleness is negative, or too large");
        let millis = duration.seconds.checked_mul(1_000).ok_or_else(bad)?;
        let millis = millis.checked_add(i64::from(duration.nanos / 1_000_000)).ok_or_else(bad)?;
        u64::try_from(millis).map_err(|_| bad())
    });
    Ok(wanted.no_older_than(max_staleness_ms.transpose()?))
}

pub fn order(order: Vec<v1::OrderBy>) -> Vec<(String, bool)> {
    order.into_iter().map(|order| (order.column, order.descending)).collect()
}

pub fn limit(limit: u32) -> Option<usize> {
    (limit > 0).then_some(limit as usize)
}

pub fn days(range: Option<&v1::DayRange>) -> Result<Option<(i64, i64)>, ReadError> {
    range.map(|range| read::question::days(&range.from, &range.to)).transpose()
}

pub fn instant(timestamp: Option<&Timestamp>) -> Result<Option<i64>, ReadError> {
    let Some(timestamp) = timestamp else { return Ok(None) };
    let bad = || ReadError::invalid("as_of is not an instant: its nanos are 0 to 999,999,999");
    micros(timestamp).and_then(read::question::instant).map(Some).ok_or_else(bad)
}
