//! Where an answer is true, as the contract has it, encoded once for each version: answers share the bytes.

use super::wire;
use crate::serve::Published;
use crate::serve::read::Place;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use millrace_proto::prost_types::Timestamp;
use millrace_proto::v1;
use prost::Message;
use std::sync::Arc;

/// The place of a version.
pub fn at(place: &Place) -> v1::At {
    let positions = place
        .positions
        .iter()
        .map(|source| v1::SourcePositions { source: source.source.clone(), next_offsets: source.next_offsets.clone() });
    v1::At {
        epoch: place.epoch,
        watermark: place.watermark.map(timestamp),
        positions: positions.collect(),
        restored: place.restored,
    }
}

struct Stamp {
    place: Place,
    encoded: Bytes,
}

/// The field `at` of any answer: it is the first of all of them.
fn encode(place: &Place) -> Bytes {
    let mut encoded = Vec::new();
    wire::put_bytes(&mut encoded, wire::AT, &at(place).encode_to_vec());
    encoded.into()
}

/// Fields `at`, and that of the place that was asked for last.
#[derive(Default)]
pub struct Stamps(ArcSwapOption<Stamp>);

impl Stamps {
    pub fn of(&self, version: &Published) -> Bytes {
        match &*self.0.load() {
            Some(stamp) if stamp.place.is_of(version) => stamp.encoded.clone(),
            _ => self.renew(Place::of(version)),
        }
    }

    pub fn of_place(&self, place: &Place) -> Bytes {
        match &*self.0.load() {
            Some(stamp) if stamp.place.is(place) => stamp.encoded.clone(),
            _ => self.renew(place.clone()),
        }
    }

    /// Of a version that few ask for: the one that many do stays at hand.
    pub fn of_old(version: &Published) -> Bytes {
        encode(&Place::of(version))
    }

    fn renew(&self, place: Place) -> Bytes {
        let encoded = encode(&place);
        self.0.store(Some(Arc::new(Stamp { place, encoded: encoded.clone() })));
        encoded
    }
}

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Of UTC microseconds.
pub fn timestamp(micros: i64) -> Timestamp {
    let nanos = micros.rem_euclid(MICROS_PER_SECOND) * 1_000;
    Timestamp { seconds: micros.div_euclid(MICROS_PER_SECOND), nanos: nanos as i32 }
}

/// UTC microseconds, rounded down; `None` where there is no such instant.
pub fn micros(timestamp: &Timestamp) -> Option<i64> {
    let nanos = i64::from(timestamp.nanos);
    let whole = timestamp.seconds.checked_mul(MICROS_PER_SECOND)?;
    (0..1_000_000_000).contains(&nanos).then_some(())?;
    whole.checked_add(nanos / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_go_there_and_back() {
        for time in [0, 1, -1, 1_571_234_567_890_123, -62_135_596_800_000_000] {
            assert_eq!(micros(&timestamp(time)), Some(time));
        }
        assert_eq!(micros(&Timestamp { seconds: i64::MAX, nanos: 0 }), None);
        assert_eq!(micros(&Timestamp { seconds: 0, nanos: -1 }), None);
    }
}
