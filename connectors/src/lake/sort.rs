//! Rows of one session beside each other.

use super::event_schema::Text;
use super::gather::Pick;
use super::staged::StagedEvents;

/// What a comparison begins with: as much of the session's id as fits, after what all ids have in common.
const HEAD: usize = 16;

/// Sorts rows by session id (bytes; those without one first), those of one session by their times.
pub(super) fn by_session(batches: &[StagedEvents], picks: &mut [Pick]) {
    let session = |pick: Pick| batches[pick.batch as usize].texts[Text::SessionId as usize].get(pick.row as usize);
    let skip = common(picks.iter().map(|pick| session(*pick)));
    let mut are_whole = true;
    let mut head = |text: &[u8]| {
        let mut head = [0; HEAD];
        let rest = text.get(skip..).unwrap_or_default();
        // A zero in an id would be like its end.
        are_whole &= rest.len() <= HEAD && !rest.contains(&0);
        let length = rest.len().min(HEAD);
        head[..length].copy_from_slice(&rest[..length]);
        u128::from_be_bytes(head)
    };
    let time = |pick: Pick| batches[pick.batch as usize].times[pick.row as usize];
    let mut order: Vec<(u128, i64, u64)> = picks
        .iter()
        .map(|&pick| (head(session(pick)), time(pick), u64::from(pick.batch) << 32 | u64::from(pick.row)))
        .collect();
    let pick = |packed: u64| Pick { batch: (packed >> 32) as u32, row: packed as u32 };
    if are_whole {
        order.sort_unstable();
    } else {
        order.sort_unstable_by(|&(a, at, left), &(b, then, right)| {
            let by_session = || session(pick(left)).cmp(session(pick(right)));
            a.cmp(&b).then_with(by_session).then_with(|| (at, left).cmp(&(then, right)))
        });
    }
    picks.iter_mut().zip(order).for_each(|(place, (_, _, packed))| *place = pick(packed));
}

/// How many bytes all ids that are there begin with alike.
fn common<'a>(mut texts: impl Iterator<Item = &'a [u8]>) -> usize {
    let Some(first) = texts.find(|text| !text.is_empty()) else { return 0 };
    texts
        .filter(|text| !text.is_empty())
        .fold(first.len(), |length, text| first[..length].iter().zip(text).take_while(|(a, b)| a == b).count())
}
