//! S3, and what speaks its protocol.

mod lifecycle;
mod upload;

pub use lifecycle::Expiry;

use super::{Entry, Put, Store, StoreError, Upload, key};
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use aws_smithy_http_client::tls;
use bytes::Bytes;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// S3 removes so many objects with one call.
const DELETE_MOST: usize = 1_000;
/// A conditional write that meets another on its way is told to come again.
const CONFLICTS_MOST: u32 = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Settings {
    pub bucket: String,
    /// Begins every key; empty, or without a slash at its ends.
    pub prefix: String,
    /// Empty: that of AWS.
    pub endpoint: String,
    /// Empty: as the SDK finds it.
    pub region: String,
    /// The bucket is a part of the path, not of the host's name.
    pub path_style: bool,
    /// Of one try of one request.
    pub attempt_timeout: Duration,
    /// Of a request with all its tries.
    pub timeout: Duration,
    pub attempts: u32,
    /// A larger object is sent in parts of this size; S3 takes no smaller ones than 5 MiB.
    pub part_bytes: usize,
    /// Parts of one object that are on their way at a time.
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
            attempt_timeout: Duration::from_secs(20),
            timeout: Duration::from_secs(60),
            attempts: 6,
            part_bytes: 8 << 20,
            parts_in_flight: 4,
        }
    }
}

/// A prefix of a bucket. Credentials come from where the SDK looks for them: environment, profile, role.
pub struct S3 {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    runtime: Runtime,
    settings: S3Settings,
}

impl S3 {
    /// Opens a bucket; one request tells whether it can be reached.
    ///
    /// # Errors
    /// [`StoreError`] where it cannot.
    pub fn open(settings: S3Settings) -> Result<S3, StoreError> {
        let place = place(&settings);
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("s3").enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Io {
            what: "start the client for",
            place: place.clone(),
            key: String::new(),
            error,
        })?;
        let client = runtime.block_on(client(&settings));
        let store = S3 { shared: Arc::new(Shared { client, runtime, settings }) };
        store.check()?;
        Ok(store)
    }

    fn check(&self) -> Result<(), StoreError> {
        let Shared { client, settings, .. } = &*self.shared;
        let request = client.list_objects_v2().bucket(&settings.bucket).prefix(&settings.prefix).max_keys(1);
        let answer = self.shared.runtime.block_on(request.send());
        answer.map(drop).map_err(|error| {
            let message = format!(
                "{}; check the bucket, lake.s3.endpoint ({}), lake.s3.region, lake.s3.path_style and the credentials",
                said(&error),
                if settings.endpoint.is_empty() { "AWS" } else { &settings.endpoint }
            );
            self.shared.remote("reach", "the bucket", message, false)
        })
    }
}

async fn client(settings: &S3Settings) -> Client {
    let mode = tls::rustls_provider::CryptoMode::Ring;
    let http = aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(mode)).build_https();
    let mut config = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if !settings.region.is_empty() {
        config = config.region(Region::new(settings.region.clone()));
    }
    let config = config.load().await;
    let needs_region = config.region().is_none();
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(settings.attempt_timeout)
        .operation_timeout(settings.timeout)
        .build();
    let mut config = aws_sdk_s3::config::Builder::from(&config)
        .force_path_style(settings.path_style)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(settings.attempts))
        // What only AWS knows is left out, for the sake of others that speak the protocol.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if !settings.endpoint.is_empty() {
        config = config.endpoint_url(&settings.endpoint);
    }
    if needs_region {
        config = config.region(Region::new("us-east-1"));
    }
    Client::from_conf(config.build())
}

fn place(settings: &S3Settings) -> String {
    let S3Settings { bucket, prefix, .. } = settings;
    if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") }
}

/// What the SDK says, with its causes; it has no secrets in it.
fn said<E: Error + ProvideErrorMetadata + 'static>(error: &SdkError<E>) -> String {
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => DisplayErrorContext(error).to_string(),
    }
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Whether the same request may work later.
fn is_passing<E>(error: &SdkError<E>) -> bool {
    match status(error) {
        Some(status) => status >= 500 || status == 429 || status == 408,
        None => !matches!(error, SdkError::ConstructionFailure(_)),
    }
}

impl Shared {
    fn key(&self, key: &str) -> Result<String, StoreError> {
        key::check(key)?;
        Ok(self.full(key))
    }

    fn full(&self, key: &str) -> String {
        let prefix = &self.settings.prefix;
        if prefix.is_empty() { key.to_owned() } else { format!("{prefix}/{key}") }
    }

    fn remote(&self, what: &'static str, key: &str, message: String, is_passing: bool) -> StoreError {
        StoreError::Remote { what, place: place(&self.settings), key: key.to_owned(), message, is_passing }
    }

    fn error<E: Error + ProvideErrorMetadata + 'static>(
        &self,
        what: &'static str,
        key: &str,
        error: &SdkError<E>,
    ) -> StoreError {
        let hint = match error {
            SdkError::TimeoutError(_) => "; if the store is slow, raise lake.s3.timeout_ms",
            _ => "",
        };
        self.remote(what, key, said(error) + hint, is_passing(error))
    }
}

impl Store for S3 {
    fn create(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        let full = self.shared.key(key)?;
        Ok(Box::new(upload::S3Upload::new(self.shared.clone(), key.to_owned(), full)))
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let Shared { client, runtime, settings } = &*self.shared;
        let request = client.put_object().bucket(&settings.bucket).key(self.shared.key(key)?);
        let answer = runtime.block_on(request.body(ByteStream::from(bytes)).send());
        answer.map(drop).map_err(|error| self.shared.error("write", key, &error))
    }

    fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError> {
        let Shared { client, runtime, settings } = &*self.shared;
        let full = self.shared.key(key)?;
        let mut conflicts = 0;
        loop {
            let request = client.put_object().bucket(&settings.bucket).key(&full).if_none_match("*");
            let answer = runtime.block_on(request.body(ByteStream::from(bytes.clone())).send());
            let Err(error) = answer else { return Ok(Put::Created) };
            match status(&error) {
                Some(409) if conflicts < CONFLICTS_MOST => {
                    conflicts += 1;
                    std::thread::sleep(Duration::from_millis(20 << conflicts));
                    continue;
                }
                Some(501) => {
                    let message = "it has no conditional writes (If-None-Match), without which two engines could \
                                   overwrite each other: use a store that has them"
                        .to_owned();
                    return Err(self.shared.remote("write", key, message, false));
                }
                _ => {}
            }
            // It may have been done by a try whose answer was lost: what is there tells.
            return match self.get(key) {
                Ok(there) if there == bytes => Ok(Put::Created),
                Ok(_) => Ok(Put::Exists),
                Err(_) => Err(self.shared.error("write", key, &error)),
            };
        }
    }

    fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        let Shared { client, runtime, settings } = &*self.shared;
        let full = self.shared.key(key)?;
        runtime.block_on(async {
            let answer = client.get_object().bucket(&settings.bucket).key(full).send().await;
            let object = answer.map_err(|error| match status(&error) {
                Some(404) => StoreError::NotFound { place: place(settings), key: key.to_owned() },
                _ => self.shared.error("read", key, &error),
            })?;
            let body = object.body.collect().await;
            body.map(|body| body.into_bytes())
                .map_err(|error| self.shared.remote("read", key, DisplayErrorContext(&error).to_string(), true))
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let Shared { client, runtime, settings } = &*self.shared;
        let (full, skip) = (self.shared.full(prefix), self.shared.full("").len());
        let mut entries = Vec::new();
        runtime.block_on(async {
            let request = client.list_objects_v2().bucket(&settings.bucket).prefix(&full);
            let mut pages = request.into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| self.shared.error("list", prefix, &error))?;
                for object in page.contents() {
                    let key = object.key().and_then(|key| key.get(skip..)).unwrap_or_default().to_owned();
                    entries.push(Entry {
                        key,
                        bytes: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                    });
                }
            }
            Ok(())
        })?;
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }

    fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let Shared { client, runtime, settings } = &*self.shared;
        for keys in keys.chunks(DELETE_MOST) {
            let first = keys.first().map_or("", String::as_str);
            let objects: Result<Vec<ObjectIdentifier>, StoreError> = keys
                .iter()
                .map(|key| {
                    let object = ObjectIdentifier::builder().key(self.shared.key(key)?).build();
                    object.map_err(|error| self.shared.remote("delete", key, error.to_string(), false))
                })
                .collect();
            let delete = Delete::builder().set_objects(Some(objects?)).quiet(true).build();
            let delete = delete.map_err(|error| self.shared.remote("delete", first, error.to_string(), false))?;
            let answer = runtime.block_on(client.delete_objects().bucket(&settings.bucket).delete(delete).send());
            let answer = answer.map_err(|error| self.shared.error("delete", first, &error))?;
            if let Some(failed) = answer.errors().first() {
                let message = format!("{}: {}", failed.code().unwrap_or("error"), failed.message().unwrap_or_default());
                return Err(self.shared.remote("delete", failed.key().unwrap_or(first), message, true));
            }
        }
        Ok(())
    }

    fn place(&self) -> String {
        place(&self.shared.settings)
    }
}
