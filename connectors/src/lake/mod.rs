//! The lake: Parquet files in a store that any other tool can read.
//!
//! ```text
//! events/event_date=2019-10-01/<name>-000000.parquet    accepted records, by the day of their event time
//! dimensions/product/<name>-000000.parquet              accepted records of products, users, stocks
//! quarantine/<name>-000000.parquet                      rejected ones, with the reason and their bytes
//! pending/event_date=2019-10-01/<name>-000000.parquet   valid ones that were too old to be taken, with their bytes
//! ```
//! Which files count is not decided here: whoever writes them names them in a manifest.

mod data_dir;
mod error;
mod event_files;
mod event_records;
mod event_rows;
pub(crate) mod event_schema;
mod folder_files;
mod gather;
mod merge;
mod part_file;
mod pending;
mod quarantine;
mod select;
mod sort;
mod staged;
mod table;
mod table_file;

pub use data_dir::{DATA_DIR_MARKER, DataDir};
pub use error::LakeError;
pub use event_files::{EventFiles, EventSettings};
pub use event_records::{EventPlace, read_event_records};
pub use event_rows::{EventRow, EventRowsError, read_event_rows};
pub use merge::{merge_events, merge_quarantine};
pub use part_file::{BytesFile, Compression, LakeFile, Unfinished};
pub use pending::{PendingFiles, PendingRecord, read_pending};
pub use quarantine::{QuarantineFiles, QuarantineSettings, Rejected};
pub use select::{EventKeys, select_events};
pub use staged::{EventColumns, StagedEvents};
pub use table::{Column, Columns, TextBuilder, TextColumn};
pub use table_file::{TableWriter, read_table, read_tables, write_table};
