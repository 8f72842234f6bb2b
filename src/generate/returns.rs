//! What comes back: units of a sold line, by a `refund` event or by a purchase line with negative quantity.
//!
//! A line comes back once at most and never for more than was paid. A fifth is called off within the hour, the rest
//! comes by post within two weeks; in a short run, within half of it.

use super::event::{Body, Event, Purchase};
use super::market::{CANCELLED, RETURN_REASONS};
use super::options::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, Options};
use super::random::Random;

const CANCELLED_FRACTION: f64 = 0.2;
/// Of the lines with several units, those that come back in part.
const PARTIAL_FRACTION: f64 = 0.4;
const DELAY_MAX: i64 = 14 * MICROS_PER_DAY;

#[derive(Clone, Copy, Debug)]
pub struct ReturnHabits {
    refund_fraction: f64,
    return_line_fraction: f64,
    delay_max: i64,
}

impl ReturnHabits {
    pub fn new(options: &Options) -> ReturnHabits {
        ReturnHabits {
            refund_fraction: options.refund_fraction,
            return_line_fraction: options.return_line_fraction,
            delay_max: DELAY_MAX.min(options.period_micros() / 2),
        }
    }

    /// The return of `line`, which `sold` carried: an event at the time when it happens.
    pub fn plan(&self, sold: &Event, line: &Purchase, random: &mut Random) -> Option<Event> {
        let draw = random.unit();
        if draw >= self.refund_fraction + self.return_line_fraction {
            return None;
        }
        let cancelled = random.chance(CANCELLED_FRACTION);
        let delay = if cancelled {
            random.between(2 * MICROS_PER_MINUTE, MICROS_PER_HOUR)
        } else {
            random.between(self.delay_max / 14, self.delay_max)
        };
        let in_part = line.quantity > 1 && random.chance(PARTIAL_FRACTION);
        let quantity = if in_part { 1 + random.below(line.quantity as u32 - 1) as i32 } else { line.quantity };
        let amount = line.price_paid * i64::from(quantity) / i64::from(line.quantity);
        let body = if draw < self.refund_fraction {
            let reason = if cancelled { CANCELLED } else { random.pick(&RETURN_REASONS) };
            Body::Refund { order: line.order, product: line.product, quantity, amount, reason }
        } else {
            Body::Purchase(Purchase { quantity: -quantity, price_paid: -amount, ..*line })
        };
        Some(Event { time: sold.time + delay, body, ..*sold })
    }
}
