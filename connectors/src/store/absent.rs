//! How a write of what must not be there yet is settled when answers are lost.
//!
//! A first try that is told "exists" has lost. After one whose answer was lost, "exists" may be its own doing: the object is
//! read, and its bytes tell. One that is not there may still come: the write is tried again, and only one of both takes effect.

use super::{Outcome, Put, Retry, StoreError};
use bytes::Bytes;
use std::thread::sleep;
use std::time::Instant;

/// Tries until it is settled, refused, or has taken too long.
///
/// # Errors
/// Where it is not settled; [`StoreError::outcome`] says whether it may have been done.
pub(super) fn put_if_absent(
    retry: &Retry,
    ours: &[u8],
    mut put: impl FnMut() -> Result<Put, StoreError>,
    read: impl Fn() -> Result<Bytes, StoreError>,
) -> Result<Put, StoreError> {
    let started = Instant::now();
    let (mut tries, mut failed) = (Tries::default(), 0);
    loop {
        let error = match tries.next(put()) {
            Step::Done(put) => return Ok(put),
            Step::Read => match read() {
                Ok(there) => return Ok(settle(&there, ours)),
                Err(error) => tries.mark(error),
            },
            Step::Again(error) => error,
            Step::Fail(error) => return Err(error),
        };
        failed += 1;
        match retry.pause(failed, started.elapsed(), &error) {
            Some(pause) => sleep(pause),
            // What is there settles it also when no try is left.
            None if tries.is_open => return read().map(|there| settle(&there, ours)).map_err(|_| tries.mark(error)),
            None => return Err(error),
        }
    }
}

/// What is known so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tries {
    /// A try before may have been done.
    is_open: bool,
}

#[derive(Debug)]
enum Step {
    Done(Put),
    /// Read the object, and ask [`settle`].
    Read,
    Again(StoreError),
    Fail(StoreError),
}

impl Tries {
    /// What to do after a try.
    fn next(&mut self, result: Result<Put, StoreError>) -> Step {
        match result {
            Ok(Put::Created) => Step::Done(Put::Created),
            Ok(Put::Exists) if self.is_open => Step::Read,
            Ok(Put::Exists) => Step::Done(Put::Exists),
            Err(error) => match error.outcome() {
                Outcome::Indefinite => {
                    self.is_open = true;
                    Step::Again(error)
                }
                Outcome::Passing => Step::Again(error),
                Outcome::Refused | Outcome::Hindered => Step::Fail(self.mark(error)),
            },
        }
    }

    /// An error that ends it. Where a try is open, that it may have been done outlasts what the later ones say.
    fn mark(self, error: StoreError) -> StoreError {
        match error {
            StoreError::Failed { what, place, key, message, .. } if self.is_open => {
                StoreError::Failed { what, place, key, message, outcome: Outcome::Indefinite }
            }
            // "Exists", and then it was gone: what was there is not known.
            StoreError::NotFound { place, key } if self.is_open => {
                let message = "the answer was lost, and the object is not there now".to_owned();
                StoreError::Failed { what: "write", place, key, message, outcome: Outcome::Indefinite }
            }
            error => error,
        }
    }
}

/// Whose the object is that is there after an open try.
fn settle(there: &[u8], ours: &[u8]) -> Put {
    if there == ours { Put::Created } else { Put::Exists }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(outcome: Outcome) -> Result<Put, StoreError> {
        let (place, key, message) = ("p".to_owned(), "k".to_owned(), "m".to_owned());
        Err(StoreError::Failed { what: "write", place, key, message, outcome })
    }

    #[test]
    fn exists_is_believed_only_while_no_try_is_open() {
        let mut tries = Tries::default();
        assert!(matches!(tries.next(failed(Outcome::Passing)), Step::Again(_)));
        assert!(matches!(tries.next(Ok(Put::Exists)), Step::Done(Put::Exists)));
        assert!(matches!(tries.next(failed(Outcome::Indefinite)), Step::Again(_)));
        assert!(matches!(tries.next(Ok(Put::Exists)), Step::Read));
        assert!(matches!(tries.next(Ok(Put::Created)), Step::Done(Put::Created)));
    }

    #[test]
    fn a_refusal_after_an_open_try_is_not_taken_for_the_outcome() {
        let mut tries = Tries::default();
        let Step::Fail(error) = tries.next(failed(Outcome::Refused)) else { panic!() };
        assert_eq!(error.outcome(), Outcome::Refused);
        tries.next(failed(Outcome::Indefinite));
        let Step::Fail(error) = tries.next(failed(Outcome::Refused)) else { panic!() };
        assert_eq!(error.outcome(), Outcome::Indefinite);
    }

    #[test]
    fn bytes_tell_whose_it_is() {
        assert_eq!(settle(b"ours", b"ours"), Put::Created);
        assert_eq!(settle(b"theirs", b"ours"), Put::Exists);
    }
}
