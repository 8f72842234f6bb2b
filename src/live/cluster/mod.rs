//! An engine of several processes: one decides, the others follow, and whatever crosses between them is a message.
//!
//! ```text
//! process 0:  reader ─▶ feed (epochs, ledger) ─▶ workers ═══ timely's mesh ═══ workers ◀─ following feed ◀─ reader   :process 1, 2, …
//!                         │ told: stamps, partitions ───────────────────────────────────▶ ┘                │
//!                         │ ◀── said: positions, times, closed epochs, reports, finished files ────────────┘
//!             publisher ──┴─ shown: commits, versions ──▶ its parent, and those of all others
//! ```
//! A checkpoint exists only with the files of all of them: one committer puts the manifest. Whoever is lost ends the generation, and all
//! begin again from the last one.

mod follow;
mod following;
mod lead;
mod said;
mod shown;

pub use follow::follow;
pub use lead::{Leading, OnLost, hand_on};
pub use said::{Begin, Moved, Said, Told};
pub use shown::{Shown, ShownCommit, SinkShown, TapOf, Tell};

/// The exit code of a process that ends because another one is lost: it is started again.
pub const LOST: i32 = 75;
