//! temporary
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::ops::Range;
pub trait Store: Send + Sync {
    fn create(&self, key: &str) -> Result<Box<dyn Upload>, StoreError>;
    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError>;
    fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError>;
    fn get(&self, key: &str) -> Result<Bytes, StoreError>;
    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError>;
    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError>;
    fn delete(&self, keys: &[String]) -> Result<(), StoreError>;
    fn place(&self) -> String;
    fn local_root(&self) -> Option<&Path>;
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put { Created, Exists }
#[derive(Clone, Debug)]
pub struct Entry { pub key: String, pub bytes: u64, pub modified_micros: i64 }
pub trait Upload: std::io::Write + Send { fn finish(self: Box<Self>) -> Result<u64, StoreError>; }
#[derive(Debug, thiserror::Error)]
pub enum StoreError { #[error("{0}: {1}")] Io(PathBuf, std::io::Error), #[error("{0} is not there")] NotFound(String) }
impl StoreError { pub fn of_io(key: &str, error: std::io::Error) -> StoreError { StoreError::Io(key.into(), error) } }
impl StoreError { pub fn is_not_found(&self) -> bool { matches!(self, StoreError::NotFound(_)) } }
pub struct Local { root: PathBuf, sync: bool }
impl Local {
    pub fn new(root: &Path, sync: bool) -> Local { Local { root: root.to_owned(), sync } }
    fn temp(&self, key: &str) -> Result<(PathBuf, PathBuf), StoreError> {
        static N: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let path = self.root.join(key);
        let e = |error| StoreError::Io(path.clone(), error);
        std::fs::create_dir_all(path.parent().unwrap()).map_err(e)?;
        let tmp = self.root.join("_tmp");
        std::fs::create_dir_all(&tmp).map_err(e)?;
        Ok((tmp.join(format!("{}-{}", std::process::id(), N.fetch_add(1, std::sync::atomic::Ordering::Relaxed))), path))
    }
}
struct LocalUpload { file: std::io::BufWriter<std::fs::File>, temp: PathBuf, path: PathBuf, sync: bool, n: u64 }
impl std::io::Write for LocalUpload {
    fn write(&mut self, b: &[u8]) -> std::io::Result<usize> { self.n += b.len() as u64; self.file.write_all(b)?; Ok(b.len()) }
    fn flush(&mut self) -> std::io::Result<()> { self.file.flush() }
}
impl Upload for LocalUpload {
    fn finish(self: Box<Self>) -> Result<u64, StoreError> {
        let LocalUpload { file, temp, path, sync, n } = *self;
        let e = |error| StoreError::Io(path.clone(), error);
        let file = file.into_inner().map_err(|x| e(x.into_error()))?;
        if sync { file.sync_all().map_err(e)?; }
        std::fs::rename(&temp, &path).map_err(e)?;
        Ok(n)
    }
}
impl Store for Local {
    fn create(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        let (temp, path) = self.temp(key)?;
        let file = std::fs::File::create(&temp).map_err(|e| StoreError::Io(temp.clone(), e))?;
        Ok(Box::new(LocalUpload { file: std::io::BufWriter::new(file), temp, path, sync: self.sync, n: 0 }))
    }
    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let mut up = self.create(key)?;
        std::io::Write::write_all(&mut up, &bytes).map_err(|e| StoreError::Io(key.into(), e))?;
        up.finish().map(drop)
    }
    fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError> {
        let (temp, path) = self.temp(key)?;
        std::fs::write(&temp, &bytes).map_err(|e| StoreError::Io(temp.clone(), e))?;
        let linked = std::fs::hard_link(&temp, &path);
        let _ = std::fs::remove_file(&temp);
        match linked { Ok(()) => Ok(Put::Created), Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(Put::Exists), Err(e) => Err(StoreError::Io(path, e)) }
    }
    fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        match std::fs::read(self.root.join(key)) { Ok(b) => Ok(b.into()), Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(StoreError::NotFound(key.into())), Err(e) => Err(StoreError::Io(key.into(), e)) }
    }
    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> { Ok(self.get(key)?.slice(range.start as usize..range.end as usize)) }
    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        fn walk(root: &Path, dir: &Path, out: &mut Vec<Entry>) { if let Ok(entries) = std::fs::read_dir(dir) { for e in entries.flatten() { let p = e.path(); if p.is_dir() { walk(root, &p, out) } else { out.push(Entry { key: p.strip_prefix(root).unwrap().to_string_lossy().into_owned(), bytes: e.metadata().map_or(0, |m| m.len()), modified_micros: 0 }) } } } }
        let mut out = Vec::new();
        walk(&self.root, &self.root.join(prefix), &mut out);
        out.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(out)
    }
    fn delete(&self, keys: &[String]) -> Result<(), StoreError> { for k in keys { let _ = std::fs::remove_file(self.root.join(k)); } Ok(()) }
    fn place(&self) -> String { self.root.display().to_string() }
    fn local_root(&self) -> Option<&Path> { Some(&self.root) }
}
