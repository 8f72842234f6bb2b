//! One event as a session holds it.

use crate::operators::activity::{Act, Activity};

/// One event of a session: 20 bytes, of which there are as many as events. Names are the operator's local numbers, 0
/// for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, packed(4))]
pub struct SessionEvent {
    pub time: i64,
    pub product: u32,
    /// The number of a (referrer, device) pair, and the act in the low bits.
    origin_and_act: u32,
    /// See [`Activity::tie`].
    tie: u32,
}

impl SessionEvent {
    const ACT_BITS: u32 = 4;

    pub fn new(activity: &Activity, product: u32, origin: u32) -> SessionEvent {
        let origin_and_act = origin << Self::ACT_BITS | activity.act as u32;
        SessionEvent { time: activity.time, product, origin_and_act, tie: activity.tie }
    }

    #[inline]
    pub fn origin(&self) -> u32 {
        self.origin_and_act >> Self::ACT_BITS
    }

    #[inline]
    pub fn act(&self) -> Act {
        const OF_BITS: [Act; 1 << SessionEvent::ACT_BITS] = {
            let mut acts = [Act::Other; 1 << SessionEvent::ACT_BITS];
            let mut act = 0;
            while act < Act::ALL.len() {
                acts[act] = Act::ALL[act];
                act += 1;
            }
            acts
        };
        OF_BITS[(self.origin_and_act & ((1 << Self::ACT_BITS) - 1)) as usize]
    }

    /// What a session's events are in order of.
    pub fn order(&self) -> (i64, u32) {
        (self.time, self.tie)
    }

    /// The product it touches.
    #[inline]
    pub fn touched(&self) -> Option<u32> {
        (self.product != 0 && self.act().touches()).then_some(self.product)
    }
}

#[cfg(test)]
impl SessionEvent {
    pub fn made_up(time: i64, tie: u32, act: Act, product: u32, origin: u32) -> SessionEvent {
        SessionEvent { time, product, origin_and_act: origin << Self::ACT_BITS | act as u32, tie }
    }
}
