//! Buckets of a real server.

use bytes::Bytes;
use millrace_connectors::store::{Credentials, S3, S3Settings};
use millrace_parts::or_skip;
use millrace_parts::s3::Moto;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub const MIB: usize = 1 << 20;

/// The server of this process, where there is one.
pub fn server() -> Option<&'static Moto> {
    or_skip(Moto::shared())
}

/// Settings for a new bucket.
pub fn bucket(moto: &Moto) -> S3Settings {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let bucket = format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    moto.create_bucket(&bucket).unwrap();
    S3Settings { bucket, ..settings(moto.endpoint()) }
}

pub fn settings(endpoint: &str) -> S3Settings {
    let credentials = Credentials::Keys { access_key_id: "an-id".to_owned(), secret_access_key: "a-secret".to_owned() };
    S3Settings {
        bucket: "lake".to_owned(),
        prefix: "some/where".to_owned(),
        endpoint: endpoint.to_owned(),
        path_style: true,
        credentials,
        part_bytes: 5 * MIB,
        ..S3Settings::default()
    }
}

/// Such that a test sees an end.
pub fn impatient(settings: S3Settings) -> S3Settings {
    S3Settings { attempt_timeout: Duration::from_millis(700), timeout: Duration::from_secs(4), ..settings }
}

pub fn open(settings: &S3Settings) -> S3 {
    S3::open(settings.clone()).unwrap()
}

/// What the message of a store that cannot be opened says. It has no secret.
pub fn refusal(settings: &S3Settings) -> String {
    let error = S3::open(settings.clone()).err().expect("it must be refused");
    let told = format!("{error} {error:?}");
    assert!(!told.contains("secret"), "{told}");
    error.to_string()
}

/// Bytes that do not repeat.
pub fn noise(bytes: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise.into()
}
