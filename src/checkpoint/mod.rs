//! What survives: checkpoints of everything at one epoch, each named by a manifest.
//!
//! ```text
//! worker ──records, state, seal C──▶ writer thread ──files──▶ committer ──▶ manifest N + 1, put if absent
//! publisher ──views, positions at C───────────────────────────▶    │              (the commit point)
//!                                                                  └──▶ release of the source, sweep
//! reader: pin ──▶ files of manifest N stay ──▶ unpin
//! start: newest whole manifest ──▶ claim (manifest N + 1 of the next generation) ──▶ views served ──▶ state fed in
//! ```
//! Nobody waits for a checkpoint: what is staged below its epoch is written while later epochs go on.

mod at;
mod beside;
mod change_log;
mod commit;
mod compact;
mod counts;
pub mod crash;
mod current;
mod definitions;
mod files;
mod free;
mod known;
mod late;
mod listener;
mod manifest;
mod names;
mod open;
pub mod outage;
mod patient;
mod pinned;
mod pins;
mod present;
mod protocol;
mod queue;
mod rebuild;
mod restore;
mod sums;
mod sweep;
pub(crate) mod view_rows;
mod views;
mod writer;

pub use at::{kept_manifests, manifest_at};
pub use beside::Beside;
pub use change_log::{Cursor, LogStart, Since, since};
pub use commit::{Committer, Cut, Incoming, Mode, Parts, Released, compression};
pub use counts::Counts;
pub use definitions::{Change, Definition, Redefinition, definitions};
pub use files::{FileEntry, Kind};
pub use free::{generation_of, is_claim, prefix};
pub use late::{LATE_AT_ONCE, Late, LookedUp, check_whole, chunks_of, pending_of, pending_table};
pub use listener::{CommitListener, Merging};
pub use manifest::{Accounted, Manifest, PartitionEntry, SourceState, StateEntry, ViewEntry, deciding};
pub use names::load_names;
#[cfg(feature = "s3")]
pub use open::s3_of;
pub use open::{
    Claim, Gone, Lake, SharedLake, files_of, is_left, look, newest_manifest, open_store, read_manifest, read_newest,
};
pub use patient::Waiting;
pub use pinned::{NowMs, Pinned, find, is_there, pin, pin_id, read_pins, renew, unpin};
pub use pins::{LONGEST_MS, Pin, Stored, is_id};
pub use present::{Needs, advice, list_all, missing};
pub use protocol::Superseded;
pub use rebuild::Found;
pub use restore::{RestoredRows, ViewRowsByKey, check_version, checked, load_views, rows_of};
pub use views::{ViewFiles, sums_too_large};
pub use writer::{LakeWriter, Outgoing, QUEUE_BYTES};
