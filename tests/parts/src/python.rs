//! Virtual environments of Python, one for each list of requirements.

use crate::PartError;
use crate::cache::{self, Recipe};
use crate::step::Step;
use std::path::{Path, PathBuf};
use std::process::Command;

const STEP: Step = Step {
    part: "Python",
    how_to_get_it: "install Python 3 with its venv module (apt-get install python3-venv), and have a package index in reach",
};

/// The interpreter of an environment that has what the file asks for. Two files with the same text share one.
///
/// Run what comes with a package as `python -m …`: the scripts in its `bin` know only the place where it was made.
///
/// # Errors
/// [`PartError`] where there is no Python, or no registry.
pub fn venv(requirements_file: &Path) -> Result<PathBuf, PartError> {
    let text = std::fs::read_to_string(requirements_file).map_err(PartError::io(STEP.part, requirements_file))?;
    let recipe = Recipe { name: "python", text: &text, proof: "bin/python" };
    let folder = cache::provision(&recipe, |folder| {
        STEP.run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--requirement"]);
        STEP.run(pip.arg(requirements_file)).map(drop)
    })?;
    Ok(folder.join("bin/python"))
}
