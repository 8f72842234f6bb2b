//! Secrets never reach a terminal, a log or an error message: their values print as `***`.
//!
//! A setting is a secret by its name, so that a new one is covered on the day it is added; so is a property of Kafka's client.
//! In any text, the user and password of a URL are:
//!
//! ```
//! # use millrace::settings::{is_secret, without_url_credentials};
//! assert!(is_secret("warehouse.password") && is_secret("lake.s3.access_key") && is_secret("serve.read_tokens"));
//! assert!(!is_secret("store.currency"));
//! assert_eq!(without_url_credentials("s3://me:hunter2@shop/lake"), "s3://***@shop/lake");
//! ```
//!
//! Who is shown stars may hand them back: a secret of nothing but stars is refused.

use millrace_connectors::source::kafka::is_secret_property;
use std::borrow::Cow;
use toml::Value;

const SECRET_ENDINGS: [&str; 6] = ["password", "passphrase", "token", "tokens", "secret", "key"];
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
        Some((name, value)) if is_secret_property(name.trim()) && !value.is_empty() => format!("{name}={STARS}"),
        Some(_) => without_url_credentials(property).into_owned(),
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
        Value::String(text) => Value::String(without_url_credentials(text).into_owned()),
        Value::Table(table) => {
            Value::Table(table.iter().map(|(key, value)| (key.clone(), redacted(key, value))).collect())
        }
        plain => plain.clone(),
    }
}

/// Whether something of it must not be shown.
pub(super) fn holds_secret(key: &str, value: &Value) -> bool {
    redacted(key, value) != *value
}

/// Whether a secret in it is what [`redacted`] shows in the place of one, or other stars.
pub(super) fn holds_stars(key: &str, value: &Value) -> bool {
    let is_stars = |text: &str| !text.trim().is_empty() && text.trim().bytes().all(|byte| byte == b'*');
    match value {
        Value::Array(items) => items.iter().any(|item| holds_stars(key, item)),
        Value::Table(table) => table.iter().any(|(key, value)| holds_stars(key, value)),
        Value::String(text) if is_secret(key) => is_stars(text),
        Value::String(text) if is_properties(key) => {
            text.split_once('=').is_some_and(|(name, value)| is_secret_property(name.trim()) && is_stars(value))
        }
        Value::String(text) => {
            credentials(text).is_some_and(|found| text[found].rsplit(':').next().is_some_and(is_stars))
        }
        _ => false,
    }
}

/// The text with `***` for what stands before the `@` of a URL, in each that it holds.
pub fn without_url_credentials(text: &str) -> Cow<'_, str> {
    let Some(mut found) = credentials(text) else { return Cow::Borrowed(text) };
    let (mut shown, mut rest) = (String::new(), text);
    loop {
        shown.push_str(&rest[..found.start]);
        shown.push_str(STARS);
        rest = &rest[found.end..];
        match credentials(rest) {
            Some(next) => found = next,
            None => return Cow::Owned(shown + rest),
        }
    }
}

/// Where in a text the user and password of a URL stand, of the first that has some.
pub(super) fn credentials(text: &str) -> Option<std::ops::Range<usize>> {
    const BEFORE: &str = "://";
    let mut from = 0;
    while let Some(at) = text[from..].find(BEFORE) {
        let start = from + at + BEFORE.len();
        let rest = &text[start..];
        let word = &rest[..rest.find(|c: char| c.is_whitespace() || "\"'`<>,".contains(c)).unwrap_or(rest.len())];
        let host = &word[..word.find(['/', '?', '#']).unwrap_or(word.len())];
        // A password with a slash in it, which no URL may have and people paste: no port looks like that.
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let is_cut_off = !host.contains('@') && host.rsplit_once(':').is_some_and(|(_, port)| !is_port(port));
        if let Some(end) = if is_cut_off { word } else { host }.rfind('@').filter(|end| *end > 0) {
            return Some(start..start + end);
        }
        from = start;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: &str) {
        assert_eq!(without_url_credentials(text), shown);
    }

    #[test]
    fn no_url_shows_its_password() {
        check("s3://bucket/prefix", "s3://bucket/prefix");
        check("http://store:9000/a@b", "http://store:9000/a@b");
        check("http://me:hunter2@store:9000/a", "http://***@store:9000/a");
        check("https://hunter2@store?x=1", "https://***@store?x=1");
        check("http://me:hun@ter2@store", "http://***@store");
        check("http://me:hun/ter2@store", "http://***@store");
        check("a http://b:c@d, and e://f and g://h:i@j", "a http://***@d, and e://f and g://***@j");
        check("sasl.oauthbearer.x=https://a:b@c", "sasl.oauthbearer.x=https://***@c");
        check("mail me@home", "mail me@home");
    }

    #[test]
    fn properties_that_are_secret_are_starred_whole() {
        for secret in [
            "sasl.password=hunter2",
            "ssl.key.password=hunter2",
            "ssl.key.pem=-----BEGIN hunter2",
            "ssl.keystore.password = hunter2",
            "sasl.oauthbearer.config=principalClaimName=hunter2",
            "sasl.oauthbearer.client.secret=hunter2",
            "SASL.JAAS.CONFIG=hunter2",
            "sasl.oauthbearer.token.endpoint.url=https://x/?key=hunter2",
            "https.proxy=http://me:hunter2@proxy",
            "hunter2",
        ] {
            let shown = redacted_property(secret);
            assert!(shown.contains(STARS) && !shown.contains("hunter2"), "{secret}: {shown}");
        }
        for plain in
            ["security.protocol=sasl_ssl", "ssl.key.location=/etc/key.pem", "sasl.username=me", "sasl.password="]
        {
            assert_eq!(redacted_property(plain), plain);
        }
    }

    #[test]
    fn stars_are_no_secret() {
        let stars = |key: &str, toml: &str| holds_stars(key, &toml.parse().expect("TOML"));
        for (key, value) in [
            ("serve.read_tokens", "['a', '***']"),
            ("client.token", "'***'"),
            ("client.token", "' ******** '"),
            ("source.kafka.properties", "['a=b', 'sasl.password=***']"),
            ("sinks", "[{ password = '***' }]"),
            ("lake.url", "'s3://***@shop'"),
            ("lake.url", "'s3://me:***@shop'"),
        ] {
            assert!(stars(key, value), "{key} = {value}");
        }
        for (key, value) in [
            ("serve.read_tokens", "['a***', '']"),
            ("client.token", "''"),
            ("source.kafka.properties", "['sasl.username=***']"),
            ("source.start", "'***'"),
            ("lake.url", "'s3://shop/***'"),
        ] {
            assert!(!stars(key, value), "{key} = {value}");
        }
    }
}
