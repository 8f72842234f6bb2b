//! A sorted table of integer rows whose versions share memory: a reader keeps a version as long as it likes, and the
//! writer never waits for it.
//!
//! ```text
//! blocks:  [first key, ●] [first key, ●] …            a version is this list
//!                      └─▶ [first key, ●] …           a block of leaves
//!                                      └─▶ k k s s │ k k s s │ …   a leaf: parts and sums of some rows, side by side
//! ```
//! Applying changes makes new leaves where something changes, new blocks above them, and a new list. Leaves in which nothing has
//! changed for long are packed, some at each time: most rows are of the past and rest.

use crate::packed::{Columns, Packed};
use crate::rows::{Key, Measures, Sums};
use differential_dataflow::difference::Abelian;
use rustc_hash::FxHashSet;
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

pub type Parts = [u64; 5];

/// A leaf holds up to this many words, or two rows.
const LEAF_WORDS: usize = 512;
const BLOCK_LEAVES: usize = 64;

/// A leaf is cold where none of so many changes to its sheet was to it: this many at least, and a share of the rows.
const COLD_LEAST: u64 = 4096;
const COLD_SHARE: u64 = 8;
/// How many blocks and leaves are looked at, and leaves packed, besides one for so many changes.
const LOOK_AT: usize = 2;
const PACK_AT_ONCE: usize = 16;
const CHANGES_A_PACKED: usize = 16;

type Block = Arc<Vec<(Parts, Leaf)>>;

/// Cheap to clone.
#[derive(Clone, Debug)]
struct Leaf {
    rows: LeafRows,
    /// How many changes the sheet had had when this one was changed last.
    changed_at: u64,
}

#[derive(Clone, Debug)]
enum LeafRows {
    Loose(Arc<[i64]>),
    Packed(Packed),
}

impl Leaf {
    fn address(&self) -> *const u8 {
        match &self.rows {
            LeafRows::Loose(rows) => rows.as_ptr().cast(),
            LeafRows::Packed(rows) => rows.as_ptr(),
        }
    }

    fn bytes(&self) -> usize {
        match &self.rows {
            LeafRows::Loose(rows) => size_of_val(&**rows),
            LeafRows::Packed(rows) => rows.bytes(),
        }
    }

    fn rows(&self, stride: usize) -> usize {
        match &self.rows {
            LeafRows::Loose(rows) => rows.len() / stride,
            LeafRows::Packed(rows) => rows.rows(),
        }
    }

    /// The rows side by side, in `room` where they are packed.
    fn loose<'a>(&'a self, stride: usize, room: &'a mut Vec<i64>) -> &'a [i64] {
        match &self.rows {
            LeafRows::Loose(rows) => rows,
            LeafRows::Packed(rows) => {
                room.clear();
                rows.unpack(stride, room);
                room
            }
        }
    }

    fn is_loose(&self) -> bool {
        matches!(self.rows, LeafRows::Loose(_))
    }

    fn packed(&self, stride: usize) -> Leaf {
        match &self.rows {
            LeafRows::Loose(rows) => Leaf { rows: LeafRows::Packed(Packed::of(rows, stride)), ..*self },
            LeafRows::Packed(_) => self.clone(),
        }
    }
}

/// One version. Cheap to clone: a word for each some thousand rows.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// How many parts of a key are used.
    parts: usize,
    /// The most measures that a row has had.
    width: usize,
    rows: usize,
    blocks: Vec<(Parts, Block)>,
    /// How many changes it has had.
    changes: u64,
    /// The block that is looked at next for leaves to pack.
    next_looked_at: usize,
    cold_least: u64,
}

/// Where the blocks and leaves of a version lie.
struct Pointers {
    blocks: FxHashSet<*const Vec<(Parts, Leaf)>>,
    leaves: FxHashSet<*const u8>,
}

/// Changes in order of their keys, each key once and all of one table.
type Changes<'a> = &'a [(&'a Key, &'a [i64])];

impl Sheet {
    pub fn new(parts: usize) -> Sheet {
        Sheet { parts, width: 0, rows: 0, blocks: Vec::new(), changes: 0, next_looked_at: 0, cold_least: COLD_LEAST }
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    /// Bytes of the leaves.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().flat_map(|(_, block)| block.iter()).map(|(_, leaf)| leaf.bytes()).sum()
    }

    fn stride(&self) -> usize {
        self.parts + self.width
    }

    fn rows_a_leaf(&self) -> usize {
        (LEAF_WORDS / self.stride().max(1)).max(2)
    }

    #[inline]
    fn compare(&self, row: &[i64], key: &Parts) -> Ordering {
        // Most rows differ from a key in the first or second part.
        for (&part, wanted) in row[..self.parts].iter().zip(key) {
            match (part as u64).cmp(wanted) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        Ordering::Equal
    }

    fn key_of(&self, row: &[i64]) -> Parts {
        let mut key = [0; 5];
        key.iter_mut().zip(&row[..self.parts]).for_each(|(key, &part)| *key = part as u64);
        key
    }

    pub fn get(&self, key: &Parts) -> Option<Measures> {
        match &self.leaf_of(key)?.rows {
            LeafRows::Loose(leaf) => {
                let row = self.lower_bound(leaf, key);
                let row = leaf.get(row * self.stride()..(row + 1) * self.stride())?;
                (self.compare(row, key) == Ordering::Equal).then(|| Sums::new(&row[self.parts..]).to_measures())
            }
            LeafRows::Packed(leaf) => self.get_packed(&leaf.columns(self.stride()), key),
        }
    }

    fn get_packed(&self, leaf: &Columns<'_>, key: &Parts) -> Option<Measures> {
        let compare = |row: usize| {
            let parts = (0..self.parts).map(|part| leaf.value(part, row) as u64);
            parts.cmp(key[..self.parts].iter().copied())
        };
        let (mut low, mut high) = (0, leaf.rows());
        while low < high {
            let middle = (low + high) / 2;
            match compare(middle) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => {
                    let sums: SmallVec<[i64; 24]> =
                        (self.parts..self.stride()).map(|measure| leaf.value(measure, middle)).collect();
                    return Some(Sums::new(&sums).to_measures());
                }
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The leaf that holds a key, if any does.
    fn leaf_of(&self, key: &Parts) -> Option<&Leaf> {
        let (_, block) = self.blocks.get(last_at_or_before(&self.blocks, key))?;
        block.get(last_at_or_before(block, key)).map(|(_, leaf)| leaf)
    }

    /// The first row of a leaf that is not before a key.
    fn lower_bound(&self, leaf: &[i64], key: &Parts) -> usize {
        let stride = self.stride();
        let (mut low, mut high) = (0, leaf.len() / stride);
        while low < high {
            let middle = (low + high) / 2;
            match self.compare(&leaf[middle * stride..], key) {
                Ordering::Less => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// Rows from one key to another, both included, in order.
    pub fn scan(&self, low: &Parts, high: &Parts, each: &mut dyn FnMut(&Parts, Sums<'_>)) {
        let blocks = self.blocks.iter().skip(last_at_or_before(&self.blocks, low));
        let (mut first, mut room) = (true, Vec::new());
        for (_, block) in blocks {
            let skip = if std::mem::take(&mut first) { last_at_or_before(block, low) } else { 0 };
            for (start, leaf) in &block[skip..] {
                if start > high {
                    return;
                }
                let leaf = leaf.loose(self.stride(), &mut room);
                for row in leaf[self.lower_bound(leaf, low) * self.stride()..].chunks_exact(self.stride()) {
                    let key = self.key_of(row);
                    if key > *high {
                        return;
                    }
                    each(&key, Sums::new(&row[self.parts..]));
                }
            }
        }
    }

    /// What was added to an earlier version of this sheet, by key. What both share is not looked at.
    pub fn difference(&self, earlier: &Sheet, each: &mut dyn FnMut(&Parts, &Measures)) {
        let (pointers_before, pointers) = (earlier.pointers(), self.pointers());
        let (mut before, mut now) = (earlier.rows_outside(&pointers), self.rows_outside(&pointers_before));
        let mut added = |key: &Parts, mut measures: Measures, less: Option<Sums<'_>>| {
            if let Some(less) = less {
                measures.add_slice(&negated(less).0);
            }
            let measures = measures.sums().to_measures();
            if !measures.0.is_empty() {
                each(key, &measures);
            }
        };
        loop {
            let order = match (before.peek(), now.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((gone, _)), Some((key, _))) => gone.cmp(&key),
            };
            let gone = if order.is_le() { before.peek() } else { None };
            match if order.is_ge() { now.peek() } else { None } {
                Some((key, sums)) if gone.is_none_or(|(_, gone)| !gone.same(sums)) => {
                    added(&key, sums.to_measures(), gone.map(|(_, sums)| sums));
                }
                Some(_) => {}
                None => gone.into_iter().for_each(|(key, sums)| added(&key, Measures::default(), Some(sums))),
            }
            if order.is_le() {
                before.advance();
            }
            if order.is_ge() {
                now.advance();
            }
        }
    }

    fn pointers(&self) -> Pointers {
        let leaves = self.blocks.iter().flat_map(|(_, block)| block.iter().map(|(_, leaf)| leaf.address()));
        Pointers { blocks: self.blocks.iter().map(|(_, block)| Arc::as_ptr(block)).collect(), leaves: leaves.collect() }
    }

    /// The rows that are in none of these, in order.
    fn rows_outside<'a>(&'a self, shared: &'a Pointers) -> Rows<'a, impl Iterator<Item = &'a Leaf>> {
        let outside = self.blocks.iter().filter(|(_, block)| !shared.blocks.contains(&Arc::as_ptr(block)));
        let leaves = outside.flat_map(|(_, block)| block.iter().map(|(_, leaf)| leaf));
        let leaves = leaves.filter(|leaf| !shared.leaves.contains(&leaf.address()));
        let mut rows = Rows { sheet: self, leaves, leaf: Vec::new(), at: 0 };
        rows.fill();
        rows
    }

    /// The rows of all leaves that a scan touches, as if they were full; of all leaves of the blocks between.
    pub fn rows_at_most(&self, low: &Parts, high: &Parts) -> usize {
        let (first, last) = (last_at_or_before(&self.blocks, low), last_at_or_before(&self.blocks, high));
        let leaf_in = |block: usize, key: &Parts| self.blocks.get(block).map_or(0, |(_, b)| last_at_or_before(b, key));
        let (from, to) = (leaf_in(first, low), leaf_in(last, high));
        let between: usize = self.blocks.iter().take(last).skip(first).map(|(_, block)| block.len()).sum();
        let leaves = (between + to + 1).saturating_sub(from);
        (leaves * self.rows_a_leaf()).min(self.rows)
    }

    /// Takes rows, in order of their keys and each once, into a sheet that has none.
    pub fn build<'a>(&mut self, rows: impl Iterator<Item = (&'a Key, &'a [i64])>) {
        debug_assert!(self.rows == 0, "the sheet is empty");
        let mut writer = Writer::new(self, 0, 0);
        let mut rows = rows.peekable();
        let Some((_, first)) = rows.peek() else { return };
        writer.sheet.width = writer.sheet.width.max(first.len());
        for (key, sums) in rows {
            debug_assert!(sums.len() <= writer.sheet.width, "all sums are of one width");
            let (parts, stride) = (writer.sheet.parts, writer.sheet.stride());
            let start = writer.rows.len();
            writer.rows.extend(key.parts[..parts].iter().map(|&part| part as i64));
            writer.rows.extend_from_slice(sums);
            writer.rows.resize(start + stride, 0);
            writer.sheet.rows += 1;
            if writer.rows.len() / stride == writer.sheet.rows_a_leaf() {
                writer.end_leaf();
                writer.end_block(false);
            }
        }
        writer.end_leaf();
        writer.end_block(true);
        self.blocks = writer.blocks;
    }

    /// The changes since which a leaf has to be unchanged to be packed, counted from the first.
    fn cold_before(&self) -> u64 {
        self.changes.saturating_sub((self.rows as u64 / COLD_SHARE).max(self.cold_least))
    }

    /// Adds changes to the rows. A row whose sums all become 0 is gone.
    pub fn apply(&mut self, changes: Changes<'_>) {
        debug_assert!(
            changes.windows(2).all(|pair| pair[0].0.parts < pair[1].0.parts),
            "changes are in order, each key once"
        );
        let width = changes.iter().map(|(_, sums)| sums.len()).max().unwrap_or(0);
        if width > self.width {
            self.widen(width);
        }
        self.changes += changes.len() as u64;
        let old = std::mem::take(&mut self.blocks);
        let looked_at = self.next_looked_at..self.next_looked_at + LOOK_AT + changes.len() / CHANGES_A_PACKED;
        self.next_looked_at = if looked_at.end < old.len() { looked_at.end } else { 0 };
        let mut writer = Writer::new(self, old.len() + 1, PACK_AT_ONCE + changes.len() / CHANGES_A_PACKED);
        let mut room = Vec::new();
        if old.is_empty() {
            writer.merge(&[], changes);
            writer.end_leaf();
            writer.end_block(true);
        }
        for (index, (start, block)) in old.iter().enumerate() {
            let changes = belonging(changes, &old, index);
            if changes.is_empty() {
                writer.keep_block(*start, block, looked_at.contains(&index));
                continue;
            }
            for (index, (start, leaf)) in block.iter().enumerate() {
                let changes = belonging(changes, block, index);
                if changes.is_empty() {
                    writer.keep_leaf(*start, leaf);
                } else {
                    writer.merge(leaf.loose(writer.sheet.stride(), &mut room), changes);
                    writer.end_leaf();
                }
            }
            writer.end_block(false);
        }
        writer.end_block(true);
        self.blocks = writer.blocks;
    }

    /// Makes room for more measures.
    #[cold]
    fn widen(&mut self, width: usize) {
        let (old, new) = (self.stride(), self.parts + width);
        let mut room = Vec::new();
        for (_, block) in &mut self.blocks {
            for (_, leaf) in Arc::make_mut(block) {
                let narrow = leaf.loose(old, &mut room);
                let mut rows = Vec::with_capacity(narrow.len() / old * new);
                for row in narrow.chunks_exact(old) {
                    rows.extend_from_slice(row);
                    rows.resize(rows.len() + new - old, 0);
                }
                leaf.rows = LeafRows::Loose(rows.into());
            }
        }
        self.width = width;
    }
}

fn negated(sums: Sums<'_>) -> Measures {
    let mut measures = sums.to_measures();
    measures.negate();
    measures
}

/// The last of the entries that begin at or before a key; the first where none does.
fn last_at_or_before<T>(entries: &[(Parts, T)], key: &Parts) -> usize {
    // By hand: the derived comparison of five parts is a call.
    let at_or_before = |start: &Parts| {
        let differ = start.iter().zip(key).find(|(a, b)| a != b);
        differ.is_none_or(|(start, key)| start < key)
    };
    entries.partition_point(|(start, _)| at_or_before(start)).saturating_sub(1)
}

/// The changes that belong to one of several neighbours: the first also takes what comes before it.
fn belonging<'a, T>(changes: Changes<'a>, entries: &[(Parts, T)], index: usize) -> Changes<'a> {
    let before = |entry: usize| match entries.get(entry) {
        None => changes.len(),
        Some(_) if entry == 0 => 0,
        Some((start, _)) => changes.partition_point(|(key, _)| key.parts < *start),
    };
    let Range { start, end } = before(index)..before(index + 1);
    &changes[start..end]
}

/// Rows of some leaves of a sheet, one after the other.
struct Rows<'a, I> {
    sheet: &'a Sheet,
    leaves: I,
    /// The rows of the leaf at hand, and the first of them that is left.
    leaf: Vec<i64>,
    at: usize,
}

impl<'a, I: Iterator<Item = &'a Leaf>> Rows<'a, I> {
    fn peek(&self) -> Option<(Parts, Sums<'_>)> {
        let row = self.leaf.get(self.at..self.at + self.sheet.stride()).filter(|row| !row.is_empty())?;
        Some((self.sheet.key_of(row), Sums::new(&row[self.sheet.parts..])))
    }

    fn advance(&mut self) {
        self.at += self.sheet.stride();
        if self.at == self.leaf.len() {
            self.fill();
        }
    }

    fn fill(&mut self) {
        let Rows { sheet, leaves, leaf, at } = self;
        leaf.clear();
        *at = 0;
        match leaves.next().map(|leaf| &leaf.rows) {
            Some(LeafRows::Loose(rows)) => leaf.extend_from_slice(rows),
            Some(LeafRows::Packed(rows)) => rows.unpack(sheet.stride(), leaf),
            None => {}
        }
    }
}

/// Puts a new version together, from left to right.
struct Writer<'a> {
    sheet: &'a mut Sheet,
    blocks: Vec<(Parts, Block)>,
    /// Of the leaf, and the leaves of the block, at work.
    rows: Vec<i64>,
    leaves: Vec<(Parts, Leaf)>,
    /// So many leaves may be packed yet: those that have not changed since.
    packs_left: usize,
    cold_before: u64,
}

impl<'a> Writer<'a> {
    fn new(sheet: &'a mut Sheet, blocks: usize, packs_left: usize) -> Writer<'a> {
        let cold_before = sheet.cold_before();
        let blocks = Vec::with_capacity(blocks);
        Writer { sheet, blocks, rows: Vec::new(), leaves: Vec::new(), packs_left, cold_before }
    }

    fn is_cold(&self, leaf: &Leaf) -> bool {
        leaf.changed_at < self.cold_before && leaf.is_loose()
    }

    /// The rows of a leaf with changes added.
    fn merge(&mut self, leaf: &[i64], changes: Changes<'_>) {
        let Writer { sheet, rows, .. } = self;
        let (parts, stride) = (sheet.parts, sheet.stride());
        let mut old = leaf.chunks_exact(stride).peekable();
        for (key, added) in changes {
            let key = &key.parts;
            while let Some(row) = old.next_if(|row| sheet.compare(row, key) == Ordering::Less) {
                rows.extend_from_slice(row);
            }
            let start = rows.len();
            match old.next_if(|row| sheet.compare(row, key) == Ordering::Equal) {
                Some(row) => rows.extend_from_slice(row),
                None => {
                    rows.extend(key[..parts].iter().map(|&part| part as i64));
                    rows.resize(start + stride, 0);
                    sheet.rows += 1;
                }
            }
            let sums = &mut rows[start + parts..];
            sums.iter_mut().zip(*added).for_each(|(sum, value)| *sum = sum.wrapping_add(*value));
            if sums.iter().all(|&sum| sum == 0) {
                rows.truncate(start);
                sheet.rows -= 1;
            }
        }
        old.for_each(|row| rows.extend_from_slice(row));
    }

    /// Cuts the rows at work into leaves of like size. What is little joins the leaf before.
    fn end_leaf(&mut self) {
        let (stride, most) = (self.sheet.stride(), self.sheet.rows_a_leaf());
        let mut count = self.rows.len() / stride;
        if count == 0 {
            return;
        }
        if let Some((_, last)) = self.leaves.last()
            && last.rows(stride) + count <= most / 2
        {
            let joined = [last.loose(stride, &mut Vec::new()), &self.rows[..]].concat();
            self.rows = joined;
            self.leaves.pop();
            count = self.rows.len() / stride;
        }
        let leaves = count.div_ceil(most);
        for rows in self.rows.chunks(count.div_ceil(leaves) * stride) {
            let leaf = Leaf { rows: LeafRows::Loose(rows.into()), changed_at: self.sheet.changes };
            self.leaves.push((self.sheet.key_of(rows), leaf));
        }
        self.rows.clear();
    }

    fn keep_leaf(&mut self, start: Parts, leaf: &Leaf) {
        let leaf = if self.packs_left > 0 && self.is_cold(leaf) {
            self.packs_left -= 1;
            leaf.packed(self.sheet.stride())
        } else {
            leaf.clone()
        };
        self.leaves.push((start, leaf));
    }

    fn keep_block(&mut self, start: Parts, block: &Block, is_looked_at: bool) {
        self.end_block(true);
        if is_looked_at && self.packs_left > 0 && block.iter().any(|(_, leaf)| self.is_cold(leaf)) {
            block.iter().for_each(|(start, leaf)| self.keep_leaf(*start, leaf));
            self.end_block(true);
        } else {
            self.blocks.push((start, block.clone()));
        }
    }

    /// Cuts the leaves at work into blocks; few of them wait for the next block's, unless this is the last.
    fn end_block(&mut self, last: bool) {
        let count = self.leaves.len();
        if count == 0 || !last && count < BLOCK_LEAVES / 2 {
            return;
        }
        let blocks = count.div_ceil(BLOCK_LEAVES);
        for leaves in self.leaves.chunks(count.div_ceil(blocks)) {
            self.blocks.push((leaves[0].0, Arc::new(leaves.to_vec())));
        }
        self.leaves.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<Parts, Vec<i64>>;

    fn rows(sheet: &Sheet, low: Parts, high: Parts) -> Vec<(Parts, Measures)> {
        let mut rows = Vec::new();
        sheet.scan(&low, &high, &mut |key, sums| rows.push((*key, sums.to_measures())));
        rows
    }

    fn expected(model: &Model, low: Parts, high: Parts) -> Vec<(Parts, Measures)> {
        let trimmed = |sums: &Vec<i64>| Sums::new(sums).to_measures();
        model.range(low..=high).map(|(key, sums)| (*key, trimmed(sums))).collect()
    }

    proptest! {
        /// Every version stays what it was, whatever is applied later.
        #[test]
        fn versions_are_those_of_a_map(
            batches in prop::collection::vec(
                prop::collection::vec(([0_u64..3, 0_u64..4, 0_u64..60], prop::collection::vec(-1_i64..2, 1..4)), 1..400),
                1..8,
            ),
            (low, high) in ([0_u64..3, 0_u64..4, 0_u64..60], [0_u64..3, 0_u64..4, 0_u64..60]),
            cold_least in prop::sample::select(vec![0, 300, COLD_LEAST]),
        ) {
            let (low, high) = ([low[0], low[1], low[2], 0, 0], [high[0], high[1], high[2], 0, 0]);
            let (mut sheet, mut model) = (Sheet { cold_least, ..Sheet::new(3) }, Model::new());
            let mut versions = vec![(sheet.clone(), model.clone())];
            for batch in batches {
                let mut net: BTreeMap<Parts, Measures> = BTreeMap::new();
                for ([a, b, c], values) in batch {
                    net.entry([a, b, c, 0, 0]).or_default().add_slice(&values);
                }
                for (key, measures) in &net {
                    let sums = model.entry(*key).or_default();
                    if sums.len() < measures.0.len() {
                        sums.resize(measures.0.len(), 0);
                    }
                    sums.iter_mut().zip(&measures.0).for_each(|(sum, value)| *sum = sum.wrapping_add(*value));
                }
                model.retain(|_, sums| sums.iter().any(|&sum| sum != 0));
                let keys: Vec<Key> = net.keys().map(|parts| Key { table: 0, parts: *parts }).collect();
                let sums = net.values().map(|measures| &measures.0[..]);
                sheet.apply(&keys.iter().zip(sums).collect::<Vec<_>>());
                versions.push((sheet.clone(), model.clone()));
            }
            for (earlier, before) in &versions {
                let mut sums: BTreeMap<Parts, Measures> = BTreeMap::new();
                earlier.scan(&[0; 5], &[u64::MAX; 5], &mut |key, row| sums.entry(*key).or_default().add_sums(row));
                sheet.difference(earlier, &mut |key, added| sums.entry(*key).or_default().add_slice(&added.0));
                sums.retain(|_, row| row.0.iter().any(|&sum| sum != 0));
                let sums: Vec<_> = sums.iter().map(|(key, row)| (*key, Sums::new(&row.0).to_measures())).collect();
                prop_assert_eq!(sums, expected(&model, [0; 5], [u64::MAX; 5]), "from {} groups", before.len());
            }
            for (sheet, model) in &versions {
                prop_assert_eq!(rows(sheet, [0; 5], [u64::MAX; 5]), expected(model, [0; 5], [u64::MAX; 5]));
                if low <= high {
                    let found = rows(sheet, low, high);
                    prop_assert!(sheet.rows_at_most(&low, &high) >= found.len());
                    prop_assert_eq!(found, expected(model, low, high));
                }
                prop_assert_eq!(sheet.len(), model.len());
                for key in [low, high] {
                    prop_assert_eq!(sheet.get(&key), model.get(&key).map(|sums| Sums::new(sums).to_measures()));
                }
            }
        }
    }
}
