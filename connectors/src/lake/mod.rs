//! The lake: a folder of Parquet files that any other tool can read.
//!
//! ```text
//! DIR/millrace.json                                          what makes the folder ours
//! DIR/events/event_date=2019-10-01/part-000-00000.parquet    accepted records, by the day of their event time
//! DIR/quarantine/part-000-00000.parquet                      rejected ones, with the reason and their bytes
//! DIR/views/<view>/….parquet                                 the rows of each view
//! ```

mod data_dir;
mod day_files;
mod error;
pub(crate) mod event_schema;
mod event_writer;
mod gather;
mod part_file;
mod quarantine;
mod staged;
mod table;
mod table_file;

pub use data_dir::{DATA_DIR_MARKER, DataDir, Staging};
pub use error::LakeError;
pub use event_writer::{EventReport, EventSender, EventSettings, EventWriter};
pub use part_file::{Compression, LakeFile};
pub use quarantine::{QuarantineRow, QuarantineSettings, QuarantineWriter};
pub use staged::{EventColumns, StagedEvents};
pub use table::{Column, Columns, TextBuilder, TextColumn};
pub use table_file::{TableWriter, read_table, read_tables, write_table};
