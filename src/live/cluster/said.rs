//! What processes of one generation say to each other. All run the same program, so the messages have no versions: a process of another
//! program is refused before the first.

use super::super::epoch_clock::Stamp;
use super::super::worker::Report;
use crate::checkpoint::FileEntry;
use crate::ingest::EventTimes;
use crate::numbers::{Epoch, Generation, Offset};
use crate::serve::commit::Changed;
use millrace_connectors::source::{Lost, Mark, PartitionInfo, PartitionState, Remembered, Resume};
use millrace_dataflows::rows::Change;
use millrace_dataflows::views;
use millrace_schema::Name;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What process 0 tells the others.
#[derive(Debug, Serialize, Deserialize)]
pub enum Told {
    /// A generation begins.
    Begin(Begin),
    /// All partitions there are, and where reading begins in each.
    Partitions { infos: Vec<PartitionInfo>, begins: Vec<u64> },
    /// An epoch is open from now on. The one before ends a report, or does not.
    Open { stamp: Stamp, ends_report: bool },
    /// Nothing more is read.
    Stop,
    /// The open epoch is the last.
    Done { stamp: Stamp },
    /// Everything is committed.
    Committed,
    /// For the parent of the process: a [`super::Shown`].
    Shown(Vec<u8>),
}

/// What a process has to know to take part in a generation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Begin {
    pub generation: Generation,
    /// Tells its manifests from those of any other lake.
    pub run: String,
    /// The manifest that all begin with: the claim of process 0.
    pub manifest: u64,
    /// Whether state is taken up from it.
    pub restores: bool,
    /// The first open epoch.
    pub stamp: Stamp,
    pub partitions: Vec<PartitionInfo>,
    /// Where reading begins, by ordinal.
    pub positions: Vec<u64>,
    pub kept: Vec<Remembered>,
}

impl Begin {
    pub fn resume(&self) -> Resume {
        Resume { partitions: self.partitions.clone(), positions: self.positions.clone(), kept: self.kept.clone() }
    }
}

/// How far reading has come in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Its ordinal.
    pub partition: u16,
    /// Whether `next` has moved: the records before it have the message's epoch, or earlier ones.
    pub is_read: bool,
    pub has_records: bool,
    pub next: u64,
    pub end: Option<u64>,
    pub lost: Lost,
    pub mark: Option<Mark>,
    pub fault: Option<String>,
}

impl Moved {
    /// What there is to say of a partition that is read here.
    pub fn of(partition: u16, state: &PartitionState, is_read: bool, has_records: bool) -> Moved {
        Moved {
            partition,
            is_read,
            has_records,
            next: state.next,
            end: state.end,
            lost: state.lost,
            mark: state.marks.at(state.next).cloned(),
            fault: state.fault.clone(),
        }
    }
}

/// What the others say to process 0.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said {
    /// So many records were read in an epoch, or it was found where partitions end.
    Read {
        epoch: Epoch,
        records: u64,
        moved: Vec<Moved>,
    },
    /// How far reading stands, now and then; why the source cannot be reached, where it cannot.
    Stands {
        moved: Vec<Moved>,
        down: Option<String>,
    },
    /// Nothing more was there to be read in an epoch.
    CaughtUp {
        epoch: Epoch,
    },
    /// The chunk of a partition that begins at an offset has events of these times.
    Heard {
        epoch: Epoch,
        place: (u16, Offset),
        times: EventTimes,
    },
    /// A worker has closed every epoch before `open`.
    Closed {
        worker: usize,
        open: Epoch,
    },
    Report(SaidReport),
    /// A file that belongs to the checkpoint that its worker seals next. It is in the store.
    File {
        worker: usize,
        file: SaidFile,
    },
    Sealed {
        worker: usize,
        epoch: Epoch,
    },
    /// The reader reads nothing more.
    Finished,
    /// What somebody should look at.
    Warning(String),
    /// Everything was said: all workers have ended.
    Ended,
}

/// A file that is in the store, as it is sent.
#[derive(Debug, Serialize, Deserialize)]
pub struct SaidFile {
    key: String,
    rows: u64,
    bytes: u64,
    checksum: String,
}

impl SaidFile {
    pub fn of(file: FileEntry) -> SaidFile {
        let FileEntry { key, rows, bytes, checksum, .. } = file;
        SaidFile { key, rows, bytes, checksum }
    }

    /// Of which checkpoint it is, is not known yet.
    pub fn file(self) -> FileEntry {
        let SaidFile { key, rows, bytes, checksum } = self;
        FileEntry { key, rows, bytes, checksum, epoch: Epoch::NONE, written_ms: None }
    }
}

/// A [`Report`] of a worker elsewhere.
#[derive(Debug, Serialize, Deserialize)]
pub struct SaidReport {
    worker: usize,
    from: Epoch,
    open: Epoch,
    changes: Vec<(String, Vec<Change>)>,
    names: Vec<(Name, String)>,
}

/// Changes by the name of their view, as they are sent.
pub(super) fn plain(changes: &[(&'static str, Changed)], epoch: u64) -> Vec<(String, Vec<Change>)> {
    let list = |changed: &Changed| match changed {
        Changed::List(list) => list.clone(),
        Changed::Netted(netted) => netted.changes(epoch).collect(),
    };
    changes.iter().map(|(view, changed)| ((*view).to_owned(), list(changed))).collect()
}

/// And as they are kept.
pub(super) fn known(changes: Vec<(String, Vec<Change>)>) -> Vec<(&'static str, Changed)> {
    let name = |view: &str| {
        views::VIEWS.iter().map(|(name, _)| *name).find(|name| *name == view).expect("both are the same program")
    };
    changes.into_iter().map(|(view, list)| (name(&view), Changed::List(list))).collect()
}

impl SaidReport {
    pub fn of(report: &Report) -> SaidReport {
        let Report { worker, from, open, changes, names } = report;
        let names = names.iter().map(|(name, text)| (*name, text.to_string())).collect();
        SaidReport { worker: *worker, from: *from, open: *open, changes: plain(changes, from.0), names }
    }

    pub fn report(self) -> Report {
        let SaidReport { worker, from, open, changes, names } = self;
        let names = names.into_iter().map(|(name, text)| (name, Arc::from(text))).collect();
        Report { worker, from, open, changes: known(changes), names }
    }
}

/// A message as it is sent.
pub(super) fn bytes_of(message: &impl Serialize) -> Arc<[u8]> {
    postcard::to_allocvec(message).expect("a message is plain data").into()
}

/// # Errors
/// Where the bytes are no such message.
pub(super) fn of_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> anyhow::Result<T> {
    postcard::from_bytes(bytes)
        .map_err(|error| anyhow::anyhow!("a message of {} bytes cannot be read: {error}", bytes.len()))
}
