//! The jars of Kafka, and two things made from them once that a broker starts faster with.
//!
//! ```text
//! lib/            what the pom names, with all that it needs
//! data/           an empty data folder as the storage tool formats it: a broker starts from a copy
//! classes.jsa     the classes that a broker loads, as the JVM maps them into memory
//! ```
//! The class path is relative, since the archive of classes serves only the very class path it was made with: every
//! process of ours runs in a folder that has a `lib`.

use super::broker::Broker;
use super::options::Options;
use super::properties::{DATA, Ports, server_properties};
use super::{STEP, java};
use crate::PartError;
use crate::cache::{self, Recipe};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const POM: &str = include_str!("../../kafka/pom.xml");
const LIB: &str = "lib";
const ARCHIVE: &str = "classes.jsa";
const CLASS_PATH: &str = "class-path";
/// The copy gets an id of its own.
const FORMATTED_CLUSTER_ID: &str = "formatted";

#[derive(Clone, Debug)]
pub(super) struct Installation {
    folder: PathBuf,
    class_path: String,
}

impl Installation {
    /// The one in the cache, which is filled where it has none.
    pub(super) fn get() -> Result<Installation, PartError> {
        // Another layout is another recipe.
        let text = format!("{POM}<!-- {LIB} {DATA} {ARCHIVE} 1 -->\n");
        let recipe = Recipe { name: "kafka", text: &text, proof: CLASS_PATH };
        Installation::open(&cache::provision(&recipe, install)?)
    }

    fn open(folder: &Path) -> Result<Installation, PartError> {
        let path = folder.join(CLASS_PATH);
        let class_path = fs::read_to_string(&path).map_err(PartError::io(STEP.part, &path))?;
        Ok(Installation { folder: folder.to_owned(), class_path })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// For every Java of ours. Only the first stage of the compiler: a broker is up in half the time, and one that
    /// lives for a minute never earns back what the second stage costs.
    pub(super) fn java_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["-XX:TieredStopAtLevel=1".to_owned(), "-XX:-UsePerfData".to_owned()];
        let archive = self.folder.join(ARCHIVE);
        if archive.exists() {
            arguments.push(format!("-XX:SharedArchiveFile={}", archive.display()));
        }
        let log = "-Dorg.slf4j.simpleLogger";
        arguments.push(format!("{log}.defaultLogLevel=warn"));
        arguments.extend(["-cp".to_owned(), self.class_path.clone()]);
        arguments
    }

    /// Lays out a folder for a broker: formatted storage of that cluster, and the jars.
    pub(super) fn lay_out(&self, folder: &Path, cluster_id: &str) -> Result<(), PartError> {
        let lay_out = || {
            std::os::unix::fs::symlink(self.folder.join(LIB), folder.join(LIB))?;
            copy(&self.folder.join(DATA), &folder.join(DATA))?;
            let path = folder.join(DATA).join("meta.properties");
            let text = fs::read_to_string(&path)?;
            fs::write(
                &path,
                text.replace(&format!("cluster.id={FORMATTED_CLUSTER_ID}"), &format!("cluster.id={cluster_id}")),
            )
        };
        lay_out().map_err(PartError::io(STEP.part, folder))
    }
}

fn install(folder: &Path) -> Result<(), PartError> {
    fetch(folder)?;
    let installation = Installation::open(folder)?;
    format(&installation)?;
    archive_classes(&installation)
}

fn fetch(folder: &Path) -> Result<(), PartError> {
    let pom = folder.join("pom.xml");
    fs::write(&pom, POM).map_err(PartError::io(STEP.part, &pom))?;
    let mut maven = Command::new("mvn");
    maven.args(["--quiet", "--batch-mode", "--strict-checksums", "--file"]).arg(&pom);
    maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib"]);
    STEP.run(&mut maven)?;
    let jars = || {
        let mut jars = Vec::new();
        for entry in fs::read_dir(folder.join(LIB))? {
            jars.push(format!("{LIB}/{}", entry?.file_name().display()));
        }
        jars.sort();
        fs::write(folder.join(CLASS_PATH), jars.join(":"))
    };
    jars().map_err(PartError::io(STEP.part, folder))
}

fn format(installation: &Installation) -> Result<(), PartError> {
    // The ports do not get into what is formatted.
    let ports = Ports { client: 1, internal: 2, controller: 3 };
    let path = installation.folder.join("format.properties");
    fs::write(&path, server_properties(&Options::default(), ports)).map_err(PartError::io(STEP.part, &path))?;
    let mut command = java("java");
    command.current_dir(&installation.folder).args(installation.java_arguments());
    command.args(["kafka.tools.StorageTool", "format", "-t", FORMATTED_CLUSTER_ID, "-c", "format.properties"]);
    STEP.run(&mut command).map(drop)
}

/// A broker that is started, used a little and stopped, writes down what it loaded.
fn archive_classes(installation: &Installation) -> Result<(), PartError> {
    let archive = installation.folder.join(ARCHIVE);
    let java = vec![format!("-XX:ArchiveClassesAtExit={}", archive.display())];
    let mut broker = Broker::launch(installation.clone(), &Options { java, ..Options::default() })?;
    let topic = ["--create", "--topic", "warm-up", "--bootstrap-server", broker.internal()];
    installation.tool("org.apache.kafka.tools.TopicCommand", &topic)?;
    broker.stop()
}

/// A folder with all that is in it.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
