//! How a command ends: the error in one line on stderr, and an exit code by the error's type, never by its text.

use crate::client::ClientError;
use crate::log;
use crate::settings::{SettingsError, without_url_credentials};
use millrace_dataflows::query::QueryError;
use millrace_dataflows::settings::SettingError;
use std::error::Error;
use std::fmt;
use std::io::{ErrorKind, Write};

pub(super) const FINE: u8 = 0;
pub(super) const FAILURE: u8 = 1;
pub(super) const USAGE: u8 = 2;
pub(super) const REJECTED: u8 = 3;

/// A command line that clap accepts and the command does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Usage {}

/// A run that is whole, and rejected more than was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooMuchRejected(pub String);

impl fmt::Display for TooMuchRejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for TooMuchRejected {}

/// Reports the end of a command and gives its exit code.
pub(super) fn report(result: anyhow::Result<()>, errors: &mut dyn Write) -> u8 {
    let Err(error) = result else { return FINE };
    let code = code_of(&error);
    if code != FINE {
        // Where stderr is gone, the exit code still tells.
        let _ = writeln!(errors, "{}", log::last(&plain(&format!("{error:#}"))));
    }
    code
}

/// Without passwords of URLs, and short: a message may quote what came from anywhere.
fn plain(message: &str) -> String {
    const CHARS_MAX: usize = 4_000;
    let message = without_url_credentials(message);
    match message.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.into_owned(),
    }
}

fn code_of(error: &anyhow::Error) -> u8 {
    if error.chain().any(is_broken_pipe) {
        FINE
    } else if error.chain().any(is_usage) {
        USAGE
    } else if error.is::<TooMuchRejected>() {
        REJECTED
    } else {
        FAILURE
    }
}

/// `millrace query … | head` has read enough.
fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn is_usage(error: &(dyn Error + 'static)) -> bool {
    error.is::<Usage>()
        || error.is::<SettingsError>()
        || error.is::<SettingError>()
        || error.is::<QueryError>()
        || error.is::<crate::commands::EngineRefuses>()
        || error.is::<crate::generate::OptionsError>()
        || error.downcast_ref::<ClientError>().is_some_and(ClientError::is_usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    fn check(error: anyhow::Error, code: u8, message: &str) {
        let mut printed = Vec::new();
        assert_eq!(report(Err(error), &mut printed), code);
        assert_eq!(String::from_utf8_lossy(&printed), message);
    }

    #[test]
    fn the_code_follows_the_type_through_contexts() {
        check(anyhow!("disk full"), FAILURE, "error: disk full\n");
        check(Usage("no such view".to_owned()).into(), USAGE, "error: no such view\n");
        let unknown = QueryError::UnknownScore { score: "x".to_owned() };
        let text = format!("error: reading data: {unknown}\n");
        check(anyhow::Error::from(unknown).context("reading data"), USAGE, &text);
        let pipe: std::io::Result<()> = Err(ErrorKind::BrokenPipe.into());
        check(pipe.context("printing").expect_err("it is one"), FINE, "");
        check(TooMuchRejected("all".to_owned()).into(), REJECTED, "error: all\n");
    }

    #[test]
    fn a_message_is_short_and_keeps_passwords() {
        let mut printed = Vec::new();
        report(Err(anyhow!("s3://me:hunter2@shop {}", "x".repeat(1 << 20))), &mut printed);
        let printed = String::from_utf8(printed).expect("text");
        assert!(printed.starts_with("error: s3://***@shop xxx") && printed.len() < 5_000, "{}", printed.len());
    }
}
