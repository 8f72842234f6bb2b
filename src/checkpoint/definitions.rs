//! What a start does with each view of a lake: a decision without I/O.
//!
//! ```text
//! definition at the checkpoint ─┬─ the same ──▶ restored
//! definition now ───────────────┤
//!                               ├─ new, or another ──▶ made from the lake's accepted events, while the others are served
//!                               └─ none any more ────▶ dropped
//! ```
//! A definition is a view's version and the settings that its rows depend on (`View::depends_on`). Other settings hold from now on: what
//! they decided before stays as it was decided, and that is said.

use super::manifest::{Manifest, ViewEntry, deciding};
use crate::numbers::Epoch;
use crate::settings::Settings;
use millrace_dataflows::settings::ViewContext;
use millrace_dataflows::views::{View, maintained, view};
use std::collections::{BTreeMap, BTreeSet};

/// The settings that a view's rows depend on, as people read them.
pub type Definition = BTreeMap<String, String>;

/// What becomes of one view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Same,
    New,
    /// Why: `views.funnel.window: 86400s, now 3600s`.
    Changed(Vec<String>),
    Gone,
}

/// What becomes of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redefinition {
    /// In the order in which they are kept; those that are gone at last.
    pub views: Vec<(String, Change)>,
    /// Settings that hold from now on only.
    pub from_now_on: Vec<String>,
}

/// What views are made under: the settings of a running engine.
///
/// # Errors
/// Where a setting does not fit.
pub fn context_of(settings: &Settings) -> anyhow::Result<ViewContext> {
    Ok(ViewContext { horizons: settings.horizons()?, ..settings.validate()?.views })
}

/// The definition of a view under some settings.
pub fn definition_of(view: &dyn View, context: &ViewContext) -> Definition {
    view.depends_on(context).into_iter().map(|(setting, value)| (setting.to_owned(), value)).collect()
}

impl Redefinition {
    /// # Errors
    /// Where the settings, then or now, do not fit; where a later program has written the rows of a view.
    pub fn of(manifest: &Manifest, settings: &Settings) -> anyhow::Result<Redefinition> {
        if manifest.epoch == Epoch::NONE {
            return Ok(Redefinition::default());
        }
        let (then, now) = (context_of(&manifest.settings)?, context_of(settings)?);
        let views: Vec<Box<dyn View>> = maintained(&settings.views.enabled, &now).collect();
        let mut redefinition = Redefinition::default();
        let mut depended_on: BTreeSet<String> = BTreeSet::new();
        for view in &views {
            let definition = definition_of(&**view, &now);
            let change = match manifest.views.iter().find(|entry| entry.name == view.name()) {
                None => Change::New,
                Some(entry) => {
                    anyhow::ensure!(
                        entry.version <= view.version(),
                        "the rows of {} are of version {}, and this program knows version {}: use the program that wrote them, or a later one",
                        entry.name,
                        entry.version,
                        view.version()
                    );
                    compared(entry, &**view, &then, &definition)
                }
            };
            depended_on.extend(definition.into_keys());
            redefinition.views.push((view.name().to_owned(), change));
        }
        let is_kept = |entry: &&ViewEntry| views.iter().any(|view| view.name() == entry.name);
        let gone = manifest.views.iter().filter(|entry| !is_kept(entry));
        redefinition.views.extend(gone.map(|entry| (entry.name.clone(), Change::Gone)));
        let differing = crate::settings::differing(&manifest.settings, &deciding(settings))?;
        redefinition.from_now_on = differing.into_iter().filter(|text| is_of_records(text)).collect();
        Ok(redefinition)
    }

    /// The views that have to be made from the lake's events.
    pub fn made_anew(&self) -> Vec<&str> {
        let is_anew = |change: &Change| matches!(change, Change::New | Change::Changed(_));
        self.views.iter().filter(|(_, change)| is_anew(change)).map(|(name, _)| &**name).collect()
    }

    /// In words: `funnel (views.funnel.window: 86400s, now 3600s), trending (new)`.
    pub fn reasons(&self) -> String {
        let reason = |(name, change): &(String, Change)| match change {
            Change::Same | Change::Gone => None,
            Change::New => Some(format!("{name} (new)")),
            Change::Changed(why) => Some(format!("{name} ({})", why.join("; "))),
        };
        self.views.iter().filter_map(reason).collect::<Vec<_>>().join(", ")
    }
}

/// Whether a setting that differs, as `name: then, now`, decides what becomes of records: what it decided cannot be redone from the lake.
fn is_of_records(differing: &str) -> bool {
    ["decode.", "store.currency", "views.allowed_lateness_ms", "horizons.deduplication"]
        .iter()
        .any(|prefix| differing.starts_with(prefix))
}

fn compared(entry: &ViewEntry, view: &dyn View, then: &ViewContext, now: &Definition) -> Change {
    // An earlier program wrote none: it follows from the settings.
    let written = match entry.definition.is_empty() {
        true => definition_of(view, then),
        false => entry.definition.clone(),
    };
    let mut why = Vec::new();
    if entry.version != view.version() {
        why.push(format!("version {}, now {}", entry.version, view.version()));
    }
    let names: BTreeSet<&String> = written.keys().chain(now.keys()).collect();
    for name in names {
        let of = |definition: &Definition| definition.get(name).cloned().unwrap_or_else(|| "not set".to_owned());
        let (before, after) = (of(&written), of(now));
        if before != after {
            why.push(format!("{name}: {before}, now {after}"));
        }
    }
    if why.is_empty() { Change::Same } else { Change::Changed(why) }
}

/// The definitions of the views of a run, for its manifests.
///
/// # Errors
/// Where a setting does not fit.
pub fn definitions(settings: &Settings, names: &[&str]) -> anyhow::Result<BTreeMap<String, Definition>> {
    let context = context_of(settings)?;
    let of = |name: &&str| {
        let view = view(name, &context)?;
        Some(((*name).to_owned(), definition_of(&*view, &context)))
    };
    Ok(names.iter().filter_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(settings: &Settings, written: bool) -> Manifest {
        let context = context_of(settings).expect("the settings are good");
        let entry = |view: Box<dyn View>| ViewEntry {
            name: view.name().to_owned(),
            version: view.version(),
            definition: if written { definition_of(&*view, &context) } else { Definition::new() },
            rows: 0,
            snapshot: None,
            changes: Vec::new(),
            log: None,
        };
        let views = maintained(&settings.views.enabled, &context).map(entry).collect();
        Manifest { epoch: Epoch(7), views, ..Manifest::empty(settings) }
    }

    fn changed(redefinition: &Redefinition) -> Vec<&str> {
        redefinition.made_anew()
    }

    #[test]
    fn a_view_is_made_anew_where_its_definition_is_another() {
        let before = Settings::default();
        for written in [false, true] {
            let manifest = manifest(&before, written);
            let of = |change: &dyn Fn(&mut Settings)| {
                let mut settings = before.clone();
                change(&mut settings);
                Redefinition::of(&manifest, &settings).expect("the settings are good")
            };
            let nothing = of(&|_| {});
            assert!(changed(&nothing).is_empty() && nothing.from_now_on.is_empty(), "{nothing:?}");
            let window = of(&|settings| settings.views.funnel.window = "1h".to_owned());
            assert_eq!(changed(&window), ["funnel"]);
            assert_eq!(window.reasons(), "funnel (views.funnel.window: 86400s, now 3600s)");
            let zone = of(&|settings| settings.store.time_zone = "Asia/Kathmandu".to_owned());
            assert_eq!(changed(&zone), ["sales", "funnel", "traffic"]);
            let list = of(&|settings| settings.views.related_products.list_length = 7);
            assert_eq!(changed(&list), ["related_products"]);
            // Scores are worked out when an answer is read.
            let read = of(&|settings| settings.views.related_products.min_together = 1);
            assert!(changed(&read).is_empty());
            let more = of(&|settings| settings.views.enabled.push("customers".to_owned()));
            assert_eq!(more.reasons(), "customers (new)");
            let fewer = of(&|settings| settings.views.enabled.retain(|view| view != "sales"));
            assert!(changed(&fewer).is_empty());
            assert!(fewer.views.contains(&("sales".to_owned(), Change::Gone)));
            // Its counts are of records that are not there any more.
            let quality = of(&|settings| settings.views.enabled.retain(|view| view != "quality"));
            assert!(quality.views.contains(&("quality".to_owned(), Change::Same)));
            let decode = of(&|settings| settings.decode.max_record_bytes = 77);
            assert!(changed(&decode).is_empty());
            assert_eq!(decode.from_now_on.len(), 1, "{decode:?}");
        }
    }

    #[test]
    fn another_version_is_another_definition() {
        let settings = Settings::default();
        let mut manifest = manifest(&settings, true);
        manifest.views[1].version = 1;
        let redefinition = Redefinition::of(&manifest, &settings).expect("the settings are good");
        assert_eq!(redefinition.reasons(), "funnel (version 1, now 2)");
    }
}
