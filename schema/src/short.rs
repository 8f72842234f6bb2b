//! Short texts as integers: compared and hashed without a loop.

const WORD: usize = 8;

/// A text of 1 to 16 bytes. Two of them are equal only where their texts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// The first and the last eight bytes, little-endian; for a text shorter than that, all of it, twice.
    pub first: u64,
    last: u64,
    length: u64,
}

impl Short {
    /// What no text is.
    pub const NONE: Short = Short { first: 0, last: 0, length: 0 };
    const LONGEST: usize = 2 * WORD;

    #[inline]
    pub const fn of(text: &[u8]) -> Option<Short> {
        let length = text.len();
        if length > Short::LONGEST {
            return None;
        }
        if let (Some(head), Some(tail)) = (text.first_chunk(), text.last_chunk()) {
            let (first, last) = (u64::from_le_bytes(*head), u64::from_le_bytes(*tail));
            return Some(Short { first, last, length: length as u64 });
        }
        let whole = if let (Some(head), Some(tail)) = (text.first_chunk(), text.last_chunk()) {
            // The two halves overlap; where they do, they agree.
            let (head, tail) = (u32::from_le_bytes(*head), u32::from_le_bytes(*tail));
            head as u64 | (tail as u64) << (8 * (length - WORD / 2))
        } else if let [first, .., last] = *text {
            first as u64 | (text[length / 2] as u64) << 8 | (last as u64) << 16
        } else if let [only] = *text {
            only as u64
        } else {
            return None;
        };
        Some(Short { first: whole, last: whole, length: length as u64 })
    }

    /// Spread over all 64 bits.
    #[inline]
    pub const fn hash(self) -> u64 {
        let product = (self.first ^ 0x9e37_79b9_7f4a_7c15) as u128 * (self.last ^ 0xd134_2543_de82_ef95) as u128;
        product as u64 ^ (product >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_the_length_count() {
        assert_eq!(Short::of(b""), None);
        assert_eq!(Short::of(&[b'a'; 17]), None);
        for length in 1..=16 {
            let text = vec![0; length];
            let short = Short::of(&text).expect("the text is short");
            assert_ne!(Some(short), Short::of(&text[1..]));
            for place in 0..length {
                let mut other = text.clone();
                other[place] = 1;
                assert_ne!(Some(short), Short::of(&other), "{length} {place}");
            }
        }
    }
}
