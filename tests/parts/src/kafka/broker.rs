//! A broker: started, stopped, killed, frozen, and started again with its data.

use super::install::Installation;
use super::options::Options;
use super::properties::{Ports, server_properties};
use super::{STEP, java, probe, tls};
use crate::PartError;
use crate::ports::Lease;
use crate::server::Server;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// A second and a half is usual; the rest is for machines with much else to do.
const START_DEADLINE: Duration = Duration::from_secs(90);
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// How often other ports are tried where a stranger took one of ours.
const PORT_TRIES: u32 = 5;
const PROPERTIES: &str = "server.properties";

/// Dropped, it is gone with its data.
#[derive(Debug)]
pub struct Broker {
    installation: Installation,
    options: Options,
    server: Server,
    leases: Leases,
    cluster_id: String,
    bootstrap: String,
    internal: String,
    ca: Option<PathBuf>,
}

/// The ports of the three listeners, held as long as the broker may come back to them.
#[derive(Debug)]
struct Leases {
    client: Lease,
    internal: Lease,
    controller: Lease,
}

impl Broker {
    /// Waits until it serves.
    ///
    /// # Errors
    /// [`PartError::Missing`] where it cannot be provisioned, [`PartError::Failed`] with the end of its log where it
    /// does not start.
    pub fn start(options: &Options) -> Result<Broker, PartError> {
        Broker::launch(Installation::get()?, options)
    }

    /// The one broker of this process, for tests that do not break it. It has no authentication.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub fn shared() -> Result<&'static Broker, PartError> {
        static SHARED: OnceLock<Result<Broker, PartError>> = OnceLock::new();
        SHARED.get_or_init(|| Broker::start(&Options::default())).as_ref().map_err(PartError::clone)
    }

    pub(super) fn launch(installation: Installation, options: &Options) -> Result<Broker, PartError> {
        for _ in 1..PORT_TRIES {
            let mut broker = Broker::lay_out(installation.clone(), options)?;
            match broker.run() {
                Err(_) if options.port.is_none() && !broker.leases.are_free() => {}
                result => return result.map(|()| broker),
            }
        }
        let mut broker = Broker::lay_out(installation, options)?;
        broker.run().map(|()| broker)
    }

    fn lay_out(installation: Installation, options: &Options) -> Result<Broker, PartError> {
        let client = options.port.map_or_else(Lease::any, Lease::of)?;
        let leases = Leases { client, internal: Lease::any()?, controller: Lease::any()? };
        let server = Server::new(STEP, "kafka")?;
        let folder = server.folder();
        let cluster_id = folder.file_name().expect("it has a name of its own").display().to_string();
        installation.lay_out(folder, &cluster_id)?;
        let write = |name: &str, text: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(PartError::io(STEP.part, &path))
        };
        write(PROPERTIES, server_properties(options, leases.ports()).as_bytes())?;
        let mut ca = None;
        if options.auth.is_tls() {
            let certificates = tls::certificates()?;
            let keystore = certificates.join(tls::KEYSTORE);
            write(tls::KEYSTORE, &fs::read(&keystore).map_err(PartError::io(STEP.part, &keystore))?)?;
            ca = Some(certificates.join(tls::CA));
        }
        let address = |lease: &Lease| format!("127.0.0.1:{}", lease.port());
        let (bootstrap, internal) = (address(&leases.client), address(&leases.internal));
        Ok(Broker { installation, options: options.clone(), server, leases, cluster_id, bootstrap, internal, ca })
    }

    fn run(&mut self) -> Result<(), PartError> {
        let mut command = java("java");
        // What the compression codecs unpack goes with the folder.
        command.arg(format!("-Djava.io.tmpdir={}", self.server.folder().display()));
        command.args(self.installation.java_arguments());
        command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=info", "-Dorg.slf4j.simpleLogger.showDateTime=true"]);
        command.arg("-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS");
        // It would print each setting four times.
        command.arg("-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn");
        command.args(["-Xmx512m", "-XX:+ExitOnOutOfMemoryError"]).args(&self.options.java);
        self.server.spawn(command.args(["kafka.Kafka", PROPERTIES]))?;
        let (port, cluster_id) = (self.leases.internal.port(), &self.cluster_id);
        let serves = || matches!(probe::cluster_id(port), Ok(Some(found)) if found == *cluster_id);
        self.server.wait_until(START_DEADLINE, serves)
    }

    /// Where clients begin: `127.0.0.1:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// A listener that asks for nothing, whatever the clients' one asks for: for Kafka's own tools.
    pub fn internal(&self) -> &str {
        &self.internal
    }

    /// The authority that signed the broker's certificate, as PEM, where clients speak TLS.
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Java's, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Whether a client would be served right now.
    pub fn serves(&self) -> bool {
        matches!(probe::cluster_id(self.leases.internal.port()), Ok(Some(_)))
    }

    /// Asks it to end, as an operator would, and waits.
    ///
    /// # Errors
    /// [`PartError::Failed`] where it had to be killed.
    pub fn stop(&mut self) -> Result<(), PartError> {
        self.server.stop(STOP_DEADLINE)
    }

    /// Ends it as a power cut would, save that what it wrote reached the file system.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it with its data and on its ports; one that runs is stopped first.
    ///
    /// # Errors
    /// As [`Broker::start`] and [`Broker::stop`].
    pub fn restart(&mut self) -> Result<(), PartError> {
        self.stop()?;
        self.run()
    }

    /// Its connections stay open and nothing is answered, as behind a network that drops everything.
    pub fn freeze(&self) {
        self.server.freeze();
    }

    pub fn thaw(&self) {
        self.server.thaw();
    }

    pub fn log_path(&self) -> PathBuf {
        self.server.log_path()
    }

    pub fn log_tail(&self) -> String {
        self.server.log_tail()
    }
}

impl Leases {
    fn ports(&self) -> Ports {
        let [client, internal, controller] = [&self.client, &self.internal, &self.controller].map(Lease::port);
        Ports { client, internal, controller }
    }

    /// Asked while the broker is down.
    fn are_free(&self) -> bool {
        [&self.client, &self.internal, &self.controller].into_iter().all(Lease::is_free)
    }
}
