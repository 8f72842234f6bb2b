//! Where an answer is true, in words.

use millrace_proto::v1;
use millrace_schema::calendar::rfc3339_micros;

/// `epoch 1571234567890, complete up to 2019-10-16T14:02:47.890000Z`.
pub(super) fn of(at: &v1::At) -> String {
    let watermark = match &at.watermark {
        Some(watermark) => format!("complete up to {}", instant(watermark)),
        None => "no watermark yet".to_owned(),
    };
    let restored = if at.restored { ", restored: not read on yet" } else { "" };
    format!("epoch {}, {watermark}{restored}", at.epoch)
}

pub(super) fn instant(timestamp: &millrace_proto::prost_types::Timestamp) -> String {
    let micros = timestamp.seconds.saturating_mul(1_000_000).saturating_add(i64::from(timestamp.nanos / 1_000));
    rfc3339_micros(micros)
}
