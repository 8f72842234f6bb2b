//! What the views depend on besides the events.

use millrace_schema::calendar::{Calendar, MICROS_PER_DAY, UnknownTimeZone};
use millrace_schema::{Kind, Page};
use serde::{Deserialize, Serialize};

/// Settings of the views, as a user writes them under `[views]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewSettings {
    /// The views to maintain, by name.
    pub enabled: Vec<String>,
    /// How far behind the largest event time an event may be before it counts as late, in milliseconds.
    pub allowed_lateness_ms: i64,
    pub funnel: FunnelSettings,
    pub related_products: RelatedSettings,
    pub trending: TrendingSettings,
}

impl Default for ViewSettings {
    fn default() -> ViewSettings {
        let context = ViewContext::default();
        let enabled = crate::views::all(&context).filter(|view| view.definition().by_default);
        ViewSettings {
            enabled: enabled.map(|view| view.name().to_owned()).collect(),
            allowed_lateness_ms: 600_000,
            funnel: FunnelSettings::default(),
            related_products: RelatedSettings::default(),
            trending: TrendingSettings::default(),
        }
    }
}

/// Whose events make a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FunnelUnit {
    #[default]
    Session,
    /// Guests are left out.
    User,
}

impl FunnelUnit {
    pub fn as_str(self) -> &'static str {
        match self {
            FunnelUnit::Session => "session",
            FunnelUnit::User => "user",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FunnelSettings {
    pub unit: FunnelUnit,
    /// At most 8, the last and the first mandatory.
    pub steps: Vec<Step>,
    /// How long after its first event a chain may go on: `unlimited`, or a number with `s`, `m`, `h` or `d`.
    pub window: String,
    /// The events of a session that count, the earliest in event time.
    pub max_events_per_session: usize,
}

/// One step of the funnel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub name: String,
    /// What matches: `page_view`, `page_view:<page>`, `add_to_cart`, `remove_from_cart`, `checkout_started`,
    /// `purchase` (a sold line).
    pub events: Vec<String>,
    #[serde(default)]
    pub optional: bool,
}

impl Default for FunnelSettings {
    fn default() -> FunnelSettings {
        let step = |name: &str, events: &[&str], optional| Step {
            name: name.to_owned(),
            events: events.iter().map(|&event| event.to_owned()).collect(),
            optional,
        };
        FunnelSettings {
            unit: FunnelUnit::Session,
            steps: vec![
                step("view", &["page_view"], false),
                step("product_view", &["page_view:product_detail"], false),
                step("cart", &["add_to_cart"], false),
                step("checkout", &["checkout_started", "page_view:checkout"], true),
                step("purchase", &["purchase"], false),
            ],
            window: "24h".to_owned(),
            max_events_per_session: 10_000,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelatedSettings {
    /// The length of a list.
    pub list_length: usize,
    /// The products of a session (or order) that count, the most recently touched.
    pub max_products_per_session: usize,
    /// How many of a product's largest `n_ab` a list by a score is chosen from.
    pub candidates: usize,
    /// The least `n_ab` of a pair in a list by a score.
    pub min_together: u32,
}

impl Default for RelatedSettings {
    fn default() -> RelatedSettings {
        RelatedSettings { list_length: 10, max_products_per_session: 50, candidates: 200, min_together: 3 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrendingSettings {
    /// After how long an hour counts half as much in a score: a number with `s`, `m`, `h` or `d`. No row depends on it.
    pub half_life: String,
}

impl Default for TrendingSettings {
    fn default() -> TrendingSettings {
        TrendingSettings { half_life: "24h".to_owned() }
    }
}

impl TrendingSettings {
    /// The half-life in microseconds.
    ///
    /// # Errors
    /// [`SettingError::Bad`] naming the setting to change.
    pub fn half_life_micros(&self) -> Result<i64, SettingError> {
        parse_span(&self.half_life).flatten().ok_or_else(|| SettingError::Bad {
            setting: "views.trending.half_life",
            value: self.half_life.clone(),
            expected: "a number with s, m, h or d, such as 24h: up to 36600d".to_owned(),
        })
    }
}

/// A setting that cannot be used as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    #[error("{setting} = {value:?}: {expected}")]
    Bad { setting: &'static str, value: String, expected: String },
    #[error("store.time_zone: {0}")]
    TimeZone(#[from] UnknownTimeZone),
}

/// A matcher of a step, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matcher {
    Kind(Kind),
    Page(Page),
}

/// The funnel's settings, parsed: a value of this type is usable.
#[derive(Clone, Debug, PartialEq)]
pub struct FunnelPlan {
    pub unit: FunnelUnit,
    pub steps: Vec<StepPlan>,
    /// `None` is unlimited.
    pub window_micros: Option<i64>,
    pub max_events: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StepPlan {
    pub name: String,
    pub matchers: Vec<Matcher>,
    pub optional: bool,
}

/// `cart (add_to_cart)`, `checkout? (checkout_started or page_view:checkout)`.
impl std::fmt::Display for StepPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let matchers: Vec<String> = self
            .matchers
            .iter()
            .map(|matcher| match matcher {
                Matcher::Kind(kind) => kind.as_str().to_owned(),
                Matcher::Page(page) => format!("page_view:{}", page.as_str()),
            })
            .collect();
        write!(f, "{}{} ({})", self.name, if self.optional { "?" } else { "" }, matchers.join(" or "))
    }
}

pub const MAX_FUNNEL_STEPS: usize = 8;

impl FunnelSettings {
    /// # Errors
    /// [`SettingError::Bad`] naming the setting to change.
    pub fn plan(&self) -> Result<FunnelPlan, SettingError> {
        let bad = |setting, value: &str, expected: &str| SettingError::Bad {
            setting,
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        if self.steps.len() < 2 || self.steps.len() > MAX_FUNNEL_STEPS {
            return Err(bad("views.funnel.steps", &self.steps.len().to_string(), "between 2 and 8 steps"));
        }
        if self.steps.first().is_some_and(|step| step.optional) || self.steps.last().is_some_and(|step| step.optional) {
            return Err(bad("views.funnel.steps", "optional", "the first and the last step are mandatory"));
        }
        if self.max_events_per_session == 0 {
            return Err(bad("views.funnel.max_events_per_session", "0", "at least 1"));
        }
        let mut steps: Vec<StepPlan> = Vec::new();
        for step in &self.steps {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if step.name.is_empty() || !step.name.chars().all(good) || steps.iter().any(|known| known.name == step.name)
            {
                return Err(bad("views.funnel.steps.name", &step.name, "a name of its own of a-z, 0-9 and _"));
            }
            let matchers: Option<Vec<Matcher>> = step.events.iter().map(|text| Matcher::parse(text)).collect();
            let matchers = matchers.filter(|matchers| !matchers.is_empty());
            let matchers = matchers.ok_or_else(|| {
                bad(
                    "views.funnel.steps.events",
                    &step.events.join(", "),
                    "page_view, page_view:<page>, add_to_cart, remove_from_cart, checkout_started or purchase",
                )
            })?;
            steps.push(StepPlan { name: step.name.clone(), matchers, optional: step.optional });
        }
        let window_micros = parse_span(&self.window).ok_or_else(|| {
            bad(
                "views.funnel.window",
                &self.window,
                "unlimited, or a number with s, m, h or d, such as 24h: up to 36600d",
            )
        })?;
        Ok(FunnelPlan { unit: self.unit, steps, window_micros, max_events: self.max_events_per_session })
    }
}

impl Matcher {
    fn parse(text: &str) -> Option<Matcher> {
        if let Some(page) = text.strip_prefix("page_view:") {
            return Page::parse(page).map(Matcher::Page);
        }
        let kind = Kind::parse(text)?;
        let in_session = !kind.is_dimension() && kind != Kind::Refund;
        in_session.then_some(Matcher::Kind(kind))
    }
}

/// A hundred years: what is longer is a mistake in the unit, and an instant so far from an event's is still one of a calendar.
const SPAN_MICROS_MAX: i64 = 36_600 * MICROS_PER_DAY;

/// A length of time in microseconds, as a user writes it. `unlimited` is `Some(None)`; what does not parse is `None`.
pub fn parse_span(text: &str) -> Option<Option<i64>> {
    if text == "unlimited" {
        return Some(None);
    }
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number: i64 = text[..text.len() - 1].parse().ok()?;
    let micros = number.checked_mul(seconds)?.checked_mul(1_000_000)?;
    (number > 0 && micros <= SPAN_MICROS_MAX).then_some(Some(micros))
}

/// What [`parse_span`] reads as that time.
pub fn span_text(micros: Option<i64>) -> String {
    micros.map_or("unlimited".to_owned(), |micros| format!("{}s", micros / 1_000_000))
}

/// How long after its time an event may still come and be merged at once: behind that, what is needed to merge it is
/// forgotten. Microseconds behind the watermark; `None` forgets nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Horizons {
    pub deduplication: Option<i64>,
    pub sessions: Option<i64>,
}

impl Horizons {
    pub const NONE: Horizons = Horizons { deduplication: None, sessions: None };

    pub fn any(&self) -> bool {
        self.deduplication.is_some() || self.sessions.is_some()
    }

    /// No event id older than this is remembered.
    pub fn deduplication_limit(&self, watermark: i64) -> i64 {
        self.deduplication.map_or(i64::MIN, |horizon| watermark.saturating_sub(horizon))
    }

    /// No visit whose last event is older than this is remembered: what comes yet is later than it by more than a pause.
    pub fn session_limit(&self, watermark: i64) -> i64 {
        self.pause().map_or(i64::MIN, |pause| self.limit(Kind::PageView, watermark).saturating_sub(pause))
    }

    /// Events of one session that are further apart, with none between them, are of two visits, and each counts as a session.
    pub fn pause(&self) -> Option<i64> {
        self.sessions
    }

    /// An event of this kind is pending where it is older. Dimension records never are.
    pub fn limit(&self, kind: Kind, watermark: i64) -> i64 {
        let of_session = match kind {
            Kind::Product | Kind::User | Kind::Inventory => return i64::MIN,
            Kind::Refund => i64::MIN,
            Kind::PageView | Kind::AddToCart | Kind::RemoveFromCart | Kind::CheckoutStarted | Kind::Purchase => {
                self.sessions.map_or(i64::MIN, |horizon| watermark.saturating_sub(horizon))
            }
        };
        of_session.max(self.deduplication_limit(watermark))
    }
}

/// What every view is built from: the store's calendar and the parsed settings.
#[derive(Clone, Debug)]
pub struct ViewContext {
    pub calendar: Calendar,
    pub default_currency: millrace_schema::Currency,
    pub allowed_lateness_micros: i64,
    pub funnel: FunnelPlan,
    pub related: RelatedSettings,
    pub trending_half_life_micros: i64,
    pub horizons: Horizons,
}

/// With every setting as it is where nothing is said, and no horizons.
impl Default for ViewContext {
    fn default() -> ViewContext {
        ViewContext {
            calendar: Calendar::utc(),
            default_currency: millrace_schema::Currency::USD,
            allowed_lateness_micros: 600_000_000,
            funnel: FunnelSettings::default().plan().expect("the defaults are usable"),
            related: RelatedSettings::default(),
            trending_half_life_micros: TrendingSettings::default().half_life_micros().expect("the default is usable"),
            horizons: Horizons::NONE,
        }
    }
}

impl ViewContext {
    /// The setting of the calendar, for [`crate::views::View::depends_on`].
    pub fn time_zone(&self) -> (&'static str, String) {
        ("store.time_zone", self.calendar.zone().to_owned())
    }

    /// The setting that cuts sessions, likewise.
    pub fn session_gap(&self) -> (&'static str, String) {
        let gap = span_text(self.horizons.pause());
        ("horizons.sessions", gap)
    }
}
