//! Views whose definitions have changed are made from the lake's accepted events, and put in with one checkpoint.
//!
//! ```text
//! newest manifest ─▶ which views ─▶ claim ─▶ events of the lake through the dataflow of these views ─▶ one checkpoint
//!                    the others, positions, the quarantine and quality's history stay as they are ─────┘
//! ```
//! Until that checkpoint the lake is as it was: whoever is killed before begins anew. The state is written with it from the same events,
//! for it was compacted under the settings of before.

use super::repair::{PendingSource, pass, wait};
use crate::checkpoint::{Lake, Manifest, Mode, Needs, Redefinition, check_whole, files_of, open_store, read_newest};
use crate::live::{Plan, Redefine, start_with};
use crate::numbers::Generation;
use crate::serve::Building;
use crate::settings::Settings;
use anyhow::Context;
use std::sync::Arc;

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redefined {
    pub views: Vec<String>,
    /// Accepted events that they were made from.
    pub events: u64,
    /// Under which the lake was taken over.
    pub generation: Generation,
}

/// Makes the views of a lake whose definitions are others under these settings. `building` says how far it is. `None` where
/// `should_stop` came first: then the lake is as it was.
///
/// # Errors
/// Where the lake does not hold all accepted events: then it is not taken over. Where it cannot be read or written.
pub fn redefine(
    place: &str,
    settings: &Settings,
    building: &Arc<Building>,
    should_stop: &dyn Fn() -> bool,
) -> anyhow::Result<Option<Redefined>> {
    let validated = settings.validate_live()?.validated;
    let store = open_store(place, settings)?;
    let fits = |manifest: &Manifest| {
        let why = format!("{} cannot be made", Redefinition::of(manifest, settings)?.reasons());
        check_whole(place, manifest, &files_of(&*store, manifest)?).context(why)
    };
    let (newest, _) = read_newest(&*store, &mut |_| {})?;
    fits(&newest)?;
    let lake = Lake::claim_if(place, settings, None, Needs::Events, &fits)?;
    let redefinition = Redefinition::of(&lake.manifest, settings)?;
    let views: Vec<String> = redefinition.made_anew().into_iter().map(str::to_owned).collect();
    let (generation, accepted) = (lake.manifest.generation, lake.manifest.accounted.accepted);
    let events = u64::try_from(accepted).unwrap_or(0);
    building.begin(events);
    // What was accepted was decoded under the settings of then, and is not judged anew.
    let validated = crate::settings::Validated { decode: lake.manifest.settings.validate()?.decode, ..validated };
    let plan = Plan {
        redefine: Some(Redefine { views: views.clone(), building: building.clone() }),
        ..pass(lake, Mode::Continue, validated, settings, settings.live.workers, true)
    };
    let live = start_with(settings, plan, |resume| Ok(Box::new(PendingSource::new(Vec::new(), resume))))?;
    Ok(wait(live, should_stop)?.map(|_| Redefined { views, events, generation }))
}
