//! Where an answer is true, once for each version: answers share the encoded bytes.

use super::wire;
use crate::serve::{Board, Published};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use millrace_proto::prost_types::Timestamp;
use millrace_proto::v1;
use prost::Message;
use std::sync::Arc;

/// A version and its place in time.
pub struct Stamp {
    pub version: Arc<Published>,
    pub at: v1::At,
    /// The field `at` of any answer: it is the first of all of them.
    pub encoded: Bytes,
}

impl Stamp {
    pub fn of(version: Arc<Published>) -> Stamp {
        let positions = version.positions.iter().map(|source| v1::SourcePositions {
            source: source.source.clone(),
            next_offsets: source.next_offsets.clone(),
        });
        let at = v1::At {
            epoch: version.epoch,
            watermark: version.watermark.map(timestamp),
            positions: positions.collect(),
            restored: version.restored,
        };
        let mut encoded = Vec::new();
        wire::put_bytes(&mut encoded, wire::AT, &at.encode_to_vec());
        Stamp { version, at, encoded: encoded.into() }
    }
}

/// The stamp of the version that was current when last asked.
#[derive(Default)]
pub struct Stamps(ArcSwapOption<Stamp>);

impl Stamps {
    pub fn current(&self, board: &Board) -> Arc<Stamp> {
        self.of(board.current())
    }

    pub fn of(&self, version: Arc<Published>) -> Arc<Stamp> {
        if let Some(stamp) = &*self.0.load()
            && Arc::ptr_eq(&stamp.version, &version)
        {
            return stamp.clone();
        }
        let stamp = Arc::new(Stamp::of(version));
        self.0.store(Some(stamp.clone()));
        stamp
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
