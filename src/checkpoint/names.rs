//! The texts of the dictionary, as files in the order of their numbers.
//!
//! A file is an array: a text that stands for itself is a string, the text of a user an object, `{"user": "…"}`, for its key is taken
//! from the user's id.

use super::files::FileEntry;
use super::manifest::Manifest;
use super::restore::checked;
use crate::numbers::Epoch;
use anyhow::Context;
use millrace_connectors::lake::Unfinished;
use millrace_connectors::store::Store;
use millrace_schema::{Collision, Id, Name, Names};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A text of the dictionary, by what its key is taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    Itself(String),
    User { user: String },
}

impl Text {
    /// The text of a name.
    ///
    /// # Panics
    /// Where it is not the text of that name.
    pub fn of(name: Name, text: &str) -> Text {
        if name == Name::of(text) {
            return Text::Itself(text.to_owned());
        }
        assert_eq!(name, Name::of_user(Id::of(text)), "a key is that of a text or of a user");
        Text::User { user: text.to_owned() }
    }

    fn enter(&self, names: &Names) -> Result<(), Collision> {
        match self {
            Text::Itself(text) => names.intern(text).map(drop),
            Text::User { user } => names.enter(Name::of_user(Id::of(user)), user).map(drop),
        }
    }
}

/// Writes texts under a name that no other file has.
///
/// # Errors
/// Where they cannot be written.
pub fn write_texts(store: &Arc<dyn Store>, name: &str, texts: &[Text], epoch: Epoch) -> anyhow::Result<FileEntry> {
    let key = format!("_state/names/{name}.json");
    let bytes = serde_json::to_vec(texts).context("writing names")?;
    let file = Unfinished::of_bytes(store, key.clone(), bytes, texts.len() as u64);
    Ok(FileEntry::of(file.finish().with_context(|| format!("writing {key}"))?, epoch))
}

/// # Errors
/// Where the file cannot be read.
pub fn read_texts(store: &dyn Store, file: &FileEntry) -> anyhow::Result<Vec<Text>> {
    serde_json::from_slice(&checked(store, file)?).with_context(|| format!("reading {}", file.key))
}

/// Enters the texts of a manifest in the dictionary, in their order.
///
/// # Errors
/// Where a file cannot be read.
pub fn load_names(store: &dyn Store, manifest: &Manifest, names: &Names) -> anyhow::Result<()> {
    for file in &manifest.state.names {
        for text in read_texts(store, file)? {
            text.enter(names)?;
        }
    }
    Ok(())
}
