//! Which epoch a read may be answered at: decided by a pure function, waited for around it.

use super::at::{Stamp, Stamps};
use super::deadline::Deadline;
use crate::serve::status::Engine;
use crate::serve::{Board, Published, SourcePositions};
use millrace_proto::v1;
use std::sync::Arc;
use tonic::Status;

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
    Refuse(Status),
}

impl Wanted {
    /// # Errors
    /// INVALID_ARGUMENT where a duration is negative or a source is named twice.
    pub fn of(asked: Option<v1::Consistency>) -> Result<Wanted, Status> {
        let Some(asked) = asked else { return Ok(Wanted::default()) };
        let max_staleness_ms = asked.max_staleness.map(|duration| {
            let bad = || Status::invalid_argument("consistency.max_staleness is negative, or too large");
            let millis = duration.seconds.checked_mul(1_000).ok_or_else(bad)?;
            let millis = millis.checked_add(i64::from(duration.nanos / 1_000_000)).ok_or_else(bad)?;
            u64::try_from(millis).map_err(|_| bad())
        });
        let covers = asked.covers.into_iter();
        let covers: Vec<SourcePositions> =
            covers.map(|c| SourcePositions { source: c.source, next_offsets: c.next_offsets }).collect();
        for (index, wanted) in covers.iter().enumerate() {
            if covers[..index].iter().any(|other| other.source == wanted.source) {
                return Err(Status::invalid_argument(format!("consistency.covers names {:?} twice", wanted.source)));
            }
        }
        Ok(Wanted { min_epoch: asked.min_epoch, max_staleness_ms: max_staleness_ms.transpose()?, covers })
    }

    fn decide(&self, version: &Published, now_ms: u64) -> Decision {
        let epoch = version.epoch;
        if epoch == 0 && self.min_epoch == 0 && self.covers.is_empty() {
            return Decision::Refuse(Status::unavailable("no epoch is published yet: try again"));
        }
        if epoch < self.min_epoch.max(1) {
            return Decision::Wait(format!("min_epoch = {} is asked, and the newest is {epoch}", self.min_epoch));
        }
        if let Some(missing) = self.covers.iter().find_map(|wanted| missing(version, wanted)) {
            return Decision::Wait(missing);
        }
        let age = now_ms.saturating_sub(version.at_ms);
        match self.max_staleness_ms.filter(|most| age > *most) {
            Some(most) => Decision::Refuse(Status::failed_precondition(format!(
                "max_staleness = {most} ms is asked, and the newest epoch, {epoch}, is {age} ms old"
            ))),
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
        stamps: &Stamps,
        engine: &dyn Engine,
        deadline: Deadline,
        now_ms: &(dyn Fn() -> u64 + Send + Sync),
    ) -> Result<Arc<Stamp>, Status> {
        let version = board.current();
        if *self == Wanted::default() && version.epoch > 0 {
            return Ok(stamps.of(version));
        }
        self.check_sources(&version, engine)?;
        let mut changes = board.changes();
        loop {
            changes.mark_unchanged();
            let version = board.current();
            let missing = match self.decide(&version, now_ms()) {
                Decision::Answer => return Ok(stamps.of(version)),
                Decision::Refuse(status) => return Err(status),
                Decision::Wait(missing) => missing,
            };
            match tokio::time::timeout_at(deadline.at, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Status::unavailable("nothing more is published")),
                Err(_) => return Err(deadline.passed(&missing)),
            }
        }
    }

    /// Nobody waits for a source that there is not.
    fn check_sources(&self, version: &Published, engine: &dyn Engine) -> Result<(), Status> {
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
                Err(Status::invalid_argument(message))
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
