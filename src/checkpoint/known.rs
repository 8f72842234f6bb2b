//! A manifest that another program has written: what is passed over of it, and what may not be.
//!
//! ```text
//! body ──▶ features that it requires ── one that is not known ──▶ refused, by its name
//!     └──▶ fields ── not known ──▶ passed over       settings ── not known ──▶ passed over
//! ```
//! A program may leave out, and lose when it goes on, what it does not know: so whoever adds a field whose loss would make anything
//! wrong, or a setting that decides an answer, names a *feature* in `requires` as long as it is in use. A change of what is there
//! already needs one, too, or another version.

use crate::settings::Settings;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Features that this program reads and keeps to. There have been none yet.
const FEATURES: [&str; 0] = [];

#[derive(Deserialize)]
struct Requires {
    #[serde(default)]
    requires: Vec<String>,
}

/// The first feature that a manifest's body requires and this program does not know.
///
/// # Errors
/// Where it is no such body.
pub fn unknown_feature(body: &str) -> serde_json::Result<Option<String>> {
    let Requires { requires } = serde_json::from_str(body)?;
    Ok(requires.into_iter().find(|feature| !FEATURES.contains(&feature.as_str())))
}

/// Reads the settings of a manifest: those that this program does not know are passed over. In a file of a user they are an error.
///
/// # Errors
/// Where one that it knows has a value of another type.
pub fn settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Settings, D::Error> {
    let mut given = Value::deserialize(deserializer)?;
    let known = serde_json::to_value(Settings::default()).map_err(D::Error::custom)?;
    retain_known(&mut given, &known);
    serde_json::from_value(given).map_err(D::Error::custom)
}

/// Takes away the keys that the defaults do not have: these are the list of all there are. What a list holds is like its first by
/// default.
fn retain_known(given: &mut Value, known: &Value) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            given.retain(|key, _| known.contains_key(key));
            given.iter_mut().for_each(|(key, value)| retain_known(value, &known[key]));
        }
        (Value::Array(given), Value::Array(known)) => {
            let Some(first) = known.first() else { return };
            given.iter_mut().for_each(|value| retain_known(value, first));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Manifest;
    use crate::checkpoint::manifest::{Unreadable, signed};

    fn body_of(manifest: &Manifest) -> Value {
        let text = String::from_utf8(manifest.to_bytes()).expect("text");
        serde_json::from_str(text.split_once('\n').expect("a head").1).expect("JSON")
    }

    fn read(body: &Value) -> Result<Manifest, Unreadable> {
        Manifest::of_bytes(&signed(&body.to_string()))
    }

    fn manifest() -> Manifest {
        let mut manifest =
            Manifest { number: 7, epoch: crate::numbers::Epoch(3), ..Manifest::empty(&Settings::default()) };
        manifest.settings.views.funnel.window = "7d".to_owned();
        manifest
    }

    #[test]
    fn what_a_later_program_has_added_is_passed_over() {
        let mut body = body_of(&manifest());
        body["lines"] = 1.into();
        body["state"]["sketches"] = serde_json::json!([{ "key": "_state/sketches/g000001-c-000001.hll" }]);
        body["accounted"]["late"] = 3.into();
        body["settings"]["views"]["customers"] = serde_json::json!({ "segments": ["new"] });
        body["settings"]["views"]["funnel"]["attribution"] = "last".into();
        body["settings"]["views"]["funnel"]["steps"][0]["weight"] = 2.into();
        body["settings"]["sinks"] = serde_json::json!({ "kind": "snowflake" });
        assert_eq!(read(&body).expect("it is read"), manifest());
    }

    #[test]
    fn a_feature_that_is_not_known_is_refused_by_its_name_whatever_else_there_is() {
        let mut body = body_of(&manifest());
        body["requires"] = serde_json::json!(["rows_by_month"]);
        body["views"] = "another type".into();
        match read(&body) {
            Err(Unreadable::OfAnotherVersion(reason)) => assert!(reason.contains("\"rows_by_month\""), "{reason}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_setting_of_another_type_and_an_unknown_variant_are_errors_that_name_them() {
        let mut of_settings = body_of(&manifest());
        of_settings["settings"]["views"]["funnel"]["unit"] = "household".into();
        let mut of_mark = body_of(&manifest());
        of_mark["sources"]["partitions"] = serde_json::json!([{
            "source": "a", "partition": 0, "path": "a", "next_offset": 1, "latest": null, "mark": { "lsn": 7 }
        }]);
        for (body, name) in [(of_settings, "household"), (of_mark, "lsn")] {
            match read(&body) {
                Err(Unreadable::OfAnotherVersion(reason)) => assert!(reason.contains(name), "{reason}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_user_is_told_of_a_setting_that_is_not_known() {
        let text = serde_json::json!({ "views": { "funnel": { "attribution": "last" } } });
        let error = serde_json::from_value::<Settings>(text).expect_err("it is a mistake").to_string();
        assert!(error.contains("attribution"), "{error}");
    }

    #[test]
    fn the_settings_of_a_manifest_are_read_as_they_were_written() {
        let mut given = manifest();
        given.settings.views.funnel.steps.truncate(2);
        given.settings.store.time_zone = "Europe/Berlin".to_owned();
        given.settings.views.enabled = vec!["sales".to_owned()];
        assert_eq!(Manifest::of_bytes(&given.to_bytes()).expect("it is whole"), given);
    }
}
