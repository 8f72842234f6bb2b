//! Small answers, for as long as nothing changes them: most readers ask about the same few products and days.

use super::place::AnswerState;
use bytes::Bytes;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard};

/// So that readers seldom meet.
const SHARDS: usize = 16;
/// Of one shard. A full one begins anew, which costs each answer one more working out.
const ANSWERS_MOST: usize = 1_024;
/// What is larger is no small answer.
const BYTES_MOST: usize = 8 << 10;
/// Of the answers and questions of one shard.
const SHARD_BYTES_MOST: usize = 512 << 10;

/// The rows of answers as a codec has encoded them, by encoded questions of one kind to one view.
#[derive(Default)]
pub struct Recent {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    state: AnswerState,
    answers: FxHashMap<Vec<u8>, Bytes>,
    bytes: usize,
}

impl Shard {
    fn begin(&mut self, state: AnswerState) {
        *self = Shard { state, ..Shard::default() };
    }
}

impl Recent {
    pub fn get(&self, state: AnswerState, question: &[u8]) -> Option<Bytes> {
        let shard = self.shard(question);
        (shard.state == state).then(|| shard.answers.get(question).cloned())?
    }

    pub fn put(&self, state: AnswerState, question: Vec<u8>, answer: &Bytes) {
        if answer.len() > BYTES_MOST || question.len() > BYTES_MOST {
            return;
        }
        let mut shard = self.shard(&question);
        let bytes = question.len() + answer.len();
        let is_full = shard.answers.len() >= ANSWERS_MOST || shard.bytes + bytes > SHARD_BYTES_MOST;
        if shard.state != state || is_full {
            shard.begin(state);
        }
        shard.bytes += bytes;
        shard.answers.insert(question, answer.clone());
    }

    /// Drops the answers of earlier states: nobody asks for them any more.
    pub fn forget_old(&self, now: AnswerState) {
        for shard in &self.shards {
            let mut shard = shard.lock().expect("no holder of the recent answers panics");
            if shard.state != now {
                shard.begin(now);
            }
        }
    }

    fn shard(&self, question: &[u8]) -> MutexGuard<'_, Shard> {
        // The high bits: the map in the shard goes by the low ones.
        let shard = (FxBuildHasher.hash_one(question) >> 32) as usize % SHARDS;
        self.shards[shard].lock().expect("no holder of the recent answers panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_for_one_state_and_there_are_not_too_many() {
        let recent = Recent::default();
        let at = |epoch| AnswerState::new(epoch, None);
        let answer = Bytes::from_static(b"rows");
        recent.put(at(1), b"q".to_vec(), &answer);
        assert_eq!(recent.get(at(1), b"q"), Some(answer.clone()));
        assert_eq!(recent.get(AnswerState::new(1, Some(5)), b"q"), None);
        assert_eq!(recent.get(at(2), b"q"), None);
        recent.put(at(2), b"q".to_vec(), &Bytes::from(vec![0; BYTES_MOST + 1]));
        assert_eq!(recent.get(at(2), b"q"), None);
        for question in 0..100_000_u32 {
            recent.put(at(3), question.to_le_bytes().to_vec(), &answer);
        }
        for question in 0..100_000_u32 {
            recent.put(at(3), question.to_le_bytes().to_vec(), &Bytes::from(vec![0; BYTES_MOST]));
        }
        let shards = || recent.shards.iter().map(|shard| shard.lock().expect("no panic"));
        assert!(shards().all(|shard| shard.bytes <= SHARD_BYTES_MOST && !shard.answers.is_empty()));
        recent.forget_old(at(3));
        assert!(shards().all(|shard| !shard.answers.is_empty()));
        recent.forget_old(at(4));
        assert!(shards().all(|shard| shard.answers.is_empty()));
        for question in 0..100_000_u32 {
            recent.put(at(3), question.to_le_bytes().to_vec(), &answer);
        }
        let count: usize = recent.shards.iter().map(|shard| shard.lock().expect("no panic").answers.len()).sum();
        assert!((1..=SHARDS * ANSWERS_MOST).contains(&count));
    }
}
