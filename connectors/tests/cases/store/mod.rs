//! Stores: one suite for each, and what is particular to one.

mod conformance;
mod local;
mod race;
mod support;
mod unreliable;

#[cfg(feature = "s3")]
mod s3 {
    mod answers;
    mod bucket;
    mod multipart;
    mod proxy;
    mod support;
    mod wrong;
}
