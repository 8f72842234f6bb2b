//! Which epoch a read may be answered at: decided by a pure function, waited for around it.

use super::deadline::Deadline;
use super::error::{Kind, ReadError};
use crate::serve::status::Engine;
use crate::serve::{Board, Published, SourcePositions};
use std::sync::Arc;

/// What a read asks of its epoch, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    min_epoch: u64,
    max_staleness_ms: Option<u64>,
    covers: Vec<SourcePositions>,
}

#[derive(Debug)]
enum Decision {
    Answer,
    /// For what.
    Wait(String),
    Refuse(ReadError),
}

impl Wanted {
    /// At least an epoch, with everything below these offsets in.
    ///
    /// # Errors
    /// Where a source is named twice.
    pub fn new(min_epoch: u64, covers: Vec<SourcePositions>) -> Result<Wanted, ReadError> {
        for (index, wanted) in covers.iter().enumerate() {
            if covers[..index].iter().any(|other| other.source == wanted.source) {
                return Err(ReadError::invalid(format!("consistency.covers names {:?} twice", wanted.source)));
            }
        }
        Ok(Wanted { min_epoch, max_staleness_ms: None, covers })
    }

    /// And at most so old.
    #[must_use]
    pub fn no_older_than(self, max_staleness_ms: Option<u64>) -> Wanted {
        Wanted { max_staleness_ms, ..self }
    }

    fn decide(&self, version: &Published, now_ms: u64) -> Decision {
        let epoch = version.epoch;
        if epoch == 0 && self.min_epoch == 0 && self.covers.is_empty() {
            return Decision::Refuse(ReadError::unavailable("no epoch is published yet: try again"));
        }
        if epoch < self.min_epoch.max(1) {
            return Decision::Wait(format!("min_epoch = {} is asked, and the newest is {epoch}", self.min_epoch));
        }
        if let Some(missing) = self.covers.iter().find_map(|wanted| missing(version, wanted)) {
            return Decision::Wait(missing);
        }
        let age = now_ms.saturating_sub(epoch);
        match self.max_staleness_ms.filter(|most| age > *most) {
            Some(most) => {
                let text =
                    format!("max_staleness = {most} ms is asked, and the newest epoch, {epoch}, is {age} ms old");
                let stale = ReadError::new(Kind::Unmet, text).with("epoch", epoch).with("age_ms", age);
                Decision::Refuse(stale)
            }
            None => Decision::Answer,
        }
    }

    /// The newest version, once it is one that may answer.
    ///
    /// # Errors
    /// What cannot be met, what it is and what was asked.
    pub async fn meet(
        &self,
        board: &Board,
        engine: &dyn Engine,
        deadline: Deadline,
        now_ms: &(dyn Fn() -> u64 + Send + Sync),
    ) -> Result<Arc<Published>, ReadError> {
        let version = board.current();
        if *self == Wanted::default() && version.epoch > 0 {
            return Ok(version);
        }
        self.check_sources(&version, engine)?;
        let mut changes = board.changes();
        loop {
            changes.mark_unchanged();
            let version = board.current();
            let missing = match self.decide(&version, now_ms()) {
                Decision::Answer => return Ok(version),
                Decision::Refuse(error) => return Err(error),
                Decision::Wait(missing) => missing,
            };
            match tokio::time::timeout_at(deadline.at, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(ReadError::unavailable("nothing more is published")),
                Err(_) => return Err(deadline.passed(&missing)),
            }
        }
    }

    /// Nobody waits for a source that there is not.
    fn check_sources(&self, version: &Published, engine: &dyn Engine) -> Result<(), ReadError> {
        let published = |name: &str| version.positions.iter().any(|known| known.source == name);
        let unknown: Vec<&SourcePositions> = self.covers.iter().filter(|w| !published(&w.source)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let partitions = engine.status().partitions;
        let read = |name: &str| partitions.iter().any(|partition| partition.source == name);
        match unknown.into_iter().find(|wanted| !read(&wanted.source)) {
            None => Ok(()),
            Some(wanted) => {
                let mut known: Vec<&str> = partitions.iter().map(|partition| partition.source.as_str()).collect();
                known.extend(version.positions.iter().map(|source| source.source.as_str()));
                known.sort_unstable();
                known.dedup();
                let (source, known) = (&wanted.source, known.join(", "));
                let message = format!("consistency.covers: no source {source:?}; the sources are {known}");
                Err(ReadError::invalid(message))
            }
        }
    }
}

/// The first offset that is asked for and not in.
fn missing(version: &Published, wanted: &SourcePositions) -> Option<String> {
    let known = version.positions.iter().find(|known| known.source == wanted.source);
    wanted.next_offsets.iter().enumerate().find_map(|(partition, &next)| {
        let is = known.and_then(|known| known.next_offsets.get(partition)).copied().unwrap_or(0);
        let source = &wanted.source;
        (is < next).then(|| format!("covers up to {next} of {source}/{partition} is asked, and {is} is in"))
    })
}
