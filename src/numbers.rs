//! Numbers that are not each other, each a type of its own. Stored and sent they are plain numbers.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$what:meta])* $name:ident) => {
        $(#[$what])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<$name, Self::Err> {
                text.parse().map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// A step of the dataflow: timely's time, and nothing else. Live it is close to the milliseconds of the clock at which it began; where the
    /// past is read anew it is counted. What time it was is carried beside it, as `at_ms`.
    Epoch
}

number! {
    /// Which start of an engine on a lake: one more with each.
    Generation
}

number! {
    /// A place in a partition of a source. Where reading goes on, it is that of the record after the last that is in.
    Offset
}

impl Epoch {
    /// Before the first: nothing is in.
    pub const NONE: Epoch = Epoch(0);
    /// After the last: where it is open, all are closed.
    pub const END: Epoch = Epoch(u64::MAX);

    /// The first that may follow.
    #[must_use]
    pub fn next(self) -> Epoch {
        assert!(self < Epoch::END, "no epoch follows the end");
        Epoch(self.0 + 1)
    }
}

impl Generation {
    /// That of the next start.
    #[must_use]
    pub fn next(self) -> Generation {
        Generation(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever was stored as a number is read as one.
    #[test]
    fn stored_they_are_plain_numbers() {
        let all = (Epoch(1_796_000_000_000), Generation(7), Offset(u64::MAX));
        let text = serde_json::to_string(&all).expect("plain data");
        assert_eq!(text, "[1796000000000,7,18446744073709551615]");
        assert_eq!(serde_json::from_str::<(Epoch, Generation, Offset)>(&text).expect("it is whole"), all);
        assert_eq!((Epoch(7).to_string(), format!("g{:06}", Generation(7))), ("7".to_owned(), "g000007".to_owned()));
        assert_eq!((Epoch(7).next(), Generation(7).next()), (Epoch(8), Generation(8)));
    }
}
