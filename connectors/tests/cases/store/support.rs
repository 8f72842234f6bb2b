//! What all stores are asked.

use bytes::Bytes;
use millrace_connectors::store::{Local, Put, Store, StoreError, Upload};
use std::sync::Arc;
use tempfile::TempDir;

/// A local store in a folder that goes with the test.
pub fn local() -> (TempDir, Arc<dyn Store>) {
    let folder = TempDir::new().unwrap();
    let store = Local::new(folder.path(), true);
    (folder, Arc::new(store))
}

pub fn put(store: &dyn Store, key: &str, text: &str) {
    store.put(key, Bytes::from(text.to_owned())).unwrap();
}

pub fn put_new(store: &dyn Store, key: &str, text: &str) -> Result<Put, StoreError> {
    store.put_if_absent(key, Bytes::from(text.to_owned()))
}

pub fn get(store: &dyn Store, key: &str) -> String {
    String::from_utf8(store.get(key).unwrap().to_vec()).unwrap()
}

pub fn is_there(store: &dyn Store, key: &str) -> bool {
    match store.get(key) {
        Ok(_) => true,
        Err(error) => {
            assert!(error.is_not_found(), "{error}");
            false
        }
    }
}

pub fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    store.list(prefix).unwrap().into_iter().map(|entry| entry.key).collect()
}

pub fn upload(store: &dyn Store, key: &str, pieces: &[&[u8]]) -> Box<dyn Upload> {
    let mut upload = store.create(key).unwrap();
    for piece in pieces {
        upload.write_all(piece).unwrap();
    }
    upload
}
