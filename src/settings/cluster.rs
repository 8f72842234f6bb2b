//! Settings of a cluster.

use serde::{Deserialize, Serialize};

/// How processes of a cluster know and watch each other. None of it changes an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSettings {
    /// Its name: a process of another is refused.
    pub name: String,
    /// A secret that all of its processes have; empty: none.
    pub token: String,
    /// The certificate chain of this process, PEM, with the host of its line of the hosts file as a name. Empty: no TLS between processes.
    pub tls_certificate_file: String,
    /// Its key, PEM.
    pub tls_key_file: String,
    /// Who signs the certificates of all processes, PEM.
    pub tls_ca_file: String,
    /// A process that is silent for so long is lost: all begin again from the last checkpoint.
    pub silence_ms: u64,
    /// How long the processes of a generation may take to connect with each other, once all are there.
    pub connect_ms: u64,
    /// Times between two starts of an engine that ended: the first, and the longest.
    pub restart_ms: u64,
    pub restart_most_ms: u64,
}

impl ClusterSettings {
    /// The files of TLS: certificate, key, authority; `None` where there is none.
    ///
    /// # Errors
    /// Where some are named and others not: the setting that is missing.
    pub fn tls_files(&self) -> Result<Option<[&str; 3]>, &'static str> {
        let files = [
            ("cluster.tls_certificate_file", &*self.tls_certificate_file),
            ("cluster.tls_key_file", &*self.tls_key_file),
            ("cluster.tls_ca_file", &*self.tls_ca_file),
        ];
        match files.iter().find(|(_, file)| file.is_empty()) {
            Some(_) if files.iter().all(|(_, file)| file.is_empty()) => Ok(None),
            Some((missing, _)) => Err(missing),
            None => Ok(Some(files.map(|(_, file)| file))),
        }
    }
}

impl Default for ClusterSettings {
    fn default() -> ClusterSettings {
        ClusterSettings {
            name: "millrace".to_owned(),
            token: String::new(),
            tls_certificate_file: String::new(),
            tls_key_file: String::new(),
            tls_ca_file: String::new(),
            silence_ms: 5_000,
            connect_ms: 30_000,
            restart_ms: 200,
            restart_most_ms: 5_000,
        }
    }
}
