//! From settings of the right shape to what runs: limits hold, names are known, texts are parsed.

use super::Settings;
use super::error::SettingsError;
use super::secret::{credentials, redacted_property};
use super::tree::shown;
use crate::memory;
use millrace_connectors::source::Start;
use millrace_dataflows::settings::{FunnelUnit, Horizons, SettingError, ViewContext, parse_span};
use millrace_dataflows::views::VIEWS;
use millrace_schema::calendar::{Calendar, parse_rfc3339};
use millrace_schema::decode::DecodeSettings;
use millrace_schema::{Currency, Kind};
use toml::Value;

/// Settings that an engine can run under.
#[derive(Clone, Debug)]
pub struct ValidatedLive {
    pub validated: Validated,
    pub start: Start,
}

/// The views that `views.enabled` may name.
fn views() -> Vec<&'static str> {
    VIEWS.iter().map(|(name, _)| *name).collect()
}

const MICROS_PER_MILLISECOND: i64 = 1_000;
/// A hundred years: what is larger is a mistake in the unit.
const MILLISECONDS_MAX: i64 = 100 * 366 * 86_400_000;
const WORKERS_MAX: usize = 1_024;
/// Below what an epoch can hold, by what one chunk may bring beyond it.
const EPOCH_RECORDS_MAX: usize = 4_000_000;
/// Below what a reader keeps of a line (`ReadOptions::max_line_bytes`), or a line that was cut could pass for a whole one.
const RECORD_BYTES_MAX: usize = (16 << 20) - 1;

/// Settings that can be run.
#[derive(Clone, Debug)]
pub struct Validated {
    pub views: ViewContext,
    pub decode: DecodeSettings,
}

impl Settings {
    /// What running needs beyond a replay: horizons, and a source that can be opened.
    ///
    /// # Errors
    /// [`SettingsError::BadValue`] naming the setting to change.
    pub fn validate_live(&self) -> Result<ValidatedLive, SettingsError> {
        let mut validated = self.validate()?;
        self.kafka_out.check(self).map_err(|(key, value, expected)| bad(&key, value, &expected))?;
        let horizons = self.horizons()?;
        if horizons.sessions.is_some() && validated.views.funnel.unit == FunnelUnit::User {
            let expected = "unlimited, where views.funnel.unit is user: what a user does has no end";
            return Err(bad("horizons.sessions", self.horizons.sessions.as_str(), expected));
        }
        validated.views.horizons = horizons;
        Ok(ValidatedLive { validated, start: self.start()? })
    }

    /// Whether a running engine merges what is pending: for that it needs all accepted events.
    pub fn repairs_itself(&self) -> bool {
        let lake = &self.lake;
        lake.repair_every_ms > 0 && !lake.url.is_empty() && lake.events && lake.keep_days == 0
    }

    /// What a running engine forgets behind.
    ///
    /// # Errors
    /// [`SettingsError::BadValue`] naming the setting to change.
    pub fn horizons(&self) -> Result<Horizons, SettingsError> {
        Ok(Horizons {
            deduplication: horizon("horizons.deduplication", &self.horizons.deduplication)?,
            sessions: horizon("horizons.sessions", &self.horizons.sessions)?,
        })
    }

    /// What memory the process may have, in bytes; `None` where that is unlimited.
    ///
    /// # Errors
    /// [`SettingsError::BadValue`] naming the setting to change.
    pub fn memory_limit(&self) -> Result<Option<u64>, SettingsError> {
        const LEAST: u64 = 16_000_000;
        let text = self.limits.memory.as_str();
        if text == "auto" {
            return Ok(memory::available());
        }
        let limit = memory::parse(text).filter(|limit| limit.is_none_or(|bytes| bytes >= LEAST));
        limit.ok_or_else(|| {
            bad("limits.memory", text, "auto, unlimited, or at least 16MB: a number with MB, GB, MiB or GiB")
        })
    }

    fn start(&self) -> Result<Start, SettingsError> {
        match self.source.start.as_str() {
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            text => parse_rfc3339(text).map(Start::Timestamp).ok_or_else(|| {
                bad("source.start", text, "earliest, latest, or an instant such as 2019-10-01T07:00:00Z")
            }),
        }
    }

    /// # Errors
    /// [`SettingsError::BadValue`] naming the setting to change.
    pub fn validate(&self) -> Result<Validated, SettingsError> {
        self.check_limits()?;
        self.check_views()?;
        if self.limits.memory != "auto" {
            self.memory_limit()?;
        }
        self.serve.check().map_err(|(name, value, expected)| bad(&format!("serve.{name}"), value, &expected))?;
        self.metrics.address().map_err(|expected| bad("metrics.address", self.metrics.address.as_str(), expected))?;
        let calendar = Calendar::of(&self.store.time_zone).map_err(|_| {
            bad("store.time_zone", self.store.time_zone.as_str(), "an IANA time zone such as Europe/London")
        })?;
        let default_currency = Currency::parse(&self.store.currency)
            .ok_or_else(|| bad("store.currency", self.store.currency.as_str(), "an ISO 4217 code such as USD"))?;
        let views = ViewContext {
            calendar,
            default_currency,
            allowed_lateness_micros: self.views.allowed_lateness_ms * MICROS_PER_MILLISECOND,
            funnel: self.views.funnel.plan().map_err(of_views)?,
            related: self.views.related_products.clone(),
            trending_half_life_micros: self.views.trending.half_life_micros().map_err(of_views)?,
            horizons: Horizons::NONE,
        };
        let decode = DecodeSettings {
            max_record_bytes: self.decode.max_record_bytes,
            default_kind: self.default_kind()?,
            default_currency,
            max_future_micros: self.decode.max_future_ms * MICROS_PER_MILLISECOND,
        };
        Ok(Validated { views, decode })
    }

    fn check_limits(&self) -> Result<(), SettingsError> {
        let related = &self.views.related_products;
        within("replay.workers", self.replay.workers, 1, WORKERS_MAX)?;
        within("replay.epoch_records", self.replay.epoch_records, 1, EPOCH_RECORDS_MAX)?;
        within("replay.epochs_in_flight", self.replay.epochs_in_flight, 1, usize::MAX)?;
        within("decode.max_record_bytes", self.decode.max_record_bytes, 2, RECORD_BYTES_MAX)?;
        within("lake.events_file_rows", self.lake.events_file_rows, 1, usize::MAX)?;
        within("views.related_products.max_products_per_session", related.max_products_per_session, 1, usize::MAX)?;
        within("views.related_products.candidates", related.candidates, 1, usize::MAX)?;
        within("views.related_products.list_length", related.list_length, 1, related.candidates)?;
        let cluster = &self.cluster;
        within("cluster.silence_ms", cluster.silence_ms as usize, 500, 3_600_000)?;
        within("cluster.connect_ms", cluster.connect_ms as usize, 1_000, 3_600_000)?;
        within("cluster.restart_ms", cluster.restart_ms as usize, 10, 3_600_000)?;
        within("cluster.restart_most_ms", cluster.restart_most_ms as usize, cluster.restart_ms as usize, 3_600_000)?;
        within("lake.checkpoint_ms", self.lake.checkpoint_ms as usize, 10, 86_400_000)?;
        within("lake.merge_state_rows", self.lake.merge_state_rows, 1, usize::MAX)?;
        within("lake.target_file_bytes", self.lake.target_file_bytes as usize, 1, 1 << 30)?;
        within("lake.keep_days", self.lake.keep_days, 0, 36_600)?;
        within("lake.repair_every_ms", self.lake.repair_every_ms as usize, 0, 31_536_000_000)?;
        within("lake.s3.part_bytes", self.lake.s3.part_bytes, 5 << 20, 5 << 30)?;
        within("lake.s3.parts_in_flight", self.lake.s3.parts_in_flight, 1, 1_000)?;
        within("lake.s3.timeout_ms", self.lake.s3.timeout_ms as usize, 100, 86_400_000)?;
        within("lake.keep_checkpoints", self.lake.keep_checkpoints, 1, 1_000_000)?;
        within("live.workers", self.live.workers, 1, WORKERS_MAX)?;
        within("live.epoch_records", self.live.epoch_records, 1, EPOCH_RECORDS_MAX)?;
        within("live.epochs_in_flight", self.live.epochs_in_flight, 1, 1_000)?;
        within("live.tick_ms", self.live.tick_ms as usize, 1, 60_000)?;
        within("live.behind_tick_ms", self.live.behind_tick_ms as usize, 1, 60_000)?;
        within("live.idle_tick_ms", self.live.idle_tick_ms as usize, 1, 60_000)?;
        within("live.clock_jump_ms", self.live.clock_jump_ms as usize, 1_000, MILLISECONDS_MAX as usize)?;
        within("live.outage_ms", self.live.outage_ms as usize, 0, 86_400_000)?;
        within("source.kafka.refresh_ms", self.source.kafka.refresh_ms as usize, 100, 3_600_000)?;
        self.check_topics()?;
        self.check_kafka_out()?;
        if let Some(meant) = near_a_url(&self.lake.url) {
            return Err(bad("lake.url", self.lake.url.as_str(), &format!("a folder, or {meant}")));
        }
        self.check_urls()?;
        milliseconds("decode.max_future_ms", self.decode.max_future_ms)?;
        milliseconds("views.allowed_lateness_ms", self.views.allowed_lateness_ms)
    }

    /// Neither has a place for a user: credentials are looked for as the AWS SDK does.
    fn check_urls(&self) -> Result<(), SettingsError> {
        for (key, url) in [("lake.url", &self.lake.url), ("lake.s3.endpoint", &self.lake.s3.endpoint)] {
            if credentials(url).is_some() {
                let expected = "no user and password in it: give them by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
                return Err(bad(key, url.as_str(), expected));
            }
        }
        Ok(())
    }

    fn check_topics(&self) -> Result<(), SettingsError> {
        for topic in &self.source.kafka.topics {
            kind("source.kafka.topics.event_type", &topic.event_type)?;
            if topic.name.is_empty() {
                return Err(bad("source.kafka.topics.name", "", "the name of a topic"));
            }
        }
        self.check_properties("source.kafka.properties", &self.source.kafka.properties)
    }

    fn check_kafka_out(&self) -> Result<(), SettingsError> {
        self.check_properties("kafka_out.properties", &self.kafka_out.properties)?;
        within("kafka_out.keep_ms", self.kafka_out.keep_ms as usize, 60_000, 604_800_000)
    }

    fn check_properties(&self, key: &str, properties: &[String]) -> Result<(), SettingsError> {
        for property in properties {
            if property.split_once('=').is_none_or(|(name, _)| name.trim().is_empty()) {
                return Err(bad(key, redacted_property(property), "name=value, as librdkafka has it"));
            }
        }
        Ok(())
    }

    fn check_views(&self) -> Result<(), SettingsError> {
        let mut seen: Vec<&str> = Vec::new();
        for view in &self.views.enabled {
            let expected = if !views().contains(&view.as_str()) {
                format!("names of views ({}); the nearest is {}", views().join(", "), nearest(view, &views()))
            } else if seen.contains(&view.as_str()) {
                "each view once".to_owned()
            } else {
                seen.push(view);
                continue;
            };
            return Err(bad("views.enabled", view.as_str(), &expected));
        }
        Ok(())
    }

    fn default_kind(&self) -> Result<Option<Kind>, SettingsError> {
        kind("decode.default_event_type", &self.decode.default_event_type)
    }
}

/// A kind by its name; none where that is empty.
///
/// # Errors
/// [`SettingsError::BadValue`] naming the setting to change.
pub fn kind(key: &str, name: &str) -> Result<Option<Kind>, SettingsError> {
    if name.is_empty() {
        return Ok(None);
    }
    Kind::parse(name).map(Some).ok_or_else(|| {
        let kinds = Kind::ALL.map(Kind::as_str);
        let expected =
            format!("empty, or an event type ({}); the nearest is {}", kinds.join(", "), nearest(name, &kinds));
        bad(key, name, &expected)
    })
}

/// What a place was meant to be that is nearly a URL, as `s3:/bucket`: taken for a folder, it would be made where nobody looks.
pub fn near_a_url(place: &str) -> Option<String> {
    let (scheme, rest) = place.split_once(':')?;
    let is_s3 = scheme.eq_ignore_ascii_case("s3");
    if rest.starts_with("//") && (scheme == "s3" || !is_s3) {
        // Well formed: it is opened, or refused for its scheme.
        return None;
    }
    // A letter is a drive, and a folder may have a colon in its name.
    let is_scheme = scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match rest.trim_start_matches('/') {
        bucket if is_s3 && !bucket.is_empty() => Some(format!("s3://{bucket}")),
        _ if is_s3 || is_scheme && rest.starts_with('/') => Some("s3://bucket/prefix".to_owned()),
        _ => None,
    }
}

fn horizon(key: &str, text: &str) -> Result<Option<i64>, SettingsError> {
    const LEAST_MICROS: i64 = 10_000_000;
    let span = parse_span(text).filter(|span| span.is_none_or(|micros| micros >= LEAST_MICROS));
    span.ok_or_else(|| bad(key, text, "unlimited, or 10s to 36600d: a number with s, m, h or d"))
}

/// The known name most like another.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> &'a str {
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(name, known);
    known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
}

fn within(key: &str, value: usize, least: usize, most: usize) -> Result<(), SettingsError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let expected = if most == usize::MAX { format!("at least {least}") } else { format!("{least} to {most}") };
    Err(bad(key, i64::try_from(value).unwrap_or(i64::MAX), &expected))
}

fn milliseconds(key: &str, value: i64) -> Result<(), SettingsError> {
    if (0..=MILLISECONDS_MAX).contains(&value) {
        return Ok(());
    }
    Err(bad(key, value, "milliseconds, 0 to a hundred years"))
}

fn of_views(error: SettingError) -> SettingsError {
    match error {
        SettingError::Bad { setting, value, expected } => bad(setting, value, &expected),
        SettingError::TimeZone(unknown) => bad("store.time_zone", unknown.0, "an IANA time zone"),
    }
}

fn bad(key: &str, value: impl Into<Value>, expected: &str) -> SettingsError {
    let value = shown(key, &value.into());
    SettingsError::BadValue { key: key.to_owned(), origin: None, value, expected: expected.to_owned() }
}
