//! Secrets never reach a terminal, a log or an error message: their values print as `***`.
//!
//! A setting is a secret by its name, so that a new one is covered on the day it is added:
//!
//! ```
//! # use millrace::settings::is_secret;
//! assert!(is_secret("warehouse.password") && is_secret("lake.s3.access_key") && is_secret("serve.read_tokens"));
//! assert!(!is_secret("store.currency"));
//! ```

use toml::Value;

const SECRET_ENDINGS: [&str; 5] = ["password", "token", "tokens", "secret", "key"];
const STARS: &str = "***";

/// Whether the value of a key must not be shown. `key` may be dotted; its last part decides.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_ENDINGS.iter().any(|ending| key.ends_with(ending))
}

/// Settings of a library, each as `name=value`, among them its secrets.
fn is_properties(key: &str) -> bool {
    key == "properties" || key.ends_with(".properties")
}

/// As it may be shown: `sasl.password=***`. What has no name may be a secret that was pasted: nothing of it is shown.
pub(super) fn redacted_property(property: &str) -> String {
    match property.split_once('=') {
        Some((name, _)) if is_secret(name.trim()) || name.contains("pem") => format!("{name}={STARS}"),
        Some(_) => property.to_owned(),
        None => STARS.to_owned(),
    }
}

/// The value as it may be shown: secrets are starred, at any depth. An empty secret is shown as empty.
pub fn redacted(key: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if text.is_empty() => value.clone(),
        // A list stays one: of each item a star.
        Value::Array(items) => Value::Array(items.iter().map(|item| redacted(key, item)).collect()),
        _ if is_secret(key) => Value::String(STARS.to_owned()),
        Value::String(text) if is_properties(key) => Value::String(redacted_property(text)),
        Value::Table(table) => {
            Value::Table(table.iter().map(|(key, value)| (key.clone(), redacted(key, value))).collect())
        }
        plain => plain.clone(),
    }
}
