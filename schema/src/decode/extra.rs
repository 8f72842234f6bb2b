//! The leftover fields as one JSON object: keys in byte order, values as they stood.

use super::field::Field;
use super::fields::Fields;
use bumpalo::collections::String;

/// `belongs` is the set of the kind's fields; the known fields outside it are left over too. A `null` is no field.
///
/// The unknown fields of `fields` must be sorted. Empty where nothing is left.
#[inline]
pub fn extra<'a>(fields: &mut Fields<'a>, belongs: u32) -> &'a str {
    let strays = fields.present() & !belongs;
    if strays == 0 && fields.unknown.is_empty() {
        return "";
    }
    write(fields, strays)
}

#[cold]
fn write<'a>(fields: &mut Fields<'a>, strays: u32) -> &'a str {
    for &field in Field::ALL.iter().filter(|field| strays & field.bit() != 0) {
        let raw = fields.raw(field);
        fields.unknown.push((field.name(), raw));
    }
    fields.unknown.sort_unstable();
    let mut object = String::new_in(fields.arena);
    for &(key, raw) in fields.unknown.iter().filter(|(_, raw)| *raw != "null") {
        object.push(if object.is_empty() { '{' } else { ',' });
        push_key(&mut object, key);
        object.push(':');
        object.push_str(raw);
    }
    if !object.is_empty() {
        object.push('}');
    }
    object.into_bump_str()
}

fn push_key(object: &mut String, key: &str) {
    if key.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        object.push_str(&serde_json::to_string(key).expect("a text is always a JSON string"));
        return;
    }
    object.push('"');
    object.push_str(key);
    object.push('"');
}
