//! The hosts file: a line for each process, `host:port`, where the others reach it.

use anyhow::Context;
use std::collections::BTreeMap;
use std::path::Path;

/// Where each process of a cluster listens for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Reads a hosts file. Empty lines and what follows a `#` are passed over.
    ///
    /// # Errors
    /// Where it cannot be read, has another number of lines than there are processes, or a line twice or without a port.
    pub fn read(path: &Path, processes: usize) -> anyhow::Result<Hosts> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading --hosts {}", path.display()))?;
        Hosts::of_text(&text, processes).with_context(|| format!("--hosts {}", path.display()))
    }

    fn of_text(text: &str, processes: usize) -> anyhow::Result<Hosts> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let hosts: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (process, host) in hosts.iter().enumerate() {
            let (name, port) =
                host.rsplit_once(':').with_context(|| format!("{host:?} has no port: name host:port"))?;
            let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
            anyhow::ensure!(is_port && !name.is_empty(), "{host:?} is not host:port");
            if let Some(other) = seen.insert(host, process) {
                anyhow::bail!(
                    "{host} is there twice, for process {other} and process {process}: each has its own line"
                );
            }
        }
        anyhow::ensure!(
            hosts.len() == processes,
            "it has {} lines with a host, and --processes says {processes}: there is one for each process, in their order",
            hosts.len()
        );
        Ok(Hosts(hosts))
    }

    /// So many ports of this machine, one for each process.
    ///
    /// # Errors
    /// Where there are none to be had.
    pub fn local(processes: usize) -> anyhow::Result<Hosts> {
        // All at once: a port that is let go could be given out again.
        let listeners: Vec<_> =
            (0..processes).map(|_| std::net::TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let address = |listener: &std::net::TcpListener| Ok(listener.local_addr()?.to_string());
        Ok(Hosts(listeners.iter().map(address).collect::<std::io::Result<_>>()?))
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.0.len()
    }

    /// Where a process is reached.
    pub fn of(&self, process: usize) -> &str {
        &self.0[process]
    }

    /// As a hosts file has it.
    pub fn to_text(&self) -> String {
        self.0.iter().map(|host| format!("{host}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_process() {
        let hosts = Hosts::of_text("# two\nshop-0:7118\n\n  shop-1:7118 # the other\n", 2).expect("it is whole");
        assert_eq!((hosts.of(0), hosts.of(1)), ("shop-0:7118", "shop-1:7118"));
        assert_eq!(Hosts::of_text(&hosts.to_text(), 2).expect("it is whole"), hosts);
        for (text, processes, words) in [
            ("a:1\n", 2, "1 lines"),
            ("a:1\nb:2\nc:3\n", 2, "3 lines"),
            ("a:1\na:1\n", 2, "twice"),
            ("a\nb:2\n", 2, "no port"),
            ("a:x\nb:2\n", 2, "not host:port"),
            (":7\nb:2\n", 2, "not host:port"),
            ("a:0\nb:2\n", 2, "not host:port"),
        ] {
            let error = format!("{:#}", Hosts::of_text(text, processes).expect_err(text));
            assert!(error.contains(words), "{error}");
        }
    }
}
