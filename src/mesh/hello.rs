//! What a process says when it knocks, and what it is answered.

use super::frame::{read_frame, write_frame};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// Comes before everything: what does not begin with it is no process of ours.
const MAGIC: &[u8; 16] = b"millrace mesh 1\n";
/// A hello is no longer.
const HELLO_MOST: usize = 256 << 10;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// What process 0 tells, and what it is said.
    Control,
    /// What timely exchanges, in one generation.
    Data { generation: u64 },
}

/// Who knocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Of the program: all processes run the same.
    pub program: String,
    /// The name of the cluster, `cluster.name`.
    pub cluster: String,
    /// The secret of the cluster, `cluster.token`; empty where there is none.
    pub token: String,
    pub process: usize,
    pub processes: usize,
    /// Of each process: all have as many.
    pub workers: usize,
    /// What decides answers and what is read, by key of the settings: all have the same.
    pub settings: Vec<(String, String)>,
    pub purpose: Purpose,
}

/// What who knocks is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Welcome,
    /// Not now: knock again.
    Later(String),
    /// Never, for this reason.
    Refused(String),
}

impl Hello {
    /// Why this process cannot be of a cluster with `other`, which knocks. No secret is in it.
    pub fn disagreement(&self, other: &Hello) -> Option<String> {
        use subtle::ConstantTimeEq;
        let differs = |what: &str, ours: &dyn std::fmt::Display, theirs: &dyn std::fmt::Display| {
            Some(format!("{what} is {ours} here and {theirs} there"))
        };
        if self.cluster != other.cluster {
            return differs("cluster.name", &self.cluster, &other.cluster);
        }
        if !bool::from(self.token.as_bytes().ct_eq(other.token.as_bytes())) {
            return Some("cluster.token is another".to_owned());
        }
        if self.program != other.program {
            return differs("the program's version", &self.program, &other.program);
        }
        if self.processes != other.processes {
            return differs("--processes", &self.processes, &other.processes);
        }
        if self.workers != other.workers {
            return differs("live.workers", &self.workers, &other.workers);
        }
        if other.process == self.process || other.process >= self.processes {
            return Some(format!("--process {} is not free", other.process));
        }
        for ((key, ours), (other_key, theirs)) in self.settings.iter().zip(&other.settings) {
            if key != other_key {
                return Some(format!("the setting {key} is known on one side alone"));
            }
            if ours != theirs {
                return differs(key, ours, theirs);
            }
        }
        (self.settings.len() != other.settings.len()).then(|| "one side has settings that the other has not".to_owned())
    }

    /// # Errors
    /// Where the other end does not take it.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(MAGIC)?;
        write_frame(out, &serde_json::to_vec(self).expect("a hello is plain data"))
    }

    /// # Errors
    /// `InvalidData` where it is none of ours; where nothing comes.
    pub fn read(from: &mut dyn Read) -> io::Result<Hello> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic)?;
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        if magic != *MAGIC {
            return Err(invalid("it does not begin as processes of a cluster do".to_owned()));
        }
        let bytes = read_frame(from, HELLO_MOST)?;
        serde_json::from_slice(&bytes).map_err(|error| invalid(format!("its hello cannot be read: {error}")))
    }
}

impl Answer {
    /// # Errors
    /// Where the other end does not take it.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        write_frame(out, &serde_json::to_vec(self).expect("an answer is plain data"))
    }

    /// # Errors
    /// Where none comes, or what comes is none.
    pub fn read(from: &mut dyn Read) -> io::Result<Answer> {
        let bytes = read_frame(from, HELLO_MOST)?;
        serde_json::from_slice(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn hello(process: usize, purpose: Purpose) -> Hello {
        Hello {
            program: "1".to_owned(),
            cluster: "shop".to_owned(),
            token: "secret".to_owned(),
            process,
            processes: 3,
            workers: 1,
            settings: vec![("store.time_zone".to_owned(), "UTC".to_owned())],
            purpose,
        }
    }

    #[test]
    fn who_is_not_of_the_cluster_is_told_why() {
        let ours = hello(0, Purpose::Control);
        assert_eq!(ours.disagreement(&hello(1, Purpose::Control)), None);
        let check = |change: &dyn Fn(&mut Hello), words: &str| {
            let mut other = hello(1, Purpose::Control);
            change(&mut other);
            let reason = ours.disagreement(&other).expect(words);
            assert!(reason.contains(words) && !reason.contains("secret"), "{reason}");
        };
        check(&|other| other.cluster = "test".to_owned(), "cluster.name is shop here and test there");
        check(&|other| other.token = "guess".to_owned(), "cluster.token");
        check(&|other| other.program = "2".to_owned(), "version is 1 here and 2 there");
        check(&|other| other.processes = 2, "--processes is 3 here and 2 there");
        check(&|other| other.workers = 2, "live.workers");
        check(&|other| other.process = 0, "--process 0");
        check(&|other| other.process = 3, "--process 3");
        check(
            &|other| other.settings[0].1 = "Asia/Tokyo".to_owned(),
            "store.time_zone is UTC here and Asia/Tokyo there",
        );
        check(&|other| other.settings.clear(), "settings");
    }

    #[test]
    fn what_is_no_hello_is_refused() {
        let mut wire = Vec::new();
        let ours = hello(2, Purpose::Data { generation: 7 });
        ours.write(&mut wire).expect("memory takes it");
        assert_eq!(Hello::read(&mut &wire[..]).expect("it is whole"), ours);
        for garbage in [
            &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            b"millrace mesh 1\n\xff\xff\xff\xff",
            b"millrace mesh 1\n\x02\0\0\0{}",
        ] {
            let error = Hello::read(&mut &*garbage).expect_err("it is none");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
        assert_eq!(
            Hello::read(&mut &b"mill"[..]).expect_err("its end is missing").kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
