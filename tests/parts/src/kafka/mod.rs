//! Apache Kafka itself: one node that is broker and controller, from the jars that `kafka/pom.xml` names.
//!
//! ```text
//! CLIENT      the listener of `Broker::bootstrap`, guarded as `Options::auth` says
//! INTERNAL    never guarded: Kafka's own tools, the broker to itself, and the probe that it serves
//! CONTROLLER  the metadata quorum of one
//! ```

mod broker;
mod install;
mod options;
mod probe;
mod properties;
mod tls;
mod tool;

pub use broker::Broker;
pub use options::{Auth, Options};
pub use tool::tool;

use crate::step::Step;
use std::path::PathBuf;
use std::process::Command;

const STEP: Step = Step {
    part: "Kafka",
    how_to_get_it: "install a JDK, 17 or newer, and Maven (apt-get install openjdk-17-jdk-headless maven), and have a \
                    Maven repository in reach",
};

/// A program of the JDK: of `JAVA_HOME`, or the first on the path.
fn java(program: &str) -> Command {
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
    Command::new(home.map_or_else(|| PathBuf::from(program), |home| PathBuf::from(home).join("bin").join(program)))
}
