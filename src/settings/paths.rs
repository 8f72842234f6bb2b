//! A path in a settings file is relative to that file: the file says the same wherever the program is started. On the command line and
//! in the environment it is relative to the working directory, as a shell completes it.

use super::tree::{Leaf, Origin};
use std::path::{Path, PathBuf};
use toml::Value;

/// The settings that are one path. Lists of logs keep their texts, which are the names of sources: see [`base_of`].
fn is_path(key: &str) -> bool {
    key == "lake.url" || key.ends_with("_file")
}

/// A path of a settings file as it is from here.
pub(super) fn resolved(key: &str, value: Value, origin: &Origin) -> Value {
    match (&value, folder_of(origin)) {
        (Value::String(text), Some(folder)) if is_path(key) && is_relative(text) => {
            Value::String(folder.join(text).display().to_string())
        }
        _ => value,
    }
}

/// What relative paths of a setting start from; empty: the working directory.
pub(super) fn base_of(leaves: &[Leaf], key: &str) -> PathBuf {
    let leaf = leaves.iter().find(|leaf| leaf.key == key);
    leaf.and_then(|leaf| folder_of(&leaf.origin)).unwrap_or_default()
}

/// The folder of a settings file that is not in the working directory.
fn folder_of(origin: &Origin) -> Option<PathBuf> {
    let Origin::File(file) = origin else { return None };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty())?;
    Some(std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()))
}

/// Not of a URL, nor of what was meant to be one.
fn is_relative(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    !text.is_empty() && !first.contains(':') && Path::new(text).is_relative()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_file_are_beside_it() {
        let file = |path: &str| Origin::File(path.into());
        let path = |key: &str, text: &str, origin: &Origin| {
            resolved(key, Value::String(text.to_owned()), origin).as_str().expect("a text").to_owned()
        };
        let conf = file("/etc/shop/millrace.toml");
        assert_eq!(path("lake.url", "lake", &conf), "/etc/shop/lake");
        assert_eq!(path("serve.tls_key_file", "keys/a.key", &conf), "/etc/shop/keys/a.key");
        for untouched in ["", "/var/lake", "s3://shop/lake", "s3:/shop"] {
            assert_eq!(path("lake.url", untouched, &conf), untouched);
        }
        assert_eq!(path("store.currency", "EUR", &conf), "EUR");
        assert_eq!(path("lake.url", "lake", &file("millrace.toml")), "lake");
        assert_eq!(path("lake.url", "lake", &Origin::Set), "lake");
        assert_eq!(path("lake.url", "lake", &Origin::Environment("MILLRACE_LAKE__URL".to_owned())), "lake");
    }
}
