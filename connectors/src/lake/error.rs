//! What can go wrong with the lake's files. Each names the file, and what to do.

use crate::short::short;
use crate::store::StoreError;
use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    #[error("cannot write {path}: {error}; check free space and permissions", path = path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("cannot read {path}: {error}; check the path and its permissions", path = path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write {key} as Parquet: {message}")]
    Encode { key: String, message: String },
    #[error("cannot read {key} as Parquet: {message}; write it again from its source")]
    Decode { key: String, message: String },
    #[error("{path} is not an empty folder and holds no results of millrace (no millrace.json): choose another folder, or empty it", path = path.display())]
    NotADataDir { path: PathBuf },
    #[error("{path} is of format {found}, and this program knows {known}: choose another folder, or another version of millrace", path = path.display())]
    DataDirVersion { path: PathBuf, found: String, known: String },
    #[error("another process writes to {path}: wait for it, or stop it", path = path.display())]
    Locked { path: PathBuf },
    #[error("{key} has other columns than the files beside it: remove the files of another version")]
    OtherColumns { key: String },
    #[error("a table's columns differ: {0}")]
    BadTable(String),
    #[error("a staged record names partition {0}, which the table of partitions does not have")]
    UnknownPartition(u16),
}

impl LakeError {
    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> LakeError + use<> {
        let path = path.to_owned();
        move |error| LakeError::Write { path, error }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> LakeError + use<> {
        let path = path.to_owned();
        move |error| LakeError::Read { path, error }
    }

    pub(crate) fn encode(key: &str) -> impl FnOnce(ParquetError) -> LakeError + use<> {
        let key = key.to_owned();
        move |error| LakeError::Encode { key, message: short(&error.to_string()) }
    }

    pub(crate) fn decode(key: &str) -> impl FnOnce(ParquetError) -> LakeError + use<> {
        let key = key.to_owned();
        move |error| LakeError::Decode { key, message: short(&error.to_string()) }
    }

    pub(crate) fn arrow(key: &str) -> impl FnOnce(ArrowError) -> LakeError + use<> {
        let key = key.to_owned();
        move |error| LakeError::Encode { key, message: short(&error.to_string()) }
    }
}
