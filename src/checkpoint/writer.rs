//! One worker's way to the lake: a thread that encodes what is settled, and hands complete files to the committer.

use super::commit::Incoming;
use crate::engine::ingest::{Outlet, StateRun};
use crate::live::PartitionTable;
use anyhow::Context;
use millrace_connectors::lake::{
    EventFiles, PendingFiles, PendingRecord, QuarantineFiles, Rejected, StagedEvents, Unfinished,
};
use millrace_connectors::store::Store;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Messages that may wait for the thread before the worker does.
const QUEUE: usize = 256;
enum Message {
    Events(Box<StagedEvents>),
    State(StateRun),
    Rejected(Rejected),
    Pending(PendingRecord),
    Seal(u64),
}

/// What is written of a worker's records.
pub struct Outgoing {
    pub worker: usize,
    pub store: Arc<dyn Store>,
    /// Begins the names of its files.
    pub name: String,
    pub partitions: PartitionTable,
    pub events: Option<EventFiles>,
    pub quarantine: QuarantineFiles,
    pub pending: PendingFiles,
    /// Whether accepted events are kept as state.
    pub state: bool,
}

/// The worker's end.
pub struct LakeWriter {
    sender: SyncSender<Message>,
    wants_events: bool,
    wants_state: bool,
}

impl LakeWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where there is none to be had.
    pub fn start(
        outgoing: Outgoing,
        committer: SyncSender<Incoming>,
    ) -> anyhow::Result<(LakeWriter, JoinHandle<anyhow::Result<()>>)> {
        let (sender, receiver) = sync_channel(QUEUE);
        let (wants_events, wants_state) = (outgoing.events.is_some(), outgoing.state);
        let thread = std::thread::Builder::new()
            .name(format!("lake-{}", outgoing.worker))
            .spawn(move || Writing::new(outgoing, committer).run(&receiver).context("writing to the lake"))
            .context("starting the thread that writes to the lake")?;
        Ok((LakeWriter { sender, wants_events, wants_state }, thread))
    }

    fn send(&mut self, message: Message) -> anyhow::Result<()> {
        self.sender.send(message).ok().context("the lake cannot be written: its own error says why")
    }
}

impl Outlet for LakeWriter {
    fn wants_events(&self) -> bool {
        self.wants_events
    }

    fn wants_state(&self) -> bool {
        self.wants_state
    }

    fn events(&mut self, staged: StagedEvents) -> anyhow::Result<()> {
        self.send(Message::Events(Box::new(staged)))
    }

    fn state(&mut self, rows: StateRun) -> anyhow::Result<()> {
        self.send(Message::State(rows))
    }

    fn rejected(&mut self, row: Rejected) -> anyhow::Result<()> {
        self.send(Message::Rejected(row))
    }

    fn pending(&mut self, record: PendingRecord) -> anyhow::Result<()> {
        self.send(Message::Pending(record))
    }

    fn seal(&mut self, epoch: u64) -> anyhow::Result<()> {
        self.send(Message::Seal(epoch))
    }
}

/// The thread's end.
struct Writing {
    out: Outgoing,
    committer: SyncSender<Incoming>,
    known_partitions: usize,
    state_files: usize,
}

impl Writing {
    fn new(out: Outgoing, committer: SyncSender<Incoming>) -> Writing {
        Writing { out, committer, known_partitions: 0, state_files: 0 }
    }

    fn run(mut self, messages: &Receiver<Message>) -> anyhow::Result<()> {
        for message in messages {
            self.look_at_partitions();
            match message {
                Message::Events(staged) => {
                    if let Some(events) = &mut self.out.events {
                        events.add(*staged)?;
                        let ended = events.take_ended();
                        self.hand_over(ended)?;
                    }
                }
                Message::State(run) => self.state(run)?,
                Message::Rejected(row) => self.out.quarantine.push(row)?,
                Message::Pending(record) => self.out.pending.push(record),
                Message::Seal(epoch) => self.seal(epoch)?,
            }
        }
        Ok(())
    }

    /// A partition is in the table before the first of its records is here.
    fn look_at_partitions(&mut self) {
        let partitions = self.out.partitions.read().expect("no holder of the partitions panics");
        if partitions.len() != self.known_partitions {
            self.known_partitions = partitions.len();
            self.out.events.iter_mut().for_each(|events| events.partitions(&partitions));
            self.out.quarantine.partitions(&partitions);
            self.out.pending.partitions(&partitions);
        }
    }

    fn seal(&mut self, epoch: u64) -> anyhow::Result<()> {
        let mut ended = self.out.quarantine.end()?;
        ended.extend(self.out.pending.end()?);
        if let Some(events) = &mut self.out.events {
            ended.extend(events.end()?);
        }
        super::crash::point("lake-encoded");
        self.hand_over(ended)?;
        self.say(Incoming::Sealed { worker: self.out.worker, epoch })
    }

    fn state(&mut self, StateRun { rows, bytes }: StateRun) -> anyhow::Result<()> {
        let key = format!("_state/accepted/{}-{:06}.rows", self.out.name, self.state_files);
        self.state_files += 1;
        super::crash::point("state-encoded");
        let file = Unfinished::of_bytes(&self.out.store, key, bytes, rows);
        self.hand_over(vec![file])
    }

    fn hand_over(&self, files: Vec<Unfinished>) -> anyhow::Result<()> {
        files.into_iter().try_for_each(|file| self.say(Incoming::File { worker: self.out.worker, file }))
    }

    fn say(&self, incoming: Incoming) -> anyhow::Result<()> {
        self.committer.send(incoming).ok().context("nothing is committed any more: the committer's own error says why")
    }
}
