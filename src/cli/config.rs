//! `millrace config`: the effective settings, each with its origin. Secrets are starred.

use super::SettingsArgs;
use crate::output::{Format, Layout, print};
use crate::settings::{Loaded, redacted};
use anyhow::Context;
use clap::{Args, ValueEnum};
use millrace_dataflows::table::{Table, Value};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  millrace config
  millrace config --to millrace.toml
  millrace config --config shop.toml --set store.time_zone=Europe/London
  MILLRACE_VIEWS__FUNNEL__WINDOW=2h millrace config --format json

Precedence: defaults < file < environment MILLRACE_SECTION__NAME < --set section.name=value.";

/// Print the effective settings and where each comes from
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: ConfigFormat,
    /// Write a settings file, where there is none of that name yet. Secrets are left out, each with a comment
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    to: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ConfigFormat {
    /// For people; fits the terminal
    #[default]
    Table,
    /// An array of objects with key, value and origin
    Json,
    /// A settings file
    Toml,
}

impl ConfigArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let loaded = self.settings.load()?;
        if let Some(path) = &self.to {
            loaded.validate()?;
            write_new(path, &loaded.to_toml())?;
            writeln!(out, "{} is written", path.display())?;
            return Ok(());
        }
        match self.format {
            ConfigFormat::Table => {
                print(&rows(&loaded), Format::Table, Layout::of_texts(), out)?;
            }
            ConfigFormat::Json => print_json(&loaded, out)?,
            ConfigFormat::Toml => out.write_all(loaded.to_toml().as_bytes())?,
        }
        // After printing: who looks for a mistake wants to see the settings that have it.
        loaded.validate()?;
        Ok(())
    }
}

/// For its user only: passwords will be written into it.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = match options.write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            anyhow::bail!("{} is there already: name another file, or remove it first", path.display())
        }
        file => file.with_context(|| format!("cannot write {}", path.display()))?,
    };
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

fn rows(loaded: &Loaded) -> Table {
    let mut table = Table::new(["setting", "value", "origin"]);
    for leaf in &loaded.leaves {
        let value = match redacted(&leaf.key, &leaf.value) {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        let texts = [leaf.key.clone(), value, leaf.origin.to_string()];
        table.rows.push(texts.map(Value::text).to_vec());
    }
    table
}

fn print_json(loaded: &Loaded, out: &mut dyn Write) -> anyhow::Result<()> {
    let objects = loaded.leaves.iter().map(|leaf| {
        let value = redacted(&leaf.key, &leaf.value);
        serde_json::json!({ "key": leaf.key, "value": value, "origin": leaf.origin.to_string() })
    });
    let objects: Vec<serde_json::Value> = objects.collect();
    serde_json::to_writer_pretty(&mut *out, &objects).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
