//! Histories of categories against looking through all versions.

use super::through;
use crate::properties::config;
use millrace_dataflows::operators::categories::{History, HistoryChange, histories};
use millrace_schema::{Event, Kind, Name, NameCache, Names, OwnedRecord, Place};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
struct Version {
    since: i64,
    place: Place,
    category: &'static str,
    deleted: bool,
}

/// The category that counts from a version on, all versions known so far considered.
fn category(versions: &[Version], of: &Version) -> &'static str {
    let before = versions.iter().filter(|one| one.since < of.since).max_by_key(|one| (one.since, one.place));
    match before {
        Some(before) if of.deleted && of.category.is_empty() => category(versions, before),
        _ => of.category,
    }
}

fn as_was(versions: &[Version], time: i64) -> &'static str {
    let in_force = versions.iter().filter(|one| one.since <= time).max_by_key(|one| (one.since, one.place));
    let first = versions.iter().map(|one| one.since).min();
    let earliest = || versions.iter().filter(|one| Some(one.since) == first).max_by_key(|one| one.place);
    category(versions, in_force.or_else(earliest).expect("there is a version"))
}

fn event(version: &Version, names: &Arc<Names>) -> Event {
    let record = OwnedRecord {
        product_id: "tea".to_owned(),
        category: version.category.to_owned(),
        deleted: version.deleted,
        time: version.since,
        ..OwnedRecord::empty(Kind::Product)
    };
    let event = record.as_record().to_event(version.place, &mut NameCache::new(names.clone()));
    event.expect("no collision")
}

proptest! {
    #![proptest_config(config(300, "tests/parts/history.regressions"))]

    #[test]
    fn a_history_knows_every_instant(
        sent in prop::collection::vec((0..4_u64, 0..5_i64, select(vec!["", "Drinks", "Food"]), any::<bool>()), 1..8),
        in_flight in 1..4_usize,
    ) {
        let names = Arc::new(Names::default());
        let mut epochs: Vec<Vec<Version>> = vec![Vec::new(); 4];
        for (offset, (epoch, since, category, deleted)) in (0..).zip(sent) {
            let place = Place::new(0, offset * 7 % 8);
            epochs[epoch as usize].push(Version { since, place, category, deleted });
        }
        let events = epochs.iter().map(|versions| versions.iter().map(|one| event(one, &names)).collect()).collect();
        let left = through(events, in_flight, |_, dimensions| histories(dimensions));
        let mut by_epoch: BTreeMap<u64, Vec<HistoryChange>> = BTreeMap::new();
        for (epoch, change) in left {
            prop_assert_eq!(change.product, Name::of("tea"));
            by_epoch.entry(epoch).or_default().push(change);
        }
        let (mut known, mut latest) = (Vec::new(), None::<History>);
        for (epoch, versions) in (0..).zip(epochs) {
            known.extend(versions);
            let seen = |history: &Option<History>| -> Option<Vec<Name>> {
                history.as_ref().map(|history| (-1..6).map(|time| history.as_was(time)).collect())
            };
            let (before, changes) = (seen(&latest), by_epoch.remove(&epoch).unwrap_or_default());
            for change in &changes {
                latest.get_or_insert_default().apply(change);
                prop_assert_eq!(change.as_is, Name::of(as_was(&known, 100)));
            }
            prop_assert_eq!(seen(&latest) != before, !changes.is_empty(), "what changes nothing is no change");
            let Some(history) = &latest else {
                prop_assert!(known.is_empty());
                continue;
            };
            for time in -1..6 {
                prop_assert_eq!(history.as_was(time), Name::of(as_was(&known, time)), "epoch {}, at {}", epoch, time);
            }
            prop_assert_eq!(history.as_is(), Name::of(as_was(&known, 100)));
        }
    }
}
