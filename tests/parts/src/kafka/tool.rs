//! Kafka's own command-line tools, for what clients cannot do.

use super::install::Installation;
use super::{STEP, java};
use crate::PartError;
use crate::step::failure;

/// What a tool prints on stdout: `tool("org.apache.kafka.tools.TopicCommand", &["--list", "--bootstrap-server", …])`.
/// It takes about half a second. It runs in the cache, so give it absolute paths.
///
/// # Errors
/// [`PartError::Failed`] with all that it printed where it ends with another code than 0.
pub fn tool(main_class: &str, args: &[&str]) -> Result<String, PartError> {
    Installation::get()?.tool(main_class, args)
}

impl Installation {
    pub(super) fn tool(&self, main_class: &str, args: &[&str]) -> Result<String, PartError> {
        let mut command = java("java");
        command.current_dir(self.folder()).args(self.java_arguments()).args(["-Xmx256m", main_class]).args(args);
        let output = STEP.output(&mut command)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(PartError::Failed { part: STEP.part, what: format!("{main_class}: {}", failure(&command, &output)) })
    }
}
