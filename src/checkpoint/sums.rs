//! What all forgotten sessions add to, as a file: three maps in order of their keys. They may be larger than all that is
//! remembered, so they are read, and added to, an entry at a time.

use anyhow::Context;
use bytes::Bytes;
use millrace_dataflows::durable::{Base, OpenWarning, PairCount, Settled};
use millrace_dataflows::operators::pairs::RelatedKind;
use millrace_schema::Name;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// More than the longest entry has.
const ENTRY_BYTES_MOST: usize = 256;

type Pair = (RelatedKind, Name, Name);

/// The bytes of the file, none where nothing has been forgotten.
#[derive(Debug, Default)]
pub struct Sums(pub Bytes);

impl Sums {
    /// Hands over what there is.
    ///
    /// # Errors
    /// Where the bytes are no sums.
    pub fn read(
        &self,
        mut pairs: impl FnMut(PairCount),
        mut settled: impl FnMut((Settled, u32)),
        mut warnings: impl FnMut((OpenWarning, i64)),
    ) -> anyhow::Result<()> {
        let rest = &mut &self.0[..];
        entries(rest, |(kind, a, b): Pair, count| pairs(PairCount { kind, a, b, count }))?;
        entries(rest, |contribution, count| settled((contribution, count)))?;
        entries(rest, |warning, count| warnings((warning, count)))
    }

    /// Writes the file with more added.
    ///
    /// # Errors
    /// As [`Sums::read`], and where it cannot be written.
    pub fn write_with(&self, added: Base, out: &mut impl Write) -> anyhow::Result<()> {
        let rest = &mut &self.0[..];
        let mut out = Entries { out, written: Ok(()) };
        add::<_, u32>(rest, added.pairs, &mut out)?;
        add::<_, u32>(rest, added.settled, &mut out)?;
        add::<_, i64>(rest, added.warnings, &mut out)?;
        Ok(out.written?)
    }
}

/// Hands over the entries of the map that the bytes begin with, and leaves what comes after it.
fn entries<K: DeserializeOwned, V: DeserializeOwned>(
    bytes: &mut &[u8],
    mut each: impl FnMut(K, V),
) -> anyhow::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut take = || -> postcard::Result<()> {
        let (count, mut rest) = postcard::take_from_bytes::<u64>(bytes)?;
        for _ in 0..count {
            let ((key, value), after) = postcard::take_from_bytes(rest)?;
            each(key, value);
            rest = after;
        }
        *bytes = rest;
        Ok(())
    };
    take().context("these are no sums of what is forgotten")
}

/// Merges the map that the bytes begin with and another. What comes to nothing is left out.
fn add<K, V>(bytes: &mut &[u8], added: BTreeMap<K, i64>, out: &mut Entries<'_, impl Write>) -> anyhow::Result<()>
where
    K: Ord + Serialize + DeserializeOwned,
    V: Copy + Into<i64> + TryFrom<i64> + Serialize + DeserializeOwned,
{
    let (mut gone, mut again, mut new) = (0, *bytes, added.values().filter(|value| **value != 0).count() as u64);
    let mut before = 0;
    entries(bytes, |key: K, value: V| {
        before += 1;
        let more = added.get(&key).copied().unwrap_or(0);
        new -= u64::from(more != 0);
        gone += u64::from(value.into() + more == 0);
    })?;
    out.put(&(before + new - gone));
    let (mut added, mut is_less) = (added.into_iter().peekable(), false);
    let mut put_sum = |key: K, value: i64| match V::try_from(value) {
        _ if value == 0 => {}
        Ok(value) => out.put(&(key, value)),
        Err(_) => is_less = true,
    };
    entries(&mut again, |key: K, value: V| {
        while let Some((key, value)) = added.next_if(|(smaller, _)| *smaller < key) {
            put_sum(key, value);
        }
        let more = added.next_if(|(same, _)| *same == key).map_or(0, |(_, more)| more);
        put_sum(key, value.into() + more);
    })?;
    added.for_each(|(key, value)| put_sum(key, value));
    anyhow::ensure!(!is_less, "more is to be taken back of these sums than there is");
    Ok(())
}

/// Entries on their way into a file. After one that could not be written, there are no more.
struct Entries<'a, W> {
    out: &'a mut W,
    written: io::Result<()>,
}

impl<W: Write> Entries<'_, W> {
    fn put(&mut self, value: &impl Serialize) {
        if self.written.is_ok() {
            let mut room = [0; ENTRY_BYTES_MOST];
            let bytes = postcard::to_slice(value, &mut room).expect("an entry is no longer than the longest");
            self.written = self.out.write_all(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_dataflows::durable::Unknown;
    use proptest::prelude::*;

    fn base() -> impl Strategy<Value = Base> {
        let pairs = prop::collection::btree_map((0..2_usize, 0..9_u64, 0..u64::MAX), 1..9_i64, 0..20);
        let pairs = pairs.prop_map(|pairs| {
            let named = |((kind, a, b), count)| ((RelatedKind::ALL[kind], Name(a), Name(b)), count);
            pairs.into_iter().map(named).collect()
        });
        let settled = |(day, product, bucket): (i32, u64, Option<u16>)| Settled {
            day,
            first_product: Name(product),
            referrer: Name(u64::MAX),
            device: Name(product),
            reached: 255,
            ordered: 1,
            cart: true,
            sold: false,
            capped: true,
            duration_bucket: bucket,
        };
        let contributions = prop::collection::btree_map(
            (-3..3_i32, 0..4_u64, prop::option::of(0..3_u16)).prop_map(settled),
            1..9_i64,
            0..20,
        );
        let warning =
            |(product, hour): (u64, i64)| OpenWarning { about: Unknown::Product(Name(product)), hour, partition: 3 };
        let warnings = prop::collection::btree_map((0..4_u64, 0..3_i64).prop_map(warning), -4..4_i64, 0..9);
        (pairs, contributions, warnings).prop_map(|(pairs, settled, warnings)| Base { pairs, settled, warnings })
    }

    proptest! {
        #[test]
        fn what_is_added_is_there(all in prop::collection::vec(base(), 0..5)) {
            let (mut sums, mut expected) = (Sums::default(), Base::default());
            for base in all {
                let mut more = Vec::new();
                sums.write_with(base.clone(), &mut more).expect("sums read back");
                sums = Sums(more.into());
                base.pairs.into_iter().for_each(|(key, count)| *expected.pairs.entry(key).or_default() += count);
                base.settled.into_iter().for_each(|(key, count)| *expected.settled.entry(key).or_default() += count);
                base.warnings.into_iter().for_each(|(key, count)| *expected.warnings.entry(key).or_default() += count);
                let mut found = (Vec::new(), Vec::new(), Vec::new());
                sums.read(|pair| found.0.push(pair), |settled| found.1.push(settled), |open| found.2.push(open)).expect("sums read back");
                let pairs = |pair: &PairCount| ((pair.kind, pair.a, pair.b), i64::from(pair.count));
                expected.warnings.retain(|_, count| *count != 0);
                prop_assert_eq!(found.0.iter().map(pairs).collect::<BTreeMap<_, _>>(), expected.pairs.clone());
                let settled = found.1.into_iter().map(|(settled, count)| (settled, i64::from(count)));
                prop_assert_eq!(settled.collect::<BTreeMap<_, _>>(), expected.settled.clone());
                prop_assert_eq!(found.2, expected.warnings.clone().into_iter().collect::<Vec<_>>());
            }
        }

        #[test]
        fn other_bytes_are_an_error_or_sums(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Sums(bytes.into()).read(|_| {}, |_| {}, |_| {});
        }
    }
}
