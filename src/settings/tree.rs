//! The settings as a tree of TOML values in which every leaf knows its origin.
//!
//! A leaf is anything but a table: a list, also one of tables (`views.funnel.steps`), is set as a whole. The tree
//! starts as the defaults, and a key that they do not hold is unknown.

use super::error::SettingsError;
use super::{Settings, paths, redacted, text};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use toml::{Table, Value};

/// Where the value of a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    /// The variable's whole name.
    Environment(String),
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Environment(variable) => write!(f, "environment {variable}"),
            Origin::Set => f.write_str("--set"),
        }
    }
}

/// One setting: its dotted key, its value (not redacted) and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    pub key: String,
    pub value: Value,
    pub origin: Origin,
}

/// The settings in which two differ, with their values: `store.currency: USD, now EUR`.
///
/// # Errors
/// Never: settings have only types that TOML has.
pub fn differing(then: &Settings, now: &Settings) -> Result<Vec<String>, toml::ser::Error> {
    fn walk(key: &str, then: &Value, now: &Value, found: &mut Vec<String>) {
        match (then, now) {
            (Value::Table(then), Value::Table(now)) => {
                for (name, then) in then {
                    let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                    walk(&key, then, now.get(name).unwrap_or(&Value::Boolean(false)), found);
                }
            }
            _ if then == now => {}
            _ => found.push(format!("{key}: {}, now {}", redacted(key, then), redacted(key, now))),
        }
    }
    let mut found = Vec::new();
    walk("", &Value::try_from(then)?, &Value::try_from(now)?, &mut found);
    Ok(found)
}

/// The layers merged so far. Invariant: `values` deserializes into [`Settings`].
pub(super) struct Tree {
    defaults: Table,
    values: Table,
    /// By dotted key; a leaf that is absent is at its default.
    origins: BTreeMap<String, Origin>,
}

impl Tree {
    pub(super) fn of_defaults() -> Tree {
        let defaults = Table::try_from(Settings::default()).expect("the defaults have only types that TOML has");
        Tree { values: defaults.clone(), defaults, origins: BTreeMap::new() }
    }

    pub(super) fn default_of(&self, key: &str) -> Option<&Value> {
        find(&self.defaults, key)
    }

    /// Lays a value over the tree; a table is laid key by key.
    pub(super) fn lay(&mut self, key: &str, value: Value, origin: &Origin) -> Result<(), SettingsError> {
        let default = self.default_of(key);
        match (default, value) {
            (Some(Value::Table(_)), Value::Table(table)) => {
                table.into_iter().try_for_each(|(name, value)| self.lay(&format!("{key}.{name}"), value, origin))
            }
            (Some(default @ Value::Table(section)), value) => {
                let names: Vec<&str> = section.keys().map(String::as_str).collect();
                let expected = format!("{} with {}", text::expected(default), names.join(", "));
                Err(bad_value(key, &value, origin, expected))
            }
            (Some(_), value) => self.lay_leaf(key, value, origin),
            (None, value) => {
                let key = first_leaf(key, &value);
                let nearest = self.nearest_to(&key);
                Err(SettingsError::UnknownKey { key, origin: origin.clone(), nearest })
            }
        }
    }

    /// Tries the value in the place of the old one: what serde refuses is this leaf's fault alone.
    fn lay_leaf(&mut self, key: &str, value: Value, origin: &Origin) -> Result<(), SettingsError> {
        let value = paths::resolved(key, value, origin);
        let mut probe = self.values.clone();
        *find_mut(&mut probe, key).expect("the values have every key of the defaults") = value.clone();
        match Settings::deserialize(Value::Table(probe.clone())) {
            Ok(_) => {
                self.values = probe;
                self.origins.insert(key.to_owned(), origin.clone());
                Ok(())
            }
            Err(error) => {
                let expected = self.expected(key, &value, error.message());
                Err(bad_value(key, &value, origin, expected))
            }
        }
    }

    /// Serde's own words only where the type is right, and never about a secret: they quote the value.
    fn expected(&self, key: &str, value: &Value, message: &str) -> String {
        let default = self.default_of(key).expect("a leaf that is laid has a default");
        let by_type = text::expected(default);
        if !default.same_type(value) || super::is_secret(key) {
            return by_type.to_owned();
        }
        match value {
            Value::Integer(number) if *number < 0 => format!("{by_type} of 0 or more"),
            Value::Integer(_) => format!("a smaller {}", by_type.trim_start_matches("a ")),
            _ => match message.split_once("expected ") {
                Some((problem, expected)) => format!("{expected} ({})", problem.trim_end_matches([',', ' '])),
                None => format!("{by_type} ({message})"),
            },
        }
    }

    /// The known key most like an unknown one, by its whole path or by its last name alone.
    fn nearest_to(&self, key: &str) -> String {
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let likeness = |known: &str| {
            let whole = strsim::normalized_damerau_levenshtein(key, known);
            let name = strsim::normalized_damerau_levenshtein(&last(key), &last(known));
            // A path that is right but for a letter beats a name that is right in another section.
            whole.max(0.95 * name) + 0.01 * whole
        };
        let known = leaf_keys(&self.defaults).into_iter();
        known.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
    }

    pub(super) fn into_parts(self) -> (Settings, Vec<Leaf>) {
        let leaf = |key: String| Leaf {
            value: find(&self.values, &key).cloned().expect("the values have every key of the defaults"),
            origin: self.origins.get(&key).cloned().unwrap_or(Origin::Default),
            key,
        };
        let leaves = leaf_keys(&self.defaults).into_iter().map(leaf).collect();
        let settings = Settings::deserialize(Value::Table(self.values)).expect("every leaf was tried when it was laid");
        (settings, leaves)
    }
}

pub(super) fn bad_value(key: &str, value: &Value, origin: &Origin, expected: String) -> SettingsError {
    let value = shown(key, value);
    SettingsError::BadValue { key: key.to_owned(), origin: Some(origin.clone()), value, expected }
}

/// A value for a message: without secrets, and short, whatever was pasted.
pub(super) fn shown(key: &str, value: &Value) -> String {
    const CHARS_MAX: usize = 200;
    let text = redacted(key, value).to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// An unknown table is reported by the first setting in it, which says more.
fn first_leaf(key: &str, value: &Value) -> String {
    match value.as_table().and_then(|table| table.iter().next()) {
        Some((name, value)) => first_leaf(&format!("{key}.{name}"), value),
        None => key.to_owned(),
    }
}

fn leaf_keys(table: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(section) => keys.extend(leaf_keys(section).iter().map(|key| format!("{name}.{key}"))),
            _ => keys.push(name.clone()),
        }
    }
    keys
}

fn find<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, rest)) => find(table.get(section)?.as_table()?, rest),
        None => table.get(key),
    }
}

fn find_mut<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut Value> {
    match key.split_once('.') {
        Some((section, rest)) => find_mut(table.get_mut(section)?.as_table_mut()?, rest),
        None => table.get_mut(key),
    }
}
