//! Reads the layers of the settings and merges them, weakest first.

use super::error::SettingsError;
use super::secret::{holds_secret, holds_stars};
use super::tree::{Leaf, Origin, Tree, bad_value};
use super::validate::{Validated, ValidatedLive};
use super::{Settings, paths, text};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Read from the working directory where no file is named and this one is there.
pub const DEFAULT_FILE: &str = "millrace.toml";
/// Every variable that begins so is a setting; a double underscore stands for the dot.
pub const ENVIRONMENT_PREFIX: &str = "MILLRACE_";

/// Where settings are taken from besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`. It must be there; without one, [`DEFAULT_FILE`] is read if it is there.
    pub file: Option<PathBuf>,
    /// Variables with their values; those without the prefix are passed over.
    pub environment: Vec<(String, String)>,
    /// `--set KEY=VALUE`, the last of one key wins.
    pub set: Vec<String>,
}

/// The effective settings, and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub settings: Settings,
    /// Every setting there is, by key.
    pub leaves: Vec<Leaf>,
}

impl Sources {
    /// The sources of this process: its environment is read here and nowhere else.
    pub fn of_process(file: Option<PathBuf>, set: Vec<String>) -> Sources {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Sources { file, environment, set }
    }

    /// # Errors
    /// [`SettingsError`] naming the key, its origin and what was expected.
    pub fn load(&self) -> Result<Loaded, SettingsError> {
        let mut tree = Tree::of_defaults();
        if let Some((path, table)) = self.read_file()? {
            let origin = Origin::File(path);
            table.into_iter().try_for_each(|(name, value)| tree.lay(&name, value, &origin))?;
        }
        for (variable, value) in self.variables() {
            let key = key_of(variable);
            let value = text::parse(value, tree.default_of(&key));
            tree.lay(&key, value, &Origin::Environment(variable.to_owned()))?;
        }
        for assignment in &self.set {
            let (key, value) = split_assignment(assignment)?;
            let value = text::parse(value, tree.default_of(key));
            tree.lay(key, value, &Origin::Set)?;
        }
        let (mut settings, leaves) = tree.into_parts();
        if !settings.source.log.paths.is_empty() {
            settings.source.log.base = paths::base_of(&leaves, "source.log.paths");
        }
        if let Some(leaf) = leaves.iter().find(|leaf| holds_stars(&leaf.key, &leaf.value)) {
            let expected = "the secret itself: stars are what is shown in its place".to_owned();
            return Err(bad_value(&leaf.key, &leaf.value, &leaf.origin, expected));
        }
        Ok(Loaded { settings, leaves })
    }

    fn read_file(&self) -> Result<Option<(PathBuf, Table)>, SettingsError> {
        let path = self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if self.file.is_none() && error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(SettingsError::Unreadable { path: path.to_owned(), reason: error.to_string() });
            }
        };
        let table = text.parse::<Table>().map_err(|error| {
            let start = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count() + 1;
            SettingsError::NotToml { path: path.to_owned(), line, reason: error.message().to_owned() }
        })?;
        Ok(Some((path.to_owned(), table)))
    }

    /// By name, so that what is set does not depend on the order of the environment.
    fn variables(&self) -> Vec<(&str, &str)> {
        let variables = self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut ours: Vec<_> = variables.filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX)).collect();
        ours.sort_unstable();
        ours
    }
}

impl Loaded {
    /// # Errors
    /// As [`Settings::validate`], with the origin of the setting to change.
    pub fn validate(&self) -> Result<Validated, SettingsError> {
        self.settings.validate().map_err(|error| self.with_origin(error))
    }

    /// # Errors
    /// As [`Settings::validate_live`], with the origin of the setting to change.
    pub fn validate_live(&self) -> Result<ValidatedLive, SettingsError> {
        self.settings.validate_live().map_err(|error| self.with_origin(error))
    }

    fn with_origin(&self, error: SettingsError) -> SettingsError {
        match error {
            SettingsError::BadValue { key, origin: None, value, expected } => {
                // A part of a list (`views.funnel.steps.name`) has the origin of the list.
                let holds = |leaf: &&Leaf| {
                    key.strip_prefix(&leaf.key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                let origin = self.leaves.iter().find(holds).map(|leaf| leaf.origin.clone());
                SettingsError::BadValue { key, origin, value, expected }
            }
            other => other,
        }
    }

    /// The effective settings as a TOML document, each line with its origin. A line with secrets is a comment, in which they are
    /// starred: who reads the document back gives them otherwise.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut open_section = "";
        // All settings of a section stand together, those of its parts after them.
        let mut leaves: Vec<(&str, &str, &Leaf)> = self
            .leaves
            .iter()
            .map(|leaf| {
                let (section, name) = leaf.key.rsplit_once('.').unwrap_or(("", &leaf.key));
                (section, name, leaf)
            })
            .collect();
        leaves.sort_by_key(|(section, ..)| *section);
        for (section, name, leaf) in leaves {
            if section != open_section {
                let gap = if text.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{gap}[{section}]\n"));
                open_section = section;
            }
            let value: Value = super::redacted(&leaf.key, &leaf.value);
            let (comment, why) =
                if holds_secret(&leaf.key, &leaf.value) { ("# ", ", secret: not written here") } else { ("", "") };
            text.push_str(&format!("{comment}{name} = {value} # {}{why}\n", leaf.origin));
        }
        text
    }
}

/// The one that many programs and people set: a short name for `client.token`.
const TOKEN_VARIABLE: &str = "MILLRACE_TOKEN";

/// `MILLRACE_VIEWS__FUNNEL__WINDOW` → `views.funnel.window`.
fn key_of(variable: &str) -> String {
    if variable == TOKEN_VARIABLE {
        return "client.token".to_owned();
    }
    let name = variable.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or(variable);
    name.replace("__", ".").to_ascii_lowercase()
}

/// The inverse of [`key_of`].
pub(super) fn variable_of(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

fn split_assignment(assignment: &str) -> Result<(&str, &str), SettingsError> {
    assignment.split_once('=').map(|(key, value)| (key.trim(), value)).ok_or_else(|| {
        // No more than a key is shown: what follows may be a secret.
        let is_key = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
        let key = assignment.chars().take_while(|&c| is_key(c)).collect();
        SettingsError::NoAssignment { key }
    })
}
