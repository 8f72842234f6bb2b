//! A weighted choice in constant time: Vose's alias method.
//!
//! Every slot holds its own index and one other; a draw takes a slot at random, then one of the two. Ten thousand
//! Zipf weights cost one table of 80 kB and one random number a draw.

use super::random::Random;

/// Draws `0..len` in proportion to the weights it was made of.
#[derive(Clone, Debug)]
pub struct AliasTable {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Draws below this keep the slot's own index.
    keep_below: u32,
    other: u32,
}

impl AliasTable {
    /// `weights` are finite, not negative and not all 0; without any, nothing may be drawn.
    pub fn new(weights: &[f64]) -> AliasTable {
        let total: f64 = weights.iter().sum();
        let scale = weights.len() as f64 / total;
        let mut scaled: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
        let mut slots: Vec<Slot> =
            (0..weights.len() as u32).map(|index| Slot { keep_below: u32::MAX, other: index }).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..weights.len() as u32).partition(|&index| scaled[index as usize] < 1.0);
        while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
            small.pop();
            let share = scaled[poor as usize];
            slots[poor as usize] = Slot { keep_below: (share * f64::from(u32::MAX)) as u32, other: rich };
            scaled[rich as usize] -= 1.0 - share;
            if scaled[rich as usize] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        // What rounding leaves over keeps its own index.
        AliasTable { slots }
    }

    #[inline]
    pub fn draw(&self, random: &mut Random) -> u32 {
        let bits = random.bits();
        let index = (((bits >> 32) * self.slots.len() as u64) >> 32) as u32;
        let slot = self.slots[index as usize];
        if (bits as u32) < slot.keep_below { index } else { slot.other }
    }
}
