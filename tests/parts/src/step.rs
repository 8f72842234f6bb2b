//! Programs that run to their end: steps of provisioning, and Kafka's own tools.

use crate::PartError;
use std::process::{Command, Output, Stdio};

/// What a step belongs to, and what to do where it cannot run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) part: &'static str,
    pub(crate) how_to_get_it: &'static str,
}

impl Step {
    /// What it prints on stdout. That it fails means that the machine lacks something: a registry, a module of Python.
    pub(crate) fn run(&self, command: &mut Command) -> Result<String, PartError> {
        let output = self.output(command)?;
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(self.missing(failure(command, &output)))
    }

    /// How it ended; an error only where there is no such program.
    pub(crate) fn output(&self, command: &mut Command) -> Result<Output, PartError> {
        command.stdin(Stdio::null()).output().map_err(|error| self.not_run(command, &error))
    }

    /// That a program could not be started.
    pub(crate) fn not_run(&self, command: &Command, error: &std::io::Error) -> PartError {
        self.missing(format!("cannot run {}: {error}", command.get_program().display()))
    }

    fn missing(&self, what: String) -> PartError {
        PartError::Missing { part: self.part, what, how_to_get_it: self.how_to_get_it }
    }
}

/// What a command that failed has to say.
pub(crate) fn failure(command: &Command, output: &Output) -> String {
    const LINES: usize = 30;
    let said = [text(&output.stdout), text(&output.stderr)].concat();
    let program = command.get_program().display();
    format!("{program} ended with {}\n{}", output.status, last_lines(&said, LINES))
}

pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
