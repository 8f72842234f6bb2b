//! Parquet files on disk: written under a temporary name, renamed when whole.

use super::LakeError;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::ZstdLevel;
use parquet::file::properties::WriterProperties;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const UNFINISHED: &str = "unfinished";
const SPILL_BYTES: usize = 1 << 20;

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

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeFile {
    pub path: PathBuf,
    pub rows: u64,
    pub bytes: u64,
}

/// A Parquet file that is being written. It holds no file descriptor between two row groups, so that hundreds may be open.
pub(crate) struct PartFile {
    path: PathBuf,
    writer: ArrowWriter<AppendFile>,
    rows: u64,
}

impl PartFile {
    /// # Errors
    /// [`LakeError`] where the folder cannot be made or the columns are not Parquet's.
    pub fn create(path: PathBuf, schema: SchemaRef, properties: WriterProperties) -> Result<PartFile, LakeError> {
        let folder = path.parent().expect("a part's path is inside a folder");
        fs::create_dir_all(folder).map_err(LakeError::write(folder))?;
        let file = AppendFile::create(unfinished(&path)).map_err(LakeError::write(&path))?;
        // Without Arrow's own schema every reader sees plain texts, not dictionaries.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, schema, options).map_err(LakeError::encode(&path))?;
        Ok(PartFile { path, writer, rows: 0 })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        self.writer.write(batch).map_err(LakeError::encode(&self.path))?;
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

    pub fn written_bytes(&self) -> usize {
        self.writer.bytes_written()
    }

    pub fn end_row_group(&mut self) -> Result<(), LakeError> {
        self.writer.flush().map_err(LakeError::encode(&self.path))
    }

    /// Completes the file and gives it its name. With `sync` it survives a crash of the machine.
    pub fn finish(self, sync: bool) -> Result<LakeFile, LakeError> {
        let PartFile { path, writer, rows } = self;
        let mut file = writer.into_inner().map_err(LakeError::encode(&path))?;
        let bytes = file.finish(sync).map_err(LakeError::write(&path))?;
        fs::rename(&file.path, &path).map_err(LakeError::write(&path))?;
        if sync && let Some(folder) = path.parent() {
            fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(LakeError::write(folder))?;
        }
        Ok(LakeFile { path, rows, bytes })
    }
}

fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().expect("a part's path ends in a name").to_string_lossy();
    path.with_file_name(format!(".{name}.{UNFINISHED}"))
}

/// Collects bytes and appends them to a file now and then.
struct AppendFile {
    path: PathBuf,
    buffer: Vec<u8>,
    written: u64,
}

impl AppendFile {
    /// Whatever an earlier attempt left under that name is gone.
    fn create(path: PathBuf) -> io::Result<AppendFile> {
        fs::File::create(&path)?;
        Ok(AppendFile { path, buffer: Vec::new(), written: 0 })
    }

    fn spill(&mut self) -> io::Result<fs::File> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        file.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer = Vec::new();
        Ok(file)
    }

    fn finish(&mut self, sync: bool) -> io::Result<u64> {
        let file = self.spill()?;
        if sync {
            file.sync_all()?;
        }
        Ok(self.written)
    }
}

impl Write for AppendFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= SPILL_BYTES {
            self.spill()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
