//! One worker's way to the lake: a thread that encodes what is settled, and hands complete files to the committer.

use super::commit::Incoming;
use super::queue::{Entry, Exit, queue};
use crate::ingest::{Outlet, PartitionTable, StateRun};
use crate::numbers::Epoch;
use anyhow::Context;
use millrace_connectors::lake::{
    EventFiles, PendingFiles, PendingRecord, QuarantineFiles, Rejected, StagedEvents, Unfinished,
};
use millrace_connectors::store::Store;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;

/// Bytes that may wait for the threads of all workers before a worker does.
pub const QUEUE_BYTES: usize = 48 << 20;

enum Message {
    Events(Box<StagedEvents>),
    State(StateRun),
    Rejected(Rejected),
    Pending(PendingRecord),
    Seal(Epoch),
}

impl Message {
    fn bytes(&self) -> usize {
        match self {
            Message::Events(staged) => staged.bytes(),
            Message::State(run) => run.bytes.len(),
            Message::Rejected(row) => row.bytes.len() + row.reject.message.len(),
            Message::Pending(record) => record.bytes.len(),
            Message::Seal(_) => 0,
        }
    }
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
    /// Bytes that may wait for the thread.
    pub queue_bytes: usize,
}

/// The worker's end.
pub struct LakeWriter {
    sender: Entry<Message>,
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
        let (sender, receiver) = queue(outgoing.queue_bytes);
        let (wants_events, wants_state) = (outgoing.events.is_some(), outgoing.state);
        let thread = std::thread::Builder::new()
            .name(format!("lake-{}", outgoing.worker))
            .spawn(move || Writing::new(outgoing, committer).run(&receiver).context("writing to the lake"))
            .context("starting the thread that writes to the lake")?;
        Ok((LakeWriter { sender, wants_events, wants_state }, thread))
    }

    fn send(&mut self, message: Message) -> anyhow::Result<()> {
        let bytes = message.bytes();
        anyhow::ensure!(self.sender.send(message, bytes), "the lake cannot be written: its own error says why");
        Ok(())
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

    fn seal(&mut self, epoch: Epoch) -> anyhow::Result<()> {
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

    fn run(mut self, messages: &Exit<Message>) -> anyhow::Result<()> {
        while let Some(message) = messages.next() {
            self.look_at_partitions();
            match message {
                Message::Events(staged) => {
                    let mut give = giving(self.out.worker, &self.committer);
                    if let Some(events) = &mut self.out.events {
                        events.add(*staged, &mut give)?;
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

    fn seal(&mut self, epoch: Epoch) -> anyhow::Result<()> {
        let mut ended = self.out.quarantine.end()?;
        ended.extend(self.out.pending.end()?);
        if let Some(events) = &mut self.out.events {
            events.end(&mut giving(self.out.worker, &self.committer))?;
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
        files.into_iter().try_for_each(giving(self.out.worker, &self.committer))
    }

    fn say(&self, incoming: Incoming) -> anyhow::Result<()> {
        say(&self.committer, incoming)
    }
}

/// Hands complete files to the committer, one at a time: while it is behind, no more are made.
fn giving(worker: usize, committer: &SyncSender<Incoming>) -> impl FnMut(Unfinished) -> anyhow::Result<()> {
    move |file| say(committer, Incoming::File { worker, file })
}

fn say(committer: &SyncSender<Incoming>, incoming: Incoming) -> anyhow::Result<()> {
    committer.send(incoming).ok().context("nothing is committed any more: the committer's own error says why")
}
