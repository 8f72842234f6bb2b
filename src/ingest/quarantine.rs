//! What is kept of a rejected record, as a table.

/// The rejected records, which can be asked like a view.
pub const QUARANTINE: &str = "quarantine";

/// What is kept of each.
pub const QUARANTINE_COLUMNS: [&str; 9] =
    ["source", "partition", "offset", "rule", "field", "message", "received_at", "bytes", "bytes_total"];
