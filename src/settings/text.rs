//! The value of an environment variable or of `--set`: TOML where it is TOML, else a text.
//!
//! The default of a setting says what its text means, so that nothing needs quotes that a shell would eat:
//! a text setting takes the words as they stand, a list of texts takes `sales,funnel`.

use toml::Value;

/// What `text` means for a setting whose default is `default`.
pub(super) fn parse(text: &str, default: Option<&Value>) -> Value {
    let parsed = text.parse::<Value>().ok();
    match (default, parsed) {
        (Some(Value::String(_)), Some(Value::String(parsed))) => Value::String(parsed),
        (Some(Value::String(_)), _) => Value::String(text.to_owned()),
        (Some(Value::Array(_)), Some(Value::Array(parsed))) => Value::Array(parsed),
        (Some(Value::Array(default)), parsed) if holds_texts(default) && !text.trim_start().starts_with('[') => {
            match parsed {
                Some(Value::String(one)) => Value::Array(vec![Value::String(one)]),
                _ => split(text),
            }
        }
        (_, Some(parsed)) => parsed,
        (_, None) => Value::String(text.to_owned()),
    }
}

fn holds_texts(default: &[Value]) -> bool {
    default.iter().all(Value::is_str)
}

fn split(text: &str) -> Value {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
}

/// What a setting of this default takes, for a message.
pub(super) fn expected(default: &Value) -> &'static str {
    match default {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date or time",
        Value::Array(items) if holds_texts(items) => "a list of texts such as [\"a\", \"b\"]",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}
