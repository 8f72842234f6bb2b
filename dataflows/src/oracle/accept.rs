//! What deduplication makes of records.
//!
//! Records are taken by epoch, in an epoch by place. The first event of an `event_id` is accepted; a later one is a
//! duplicate where its content is equal, else quarantined as `id_conflict`. A dimension record is a duplicate where an
//! accepted one has equal content, else accepted. Content is every field but `received_at` and the warnings.

use super::{Observed, Outcome};
use millrace_schema::{Kind, OwnedRecord, Place, Rule, Warnings};
use std::collections::BTreeMap;

/// A record as it was read.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub source: String,
    pub epoch: u64,
    pub place: Place,
    pub received_at: Option<i64>,
    /// It came when events as old as it were not merged any more.
    pub is_pending: bool,
    pub decoded: Result<OwnedRecord, Rule>,
}

/// What became of every record, ordered by epoch and place.
pub fn observe(incoming: &[Incoming]) -> Vec<Observed> {
    let mut in_order: Vec<&Incoming> = incoming.iter().collect();
    in_order.sort_by_key(|one| (one.epoch, one.place));
    let mut accepted = Accepted::default();
    let observe = |one: &Incoming| Observed {
        source: one.source.clone(),
        place: one.place,
        received_at: one.received_at,
        record: one.decoded.as_ref().ok().cloned(),
        outcome: match &one.decoded {
            Ok(_) if one.is_pending => Outcome::Pending,
            Ok(record) if record.kind.is_dimension() => accepted.dimension(record),
            Ok(record) => accepted.event(record),
            Err(rule) => Outcome::Quarantined(*rule),
        },
    };
    in_order.into_iter().map(observe).collect()
}

/// The contents accepted so far.
#[derive(Default)]
struct Accepted {
    by_event_id: BTreeMap<String, OwnedRecord>,
    by_dimension: BTreeMap<(Kind, String, String), Vec<OwnedRecord>>,
}

impl Accepted {
    fn event(&mut self, record: &OwnedRecord) -> Outcome {
        let content = content(record);
        match self.by_event_id.get(&record.event_id) {
            None => {
                self.by_event_id.insert(record.event_id.clone(), content);
                Outcome::Accepted
            }
            Some(first) if *first == content => Outcome::Duplicate,
            Some(_) => Outcome::Quarantined(Rule::IdConflict),
        }
    }

    fn dimension(&mut self, record: &OwnedRecord) -> Outcome {
        let content = content(record);
        let key = (record.kind, record.product_id.clone(), record.user_id.clone());
        let earlier = self.by_dimension.entry(key).or_default();
        if earlier.contains(&content) {
            return Outcome::Duplicate;
        }
        earlier.push(content);
        Outcome::Accepted
    }
}

fn content(record: &OwnedRecord) -> OwnedRecord {
    OwnedRecord { received_at: None, warnings: Warnings::default(), ..record.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::example::{product, view};

    #[test]
    fn the_first_epoch_wins_then_the_smaller_place() {
        let named = |time, product| OwnedRecord { event_id: "e".to_owned(), ..view(time, product) };
        let received = |record| OwnedRecord { received_at: Some(1), ..record };
        let incoming = [
            (1, 0, Ok(named("1T08:00", "a"))),
            (0, 7, Ok(named("1T07:00", "a"))),
            (0, 6, Ok(named("1T09:00", "b"))),
            (1, 1, Ok(received(named("1T09:00", "b")))),
            (1, 2, Err(Rule::MalformedJson)),
            (1, 3, Ok(product("1T00:00", "a", "Toys"))),
            (1, 4, Ok(product("2T00:00", "a", "Toys"))),
            (2, 0, Ok(received(product("1T00:00", "a", "Toys")))),
        ];
        let incoming = incoming.map(|(epoch, offset, decoded)| Incoming {
            source: "shop".to_owned(),
            epoch,
            place: Place::new(0, offset),
            received_at: None,
            is_pending: false,
            decoded,
        });
        let outcomes: Vec<_> =
            observe(&incoming).into_iter().map(|one| (one.place.offset(), one.record.is_some(), one.outcome)).collect();
        let expected = [
            (6, true, Outcome::Accepted),
            (7, true, Outcome::Quarantined(Rule::IdConflict)),
            (0, true, Outcome::Quarantined(Rule::IdConflict)),
            (1, true, Outcome::Duplicate),
            (2, false, Outcome::Quarantined(Rule::MalformedJson)),
            (3, true, Outcome::Accepted),
            (4, true, Outcome::Accepted),
            (0, true, Outcome::Duplicate),
        ];
        assert_eq!(outcomes, expected);
    }
}
