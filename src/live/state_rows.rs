//! One worker's accepted events on their way to the state, in runs that end with checkpoints.

use crate::ingest::{Ingest, StateRun};
use crate::numbers::Epoch;
use millrace_dataflows::durable::{Kept, Needed, RowWriter};
use millrace_schema::Event;
use std::collections::VecDeque;

/// A run is complete at about so many bytes: one worker restores it in well under a second.
const RUN_BYTES: usize = 16 << 20;

/// A run at work for each checkpoint that is not sealed.
pub struct StateRows {
    needed: Needed,
    /// By the last epoch that each is for; of the one that no checkpoint ends yet, the largest.
    runs: VecDeque<(Epoch, RowWriter)>,
}

impl StateRows {
    /// Of sessions that are counted `whole`, whatever pauses there are, or by visits.
    pub fn new(whole: bool) -> StateRows {
        let needed = Needed::ALL.with(Needed::WHOLE, whole);
        StateRows { needed, runs: VecDeque::from([(Epoch::END, RowWriter::default())]) }
    }

    /// A checkpoint ends with this epoch. It is known before the first event of a later one is here.
    pub fn ends(&mut self, checkpoint: Epoch) {
        if let Some((until, _)) = self.runs.back_mut() {
            *until = checkpoint;
        }
        self.runs.push_back((Epoch::END, RowWriter::default()));
    }

    /// The rows of the checkpoint that an epoch is of.
    fn run_of(&mut self, epoch: Epoch) -> Option<&mut RowWriter> {
        self.runs.iter_mut().find(|(until, _)| epoch <= *until).map(|(_, run)| run)
    }

    pub fn push(&mut self, epoch: Epoch, events: &[Event]) {
        let needed = self.needed;
        if let Some(run) = self.run_of(epoch) {
            events.iter().for_each(|event| run.push(event, needed));
        }
    }

    /// A row of an event that was accepted before: of a session that was counted whole if it was, or if all are now.
    pub fn push_again(&mut self, epoch: Epoch, kept: &Kept) {
        let counts_whole = self.needed.holds(Needed::WHOLE);
        if let Some(run) = self.run_of(epoch) {
            let is_whole = counts_whole || kept.needed.holds(Needed::WHOLE);
            run.push(&kept.event, Needed::ALL.with(Needed::WHOLE, is_whole));
        }
    }

    /// Rows of events that were forgotten, and are needed again.
    pub fn push_recalled(&mut self, epoch: Epoch, recalled: &[Kept]) {
        if let Some(run) = self.run_of(epoch) {
            for Kept { event, needed } in recalled.iter().filter(|kept| kept.needed.holds(Needed::SESSION)) {
                // Of ids and users nothing is missing once they are forgotten again.
                run.push(event, needed.with(Needed::ID, false).with(Needed::USER, false));
            }
        }
    }

    /// Hands over what has become large, of the checkpoint that is sealed next.
    pub fn hand_over(&mut self, ingest: &mut Ingest) -> anyhow::Result<()> {
        match self.runs.front_mut() {
            Some((_, run)) if run.len() >= RUN_BYTES => finish(run, ingest),
            _ => Ok(()),
        }
    }

    /// Hands over the rest of a checkpoint.
    pub fn seal(&mut self, checkpoint: Epoch, ingest: &mut Ingest) -> anyhow::Result<()> {
        match self.runs.pop_front_if(|(until, _)| *until == checkpoint) {
            Some((_, mut run)) if !run.is_empty() => finish(&mut run, ingest),
            _ => Ok(()),
        }
    }
}

fn finish(run: &mut RowWriter, ingest: &mut Ingest) -> anyhow::Result<()> {
    let rows = run.rows();
    ingest.state(StateRun { rows, bytes: run.finish() })
}
