//! `millrace cluster`: several processes on this machine, started, watched and ended together.

use super::signal::{self, Stop};
use super::{Going, SettingsArgs, Usage};
use crate::commands::this_program;
use crate::log;
use crate::mesh::Hosts;
use crate::settings::Settings;
use anyhow::Context;
use clap::Args;
use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  millrace cluster --processes 2 --config millrace.toml
  millrace cluster --processes 3 -w 2 --set lake.url=lake --set 'source.log.paths=[\"shop-log\"]'

Process I serves at the port of serve.address plus I, and every one of them answers every read. On several machines start each process
there: millrace run --process I --processes P --hosts FILE.";

/// How often the processes are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a process may take to end well.
const END_MOST: Duration = Duration::from_secs(75);
/// Until a process that ended is started again.
const AGAIN: Duration = Duration::from_millis(500);

/// Run several processes on this machine as one engine
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ClusterArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// How many processes
    #[arg(long, value_name = "P", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    processes: u16,
    /// Workers of each; otherwise live.workers
    #[arg(long, short, value_name = "N")]
    workers: Option<usize>,
    #[command(flatten)]
    going: Going,
}

/// One of the processes.
struct Member {
    arguments: Vec<OsString>,
    child: Option<Child>,
    /// When it ended last.
    ended: Instant,
    is_done: bool,
}

impl ClusterArgs {
    pub(super) fn run(&self, _out: &mut dyn Write) -> anyhow::Result<()> {
        let loaded = self.settings.load()?;
        loaded.validate_live()?;
        let settings = &loaded.settings;
        if settings.lake.url.is_empty() {
            return Err(
                Usage("a cluster needs a lake: set lake.url to a folder, or to s3://bucket/prefix".to_owned()).into()
            );
        }
        let stop = Stop::listen()?;
        signal::end_on_panic();
        let hosts = HostsFile::new(usize::from(self.processes))?;
        let mut members: Vec<Member> = (0..usize::from(self.processes))
            .map(|process| {
                let arguments = self.arguments(settings, process, &hosts.path)?;
                let child = Some(start(&arguments)?);
                Ok(Member { arguments, child, ended: Instant::now(), is_done: false })
            })
            .collect::<anyhow::Result<_>>()?;
        let result = watch(&mut members, &hosts, &stop, self.going.until_end);
        for member in &mut members {
            if let Some(child) = &mut member.child {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        result
    }

    fn arguments(&self, settings: &Settings, process: usize, hosts: &Path) -> anyhow::Result<Vec<OsString>> {
        let mut arguments: Vec<OsString> = vec!["run".into()];
        arguments.extend(self.settings.to_arguments());
        let mut set = |value: String| arguments.extend(["--set".into(), OsString::from(value)]);
        if let Some(workers) = self.workers {
            set(format!("live.workers={workers}"));
        }
        for (key, address) in
            [("serve.address", &settings.serve.address), ("metrics.address", &settings.metrics.address)]
        {
            if let Some(address) = beside(key, address, process)? {
                set(format!("{key}={address}"));
            }
        }
        let numbers = [("--process", process), ("--processes", usize::from(self.processes))];
        numbers.into_iter().for_each(|(name, number)| arguments.extend([name.into(), number.to_string().into()]));
        arguments.extend(["--hosts".into(), hosts.into()]);
        arguments.extend(self.going.to_arguments());
        Ok(arguments)
    }
}

/// The address of a process: the same, and the port so much higher. None where nobody is served, or each takes a port that is free.
fn beside(key: &str, address: &str, process: usize) -> anyhow::Result<Option<SocketAddr>> {
    let Ok(mut address) = address.parse::<SocketAddr>() else { return Ok(None) };
    if address.port() == 0 {
        return Ok(None);
    }
    let port = u16::try_from(process).ok().and_then(|process| address.port().checked_add(process));
    address.set_port(port.ok_or_else(|| Usage(format!("{key} = {address}: process {process} has no port after it")))?);
    Ok(Some(address))
}

/// The hosts file of this cluster, for as long as it runs.
struct HostsFile {
    path: PathBuf,
    hosts: Hosts,
}

impl HostsFile {
    fn new(processes: usize) -> anyhow::Result<HostsFile> {
        let hosts = Hosts::local(processes).context("finding ports of this machine")?;
        // The first port is in the name, so that no other cluster has it.
        let port = hosts.of(0).rsplit(':').next().unwrap_or_default();
        let path = std::env::temp_dir().join(format!("millrace-{}-{port}.hosts", std::process::id()));
        let file = HostsFile { path, hosts };
        file.write()?;
        Ok(file)
    }

    /// Writes it where it is not there, as of old files some systems are rid.
    fn write(&self) -> anyhow::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        match options.write(true).create_new(true).mode(0o600).open(&self.path) {
            Ok(mut file) => file.write_all(self.hosts.to_text().as_bytes()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let is_ours = std::fs::read_to_string(&self.path).is_ok_and(|text| text == self.hosts.to_text());
                if is_ours { Ok(()) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
        .with_context(|| format!("writing {}", self.path.display()))
    }
}

impl Drop for HostsFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Keeps all processes running until it is told to end, or they have.
fn watch(members: &mut [Member], hosts: &HostsFile, stop: &Stop, until_end: bool) -> anyhow::Result<()> {
    let mut told: Option<Instant> = None;
    while members.iter().any(|member| !member.is_done) {
        for (process, member) in members.iter_mut().enumerate().filter(|(_, member)| !member.is_done) {
            member.look(process, hosts, told.is_some(), until_end)?;
        }
        if stop.is_asked() && told.is_none() {
            told = Some(Instant::now());
            members.iter().filter_map(|member| member.child.as_ref()).for_each(terminate);
        }
        if told.is_some_and(|told| told.elapsed() > END_MOST) {
            anyhow::bail!("not all processes have ended in {} s", END_MOST.as_secs());
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

impl Member {
    /// Starts the process where it does not run and is to; sees how it has ended.
    fn look(&mut self, process: usize, hosts: &HostsFile, is_ending: bool, until_end: bool) -> anyhow::Result<()> {
        let Some(child) = &mut self.child else {
            if is_ending {
                self.is_done = true;
            } else if self.ended.elapsed() >= AGAIN {
                hosts.write()?;
                self.child = Some(start(&self.arguments)?);
            }
            return Ok(());
        };
        let Some(status) = child.try_wait().context("looking at a process")? else { return Ok(()) };
        (self.child, self.ended) = (None, Instant::now());
        match status.code() {
            Some(0) if is_ending => self.is_done = true,
            _ if is_ending => anyhow::bail!("process {process} did not end well ({status}): its own error says why"),
            // It has done what there was to do.
            Some(0) if until_end => self.is_done = true,
            Some(code @ (2 | 3)) => {
                anyhow::bail!("process {process} ended with exit code {code}: its own error says why")
            }
            _ => log::warning(format_args!("process {process} ended ({status}), and is started again")),
        }
        Ok(())
    }
}

fn start(arguments: &[OsString]) -> anyhow::Result<Child> {
    let mut command = Command::new(this_program()?);
    command.arg0("millrace").args(arguments).stdin(Stdio::null());
    // A signal of the terminal comes to this process alone, which passes it on.
    command.process_group(0);
    signal::end_with_parent(&mut command);
    command.spawn().context("starting a process")
}

fn terminate(child: &Child) {
    let Ok(process) = libc::pid_t::try_from(child.id()) else { return };
    // SAFETY: it sends a signal to a child that has not been waited for.
    unsafe {
        libc::kill(process, libc::SIGTERM);
    }
}
