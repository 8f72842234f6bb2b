//! Ids, hashed once on decode.
//!
//! The hash is XXH3 with seed 0: 128 bits for ids whose text never enters the dataflow (events, sessions,
//! users, orders), its low 64 bits for names whose text outputs show (products, categories, referrers, …).
//! Names are short enough to collide in a large shop, so every one goes through [`crate::Names`], which compares texts.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// The 128-bit hash of an opaque, case-sensitive id. [`Id::NONE`] stands for an absent one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id {
    pub high: u64,
    pub low: u64,
}

impl Id {
    /// An absent id. No text is expected to hash to it (probability 2⁻¹²⁸).
    pub const NONE: Id = Id { high: 0, low: 0 };

    /// The id of a text; the empty text is absent.
    pub fn of(text: &str) -> Id {
        if text.is_empty() {
            return Id::NONE;
        }
        let hash = xxh3_128(text.as_bytes());
        Id { high: (hash >> 64) as u64, low: hash as u64 }
    }

    pub fn is_none(self) -> bool {
        self == Id::NONE
    }
}

/// The 64-bit hash of a name whose text outputs show. [`Name::NONE`] stands for an absent one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name(pub u64);

impl Name {
    pub const NONE: Name = Name(0);

    /// The key of a text; the empty text is absent.
    pub fn of(text: &str) -> Name {
        if text.is_empty() {
            return Name::NONE;
        }
        Name(xxh3_64(text.as_bytes()).max(1))
    }

    /// The key of a user's text, which the dataflow has as an id: half of it. The text is in the dictionary under this key.
    pub fn of_user(id: Id) -> Name {
        if id.is_none() {
            return Name::NONE;
        }
        Name(id.low.max(1))
    }

    pub fn is_none(self) -> bool {
        self == Name::NONE
    }
}
