//! What tells how to speak to a bucket.

use super::super::{Outcome, StoreError, key};
use std::fmt;
use std::time::Duration;

/// Where these settings are: errors name them.
pub(super) const SECTION: &str = "lake.s3";
/// S3 takes no smaller ones, and no larger ones.
const PART_BYTES_LEAST: usize = 5 << 20;
pub(super) const PART_BYTES_MOST: usize = 5 << 30;
const PREFIX_BYTES_MOST: usize = 120;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Settings {
    pub bucket: String,
    /// Before every key, with a slash between.
    pub prefix: String,
    /// Empty: that of AWS.
    pub endpoint: String,
    /// Empty: as the SDK finds it; `us-east-1` with an endpoint of one's own.
    pub region: String,
    /// The bucket is a part of the path, not of the host's name.
    pub path_style: bool,
    pub credentials: Credentials,
    /// Of one try. An answer that comes bit by bit has this long for each bit.
    pub attempt_timeout: Duration,
    /// Of a call with all its tries.
    pub timeout: Duration,
    /// A larger object is sent in parts of this size; beyond 2,000 parts, of twice that, and so on.
    pub part_bytes: usize,
    /// Parts of one upload that are on their way at a time, each of them in memory.
    pub parts_in_flight: usize,
}

impl Default for S3Settings {
    fn default() -> S3Settings {
        S3Settings {
            bucket: String::new(),
            prefix: String::new(),
            endpoint: String::new(),
            region: String::new(),
            path_style: false,
            credentials: Credentials::Chain,
            attempt_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            part_bytes: 8 << 20,
            parts_in_flight: 4,
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Where the SDK looks: environment, profile, a process, a web identity's token, the container's or the machine's role.
    Chain,
    Keys {
        access_key_id: String,
        secret_access_key: String,
    },
}

/// Shows no key.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Credentials::Chain => "Chain",
            Credentials::Keys { .. } => "Keys(…)",
        })
    }
}

impl S3Settings {
    pub(super) fn place(&self) -> String {
        let S3Settings { bucket, prefix, .. } = self;
        if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") }
    }

    pub(super) fn validated(self) -> Result<S3Settings, StoreError> {
        let settings = S3Settings { prefix: self.prefix.trim_matches('/').to_owned(), ..self };
        match settings.fault() {
            Some(message) => Err(settings.refused(message)),
            None if settings.prefix.is_empty() => Ok(settings),
            None => key::check(&settings.prefix).map(|()| settings),
        }
    }

    fn fault(&self) -> Option<String> {
        let is_url = self.endpoint.is_empty() || self.endpoint.contains("://");
        let parts = PART_BYTES_LEAST..=PART_BYTES_MOST;
        if self.bucket.is_empty() {
            Some("name a bucket: s3://bucket/prefix".to_owned())
        } else if self.prefix.len() > PREFIX_BYTES_MOST {
            Some(format!("the prefix is longer than {PREFIX_BYTES_MOST} bytes"))
        } else if !is_url {
            Some(format!("{SECTION}.endpoint is not a URL: https://host or http://host:port"))
        } else if self.endpoint.contains('@') {
            Some(format!(
                "{SECTION}.endpoint has no place for a user: credentials come from the environment or a profile"
            ))
        } else if !parts.contains(&self.part_bytes) {
            Some(format!("{SECTION}.part_bytes must be from {PART_BYTES_LEAST} to {PART_BYTES_MOST}"))
        } else if self.parts_in_flight == 0 {
            Some(format!("{SECTION}.parts_in_flight must be 1 or more"))
        } else if self.attempt_timeout.is_zero() || self.timeout < self.attempt_timeout {
            Some(format!("{SECTION}.timeout_ms must be more than 0, and not less than that of one try"))
        } else {
            None
        }
    }

    /// The endpoint as messages name it.
    pub(super) fn endpoint(&self) -> &str {
        if self.endpoint.is_empty() { "AWS" } else { &self.endpoint }
    }

    pub(super) fn refused(&self, message: String) -> StoreError {
        let (place, key) = (self.place(), "objects".to_owned());
        StoreError::Failed { what: "keep", place, key, message, outcome: Outcome::Refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut S3Settings)) -> String {
        let mut settings = S3Settings { bucket: "lake".to_owned(), ..S3Settings::default() };
        change(&mut settings);
        settings.validated().unwrap_err().to_string()
    }

    #[test]
    fn a_setting_that_cannot_be_right_is_named() {
        assert!(refusal(|settings| settings.bucket.clear()).contains("name a bucket"));
        assert!(refusal(|settings| settings.endpoint = "localhost".to_owned()).contains("lake.s3.endpoint"));
        assert!(refusal(|settings| settings.part_bytes = 1).contains("lake.s3.part_bytes"));
        assert!(refusal(|settings| settings.parts_in_flight = 0).contains("lake.s3.parts_in_flight"));
        assert!(refusal(|settings| settings.timeout = Duration::ZERO).contains("lake.s3.timeout_ms"));
        assert!(refusal(|settings| settings.prefix = "a/../b".to_owned()).contains(".."));
        let with_user = refusal(|settings| settings.endpoint = "http://user:secret@host".to_owned());
        assert!(with_user.contains("lake.s3.endpoint") && !with_user.contains("secret"));
    }

    #[test]
    fn keys_are_not_shown() {
        let (access_key_id, secret_access_key) = ("secret-id".to_owned(), "secret-key".to_owned());
        let credentials = Credentials::Keys { access_key_id, secret_access_key };
        assert!(!format!("{:?}", S3Settings { credentials, ..S3Settings::default() }).contains("secret"));
    }
}
