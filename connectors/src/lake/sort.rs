//! Rows of one session beside each other.

use super::event_schema::Text;
use super::gather::Pick;
use super::staged::{StagedEvents, Texts};

/// What a comparison begins with: as much of the session's id as fits, after what all ids have in common.
const HEAD: usize = 8;

/// Sorts rows by session id (bytes; those without one first), those of one session by their times.
pub(super) fn by_session(batches: &[StagedEvents], picks: &mut [Pick]) {
    let columns: Vec<&Texts> = batches.iter().map(|batch| &batch.texts[Text::SessionId as usize]).collect();
    let session = |pick: Pick| columns[pick.batch as usize].get(pick.row as usize);
    let skip = common(picks.iter().map(|pick| session(*pick)));
    let head = |text: &[u8]| {
        let mut head = [0; HEAD];
        let rest = text.get(skip..).unwrap_or_default();
        let length = rest.len().min(HEAD);
        head[..length].copy_from_slice(&rest[..length]);
        u64::from_be_bytes(head)
    };
    let mut order: Vec<(u64, Pick)> = picks.iter().map(|&pick| (head(session(pick)), pick)).collect();
    let time = |pick: Pick| batches[pick.batch as usize].times[pick.row as usize];
    order.sort_unstable_by(|&(a, left), &(b, right)| {
        let exact = || {
            let by_session = session(left).cmp(session(right)).then_with(|| time(left).cmp(&time(right)));
            by_session.then_with(|| (left.batch, left.row).cmp(&(right.batch, right.row)))
        };
        a.cmp(&b).then_with(exact)
    });
    picks.iter_mut().zip(order).for_each(|(pick, (_, sorted))| *pick = sorted);
}

/// How many bytes all ids that are there begin with alike.
fn common<'a>(mut texts: impl Iterator<Item = &'a [u8]>) -> usize {
    let Some(first) = texts.find(|text| !text.is_empty()) else { return 0 };
    texts
        .filter(|text| !text.is_empty())
        .fold(first.len(), |length, text| first[..length].iter().zip(text).take_while(|(a, b)| a == b).count())
}
