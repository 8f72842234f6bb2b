//! Pins: who reads a checkpoint keeps its files. Decisions without I/O.
//!
//! ```text
//! reader:  put _pins/<id>.json ──▶ look at the trail and at the manifests ──▶ safe: read      else: a newer one
//! engine:  put the trail, the manifest ──▶ look at the pins ──▶ remove what has expired and no pin holds
//! ```
//! Each writes before it looks. So of a reader that pins a checkpoint just as it expires, and the engine that removes it, one sees the
//! other: either the engine finds the pin, or the reader finds that the checkpoint may be on its way out and takes a newer one.
//!
//! A pin ends by itself, so that a reader that was killed holds nothing for ever; one that goes on writes it anew before that.

use super::free::{There, Trail};
use crate::numbers::Epoch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

pub const FOLDER: &str = "_pins/";
/// No pin holds for longer without being renewed.
pub const LONGEST_MS: u64 = 7 * 86_400_000;
/// Clocks of machines differ by less. A pin that ends within it is not relied upon, and one is cleared away that long after its end.
pub const CLOCKS_DIFFER_MS: u64 = 60_000;
const VERSION: u32 = 1;
const ID_BYTES_MOST: usize = 100;

/// What is written under `_pins/<id>.json`. Times are milliseconds since 1970, by the clock of who took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    pub version: u32,
    /// The number of the manifest.
    pub manifest: u64,
    pub epoch: Epoch,
    /// For people.
    pub who: String,
    pub created_ms: u64,
    pub renewed_ms: u64,
    pub expires_ms: u64,
}

impl Pin {
    pub fn new((manifest, epoch): (u64, Epoch), who: &str, now_ms: u64, for_ms: u64) -> Pin {
        let expires_ms = now_ms.saturating_add(for_ms.min(LONGEST_MS));
        Pin {
            version: VERSION,
            manifest,
            epoch,
            who: who.to_owned(),
            created_ms: now_ms,
            renewed_ms: now_ms,
            expires_ms,
        }
    }

    /// The same, for so long from now on.
    pub fn renewed(&self, now_ms: u64, for_ms: u64) -> Pin {
        let expires_ms = now_ms.saturating_add(for_ms.min(LONGEST_MS));
        Pin { renewed_ms: now_ms, expires_ms, ..self.clone() }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a pin is plain data")
    }

    /// Fields that a later program has added are passed over.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn of_bytes(bytes: &[u8]) -> Result<Pin, String> {
        let pin: Pin = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if pin.version == VERSION { Ok(pin) } else { Err(format!("it is of version {}, not {VERSION}", pin.version)) }
    }
}

pub fn key(id: &str) -> String {
    format!("{FOLDER}{id}.json")
}

/// Whether it may be the name of a pin: it is part of a file's.
pub fn is_id(id: &str) -> bool {
    let good = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    !id.is_empty() && id.len() <= ID_BYTES_MOST && !id.starts_with('.') && id.chars().all(good)
}

/// A pin as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub id: String,
    /// Or why it cannot be read.
    pub pin: Result<Pin, String>,
    /// By the store's clock.
    pub modified_ms: u64,
}

impl Stored {
    /// Until when it holds anything. What cannot be read may have been taken for as long as any.
    pub fn until_ms(&self) -> u64 {
        match &self.pin {
            Ok(pin) => pin.expires_ms.min(pin.renewed_ms.max(self.modified_ms).saturating_add(LONGEST_MS)),
            Err(_) => self.modified_ms.saturating_add(LONGEST_MS),
        }
    }
}

/// What pins hold at some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Number and epoch.
    manifests: BTreeSet<(u64, Epoch)>,
    /// Of a pin that cannot be read it is not known what it holds: so everything that there is.
    everything: bool,
}

impl Holding {
    pub fn of<'a>(pins: impl IntoIterator<Item = &'a Stored>, now_ms: u64) -> Holding {
        let mut holding = Holding::default();
        for stored in pins.into_iter().filter(|stored| stored.until_ms() > now_ms) {
            match &stored.pin {
                Ok(pin) => drop(holding.manifests.insert((pin.manifest, pin.epoch))),
                Err(_) => holding.everything = true,
            }
        }
        holding
    }

    /// Whether a manifest has to stay. With a claim, which may be taken back, so does the one that it repeats.
    pub fn holds(&self, there: There) -> bool {
        let is_repeated = |&(number, epoch): &(u64, Epoch)| there.number <= number && there.epoch == epoch;
        self.everything
            || self.manifests.iter().any(|pinned| pinned.0 == there.number)
            || self.manifests.iter().any(is_repeated)
    }

    /// Whether changes of an epoch have to stay, for a pinned checkpoint is of an earlier one.
    pub fn holds_changes_of(&self, epoch: Epoch) -> bool {
        self.everything || self.manifests.iter().any(|(_, pinned)| *pinned < epoch)
    }
}

/// Whether a manifest whose pin has been put stays. `newest` and `others` were looked at after that.
pub fn is_safe(number: u64, newest: u64, trail: Option<Trail>, others: &[Stored], now_ms: u64) -> bool {
    let is_held = |stored: &Stored| {
        stored.until_ms() > now_ms.saturating_add(CLOCKS_DIFFER_MS)
            && stored.pin.as_ref().is_ok_and(|pin| pin.manifest == number)
    };
    // Nobody who removes anything has been there yet.
    trail.is_none_or(|trail| trail.oldest <= number)
        // Whoever puts a newer one looks at the pins after that.
        || number == newest
        // Whoever lets it go has looked at the pins before the other goes, and so finds this one.
        || others.iter().any(is_held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored(id: &str, pin: Result<Pin, String>, modified_ms: u64) -> Stored {
        Stored { id: id.to_owned(), pin, modified_ms }
    }

    fn there(number: u64, epoch: u64) -> There {
        There { number, epoch: Epoch(epoch), is_claim: false }
    }

    #[test]
    fn a_pin_holds_its_manifest_until_it_ends_and_no_other() {
        let pins = [stored("a", Ok(Pin::new((7, Epoch(70)), "a reader", 1_000, 500)), 1_000)];
        let held = |number, epoch, now_ms| Holding::of(&pins, now_ms).holds(there(number, epoch));
        assert!(held(7, 70, 1_499));
        assert!(!held(7, 70, 1_500), "it has ended");
        assert!(!held(6, 60, 1_200) && !held(8, 80, 1_200));
        assert!(Holding::of(&pins, 1_200).holds_changes_of(Epoch(71)));
        assert!(!Holding::of(&pins, 1_200).holds_changes_of(Epoch(70)), "what is in the checkpoint is no change since");
    }

    #[test]
    fn with_a_pinned_claim_stays_the_checkpoint_that_it_repeats() {
        let pins = [stored("a", Ok(Pin::new((8, Epoch(70)), "a reader", 1_000, 500)), 1_000)];
        let holding = Holding::of(&pins, 1_100);
        assert!(holding.holds(there(7, 70)) && holding.holds(there(8, 70)));
        assert!(!holding.holds(there(9, 70)), "a later claim is another's");
    }

    #[test]
    fn a_pin_that_cannot_be_read_holds_everything_as_long_as_any_may() {
        let pins = [stored("a", Pin::of_bytes(b"{\"manifest\":"), 1_000)];
        assert!(Holding::of(&pins, LONGEST_MS).holds(there(3, 30)));
        assert!(Holding::of(&pins, LONGEST_MS).holds_changes_of(Epoch(1)));
        assert_eq!(Holding::of(&pins, 1_000 + LONGEST_MS), Holding::default());
    }

    #[test]
    fn no_pin_holds_for_ever_whatever_it_says() {
        let pin = Pin { expires_ms: u64::MAX, ..Pin::new((7, Epoch(70)), "a reader", 1_000, 0) };
        assert_eq!(stored("a", Ok(pin), 2_000).until_ms(), 2_000 + LONGEST_MS);
        let pin = Pin::new((7, Epoch(70)), "a reader", 1_000, u64::MAX);
        assert_eq!(pin.expires_ms, 1_000 + LONGEST_MS);
    }

    #[test]
    fn a_pin_comes_back_as_it_was_and_one_of_another_version_is_not_read() {
        let pin = Pin::new((7, Epoch(70)), "a reader", 1_000, 500).renewed(2_000, 700);
        assert_eq!((pin.created_ms, pin.renewed_ms, pin.expires_ms), (1_000, 2_000, 2_700));
        assert_eq!(Pin::of_bytes(&pin.to_bytes()), Ok(pin.clone()));
        let later = String::from_utf8(pin.to_bytes()).expect("text").replacen('{', "{\"sink\":\"a\",", 1);
        assert_eq!(Pin::of_bytes(later.as_bytes()), Ok(pin.clone()), "a field more");
        let other = Pin { version: 2, ..pin };
        assert!(Pin::of_bytes(&other.to_bytes()).is_err_and(|why| why.contains("version 2")));
    }

    #[test]
    fn a_name_is_a_part_of_a_file_name() {
        for good in ["a", "nightly-export", "2026.03_01"] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", "a/b", "..", ".a", "a b", &"x".repeat(101)] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    /// An engine that commits and removes, and a reader that pins, each a step at a time and in any order.
    #[derive(Clone, Debug, Default)]
    struct World {
        manifests: BTreeSet<u64>,
        trail: Option<u64>,
        pinned: Option<u64>,
        /// What the engine has found pinned, while it is about to remove.
        found: Option<Option<u64>>,
        committing: Option<u64>,
    }

    impl World {
        fn engine(&mut self, keep: u64) {
            let newest = self.manifests.last().copied().unwrap_or(0);
            match (self.committing, self.found) {
                (None, _) => {
                    self.committing = Some(newest + 1);
                    self.trail = Some((newest + 2).saturating_sub(keep));
                }
                (Some(next), None) if !self.manifests.contains(&next) => drop(self.manifests.insert(next)),
                (Some(_), None) => self.found = Some(self.pinned),
                (Some(next), Some(pinned)) => {
                    self.manifests.retain(|number| number + keep > next || Some(*number) == pinned);
                    (self.committing, self.found) = (None, None);
                }
            }
        }
    }

    proptest! {
        /// However their steps fall: once a reader has found its pin safe, its manifest is there at every step.
        #[test]
        fn a_pin_that_was_found_safe_holds(steps in prop::collection::vec(any::<bool>(), 1..120), keep in 1..4_u64) {
            let mut world = World { manifests: BTreeSet::from([1]), ..World::default() };
            // What it has chosen, what it has read of the trail, and whether it relies on it.
            let (mut chosen, mut trail, mut relies, mut pins) = (None, None, false, 0);
            for is_engine in steps {
                if is_engine {
                    world.engine(keep);
                } else {
                    match (chosen, world.pinned, trail) {
                        (None, ..) => chosen = world.manifests.last().copied(),
                        (Some(number), None, _) => world.pinned = Some(number),
                        (Some(_), Some(_), None) => trail = Some(world.trail),
                        (Some(number), Some(_), Some(read)) if !relies => {
                            let newest = world.manifests.last().copied().unwrap_or(0);
                            let trail_read = read.map(|oldest| Trail { oldest, ..Trail::default() });
                            let is_there = world.manifests.contains(&number);
                            if is_there && is_safe(number, newest, trail_read, &[], 0) {
                                relies = true;
                            } else {
                                (chosen, world.pinned, trail) = (None, None, None);
                            }
                        }
                        _ => {
                            pins += 1;
                            (chosen, world.pinned, trail, relies) = (None, None, None, false);
                        }
                    }
                }
                if relies {
                    let number = chosen.expect("it has chosen");
                    prop_assert!(world.manifests.contains(&number), "{number} of {world:?} after {pins} pins");
                }
            }
        }
    }
}
