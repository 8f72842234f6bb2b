//! Where the quotes of a line are, 64 bytes at a time, and what else is in it.

/// Bytes per mask.
pub const BLOCK: usize = 64;

/// What a line holds besides quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// A backslash or a byte below 0x20.
    pub odd: bool,
    /// A byte from 0x80 on.
    pub non_ascii: bool,
}

/// Sets bit `i % 64` of `masks[i / 64]` where `line[i]` is a quote. `masks` must have a word for every block.
#[inline]
pub fn find(line: &[u8], masks: &mut [u64]) -> Seen {
    assert!(masks.len() >= line.len().div_ceil(BLOCK), "a mask for every block");
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2.
        return unsafe { find_avx2(line, masks) };
    }
    find_portable(line, masks)
}

/// Sets the masks block by block. The last, short block is read as the end of the line's last 64 bytes, or, in a
/// line without so many, filled up with spaces.
#[inline(always)]
fn each_block(line: &[u8], masks: &mut [u64], mut mask_of: impl FnMut(&[u8; BLOCK]) -> u64) {
    let (blocks, tail) = line.as_chunks::<BLOCK>();
    for (block, mask) in blocks.iter().zip(masks.iter_mut()) {
        *mask = mask_of(block);
    }
    if tail.is_empty() {
        return;
    }
    masks[blocks.len()] = match line.last_chunk() {
        Some(last) => mask_of(last) >> (BLOCK - tail.len()),
        None => {
            let mut block = [b' '; BLOCK];
            block[..tail.len()].copy_from_slice(tail);
            mask_of(&block)
        }
    };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn find_avx2(line: &[u8], masks: &mut [u64]) -> Seen {
    use std::arch::x86_64::*;
    const HALF: usize = BLOCK / 2;
    let (quote, backslash, control) = (_mm256_set1_epi8(0x22), _mm256_set1_epi8(0x5c), _mm256_set1_epi8(0x1f));
    let (mut odd, mut all) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    let mut half = |block: &[u8; BLOCK], at: usize| {
        let bytes = block[at..].first_chunk::<HALF>().expect("a block has two halves");
        // SAFETY: an unaligned load of the 32 bytes that `bytes` borrows.
        let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
        let is_control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, control), bytes);
        odd = _mm256_or_si256(odd, _mm256_or_si256(is_control, _mm256_cmpeq_epi8(bytes, backslash)));
        all = _mm256_or_si256(all, bytes);
        u64::from(_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, quote)) as u32)
    };
    each_block(line, masks, |block| half(block, 0) | half(block, HALF) << HALF);
    Seen { odd: _mm256_movemask_epi8(odd) != 0, non_ascii: _mm256_movemask_epi8(all) != 0 }
}

/// Eight bytes in one integer; every comparison is exact and leaves its answer in the bytes' top bits.
fn find_portable(line: &[u8], masks: &mut [u64]) -> Seen {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x80 * ONES;
    let is_zero = |word: u64| !(((word & !TOPS) + !TOPS) | word) & TOPS;
    let (mut odd, mut all) = (0, 0);
    let block_mask = |block: &[u8; BLOCK]| {
        let mut mask = 0;
        for (at, &bytes) in block.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_le_bytes(bytes);
            odd |= is_zero(word ^ (0x5c * ONES)) | is_zero(word & (0xe0 * ONES));
            all |= word;
            // Gathers the eight top bits into the top byte.
            let gathered = (is_zero(word ^ (0x22 * ONES)) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            mask |= gathered << (8 * at);
        }
        mask
    };
    each_block(line, masks, block_mask);
    Seen { odd: odd != 0, non_ascii: all & TOPS != 0 }
}

/// The positions of the quotes, in order.
pub struct Quotes<'m> {
    /// Of the blocks to come.
    masks: std::slice::Iter<'m, u64>,
    /// Of the quotes to come in the block that begins at `base`.
    mask: u64,
    base: usize,
}

impl<'m> Quotes<'m> {
    #[inline]
    pub fn new(masks: &'m [u64]) -> Quotes<'m> {
        let mut masks = masks.iter();
        Quotes { mask: masks.next().copied().unwrap_or(0), base: 0, masks }
    }
}

impl Iterator for Quotes<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.mask == 0 {
            self.mask = *self.masks.next()?;
            self.base += BLOCK;
        }
        let at = self.base + self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[u8]) {
        let quotes: Vec<usize> = line.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(at, _)| at).collect();
        let odd = line.iter().any(|&byte| byte < 0x20 || byte == b'\\');
        let expected = Seen { odd, non_ascii: !line.is_ascii() };
        for find in [find, find_portable] {
            let mut masks = vec![0; line.len().div_ceil(BLOCK)];
            assert_eq!(find(line, &mut masks), expected, "{line:?}");
            assert_eq!(Quotes::new(&masks).collect::<Vec<_>>(), quotes, "{line:?}");
        }
    }

    #[test]
    fn every_byte_at_every_place() {
        check(b"");
        for length in [1, 7, 8, 31, 32, 63, 64, 65, 130] {
            for place in 0..length {
                for byte in 0..=255 {
                    let mut line = vec![b'a'; length];
                    line[place] = byte;
                    check(&line);
                    line[length - 1] = b'"';
                    check(&line);
                }
            }
        }
    }
}
