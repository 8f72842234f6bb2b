//! Parquet files on their way into a store: they show there when they are finished.

use super::LakeError;
use crate::store::{Store, StoreError, Upload};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::ZstdLevel;
use parquet::file::properties::WriterProperties;
use std::io::{self, Write};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// A file up to this size is put at once; a larger one is streamed. Hundreds may be open that hold no more than memory.
const SPILL_BYTES: usize = 4 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    None,
    #[default]
    Snappy,
    /// Level 1: about half of Snappy's size, for a fifth more time.
    Zstd,
}

impl Compression {
    pub(crate) fn parquet(self) -> parquet::basic::Compression {
        match self {
            Compression::None => parquet::basic::Compression::UNCOMPRESSED,
            Compression::Snappy => parquet::basic::Compression::SNAPPY,
            Compression::Zstd => {
                parquet::basic::Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a level of zstd"))
            }
        }
    }
}

/// A file in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeFile {
    pub key: String,
    pub rows: u64,
    pub bytes: u64,
    /// XXH3 of its bytes.
    pub checksum: u64,
}

/// Bytes that are written and have no name in the store yet. Dropped, they leave nothing.
pub struct Unfinished {
    spool: Spool,
    rows: u64,
}

impl Unfinished {
    /// A small file of any kind, whole.
    pub fn of_bytes(store: &Arc<dyn Store>, key: String, bytes: Vec<u8>, rows: u64) -> Unfinished {
        let mut spool = Spool::new(store.clone(), key);
        spool.count(&bytes);
        spool.buffer = bytes;
        Unfinished { spool, rows }
    }

    pub fn key(&self) -> &str {
        &self.spool.key
    }

    /// Gives the file its name. May take as long as the store does.
    ///
    /// # Errors
    /// [`StoreError`] where the store does not take it.
    pub fn finish(self) -> Result<LakeFile, StoreError> {
        let Unfinished { spool, rows } = self;
        let checksum = spool.hasher.digest();
        match spool.upload {
            None => spool.store.put(&spool.key, Bytes::from(spool.buffer))?,
            Some(mut upload) => {
                upload.write_all(&spool.buffer).map_err(|error| StoreError::of_io(&spool.key, error))?;
                upload.finish()?;
            }
        }
        Ok(LakeFile { key: spool.key, rows, bytes: spool.written, checksum })
    }
}

/// A file of any kind that is being written: some MiB of it are in memory, the others on their way.
pub struct BytesFile(Spool);

impl BytesFile {
    pub fn create(store: &Arc<dyn Store>, key: String) -> BytesFile {
        BytesFile(Spool::new(store.clone(), key))
    }

    /// Ends the file.
    pub fn end(self, rows: u64) -> Unfinished {
        Unfinished { spool: self.0, rows }
    }
}

impl Write for BytesFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A Parquet file that is being written.
pub(crate) struct PartFile {
    key: String,
    writer: ArrowWriter<Spool>,
    rows: u64,
}

impl PartFile {
    /// # Errors
    /// [`LakeError`] where the columns are not Parquet's.
    pub fn create(
        store: &Arc<dyn Store>,
        key: String,
        schema: SchemaRef,
        properties: WriterProperties,
    ) -> Result<PartFile, LakeError> {
        // Without Arrow's own schema every reader sees plain texts, not dictionaries.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let spool = Spool::new(store.clone(), key.clone());
        let writer = ArrowWriter::try_new_with_options(spool, schema, options).map_err(LakeError::encode(&key))?;
        Ok(PartFile { key, writer, rows: 0 })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        self.writer.write(batch).map_err(LakeError::encode(&self.key))?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What is in memory of the row group that is being filled.
    pub fn buffered_bytes(&self) -> usize {
        self.writer.memory_size()
    }

    /// What is in memory of the row groups before.
    pub fn waiting_bytes(&self) -> usize {
        self.writer.inner().buffer.capacity()
    }

    /// Whether some of it is with the store already, which keeps a file or a connection open for it.
    pub fn is_on_its_way(&self) -> bool {
        self.writer.inner().upload.is_some()
    }

    pub fn written_bytes(&self) -> usize {
        self.writer.bytes_written()
    }

    pub fn end_row_group(&mut self) -> Result<(), LakeError> {
        self.writer.flush().map_err(LakeError::encode(&self.key))
    }

    /// Ends the file.
    pub fn end(self) -> Result<Unfinished, LakeError> {
        let spool = self.writer.into_inner().map_err(LakeError::encode(&self.key))?;
        Ok(Unfinished { spool, rows: self.rows })
    }
}

/// Collects bytes, and streams them to the store where they become many.
struct Spool {
    store: Arc<dyn Store>,
    key: String,
    buffer: Vec<u8>,
    upload: Option<Box<dyn Upload>>,
    written: u64,
    /// Half a kilobyte.
    hasher: Box<Xxh3>,
}

impl Spool {
    fn new(store: Arc<dyn Store>, key: String) -> Spool {
        Spool { store, key, buffer: Vec::new(), upload: None, written: 0, hasher: Box::new(Xxh3::new()) }
    }

    fn count(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.count(bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= SPILL_BYTES {
            let upload = match &mut self.upload {
                Some(upload) => upload,
                none => none.insert(self.store.create(&self.key).map_err(io::Error::other)?),
            };
            upload.write_all(&self.buffer)?;
            self.buffer = Vec::new();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
