//! The SDK's client, as a store needs it.

use super::settings::{Credentials, S3Settings, SECTION};
use super::{StoreError, error, shown};
use aws_config::{BehaviorVersion, ConfigLoader};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Credentials as SdkCredentials, ProvideCredentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedHttpClient,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use std::time::Duration;

pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Of the SDK. With its pauses they are over later than the deadline.
const TRIES_MOST: u32 = 30;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Where the endpoint is one's own, it is only a part of the signature.
const ANY_REGION: &str = "us-east-1";

pub(super) async fn connect(settings: S3Settings) -> Result<Client, StoreError> {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = tokio::time::timeout(settings.timeout, loader(&settings, http).load()).await;
    let slow = |_| settings.refused(format!("no credentials within {}; {WHERE}", shown(settings.timeout)));
    let config = config.map_err(slow)?;
    if config.region().is_none() {
        return Err(settings.refused(format!("the region is not known: set {SECTION}.region")));
    }
    // Now, for a request would only say that it could not be sent.
    let provider = config.credentials_provider().ok_or_else(|| settings.refused(format!("no credentials; {WHERE}")))?;
    let found = tokio::time::timeout(settings.timeout, provider.provide_credentials()).await.map_err(slow)?;
    found.map_err(|error| settings.refused(format!("no credentials: {}; {WHERE}", error::innermost(&error))))?;

    let mut builder = Builder::from(&config)
        .force_path_style(settings.path_style)
        .timeout_config(timeouts(&settings, settings.timeout))
        .retry_config(tries(TRIES_MOST))
        // What only AWS knows is left out: others speak the protocol, too.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if !settings.endpoint.is_empty() {
        builder = builder.endpoint_url(&settings.endpoint);
    }
    Ok(Client::from_conf(builder.build()))
}

const WHERE: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run with a role";

fn loader(settings: &S3Settings, http: SharedHttpClient) -> ConfigLoader {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if !settings.region.is_empty() {
        loader = loader.region(Region::new(settings.region.clone()));
    } else if !settings.endpoint.is_empty() {
        loader = loader.region(Region::new(ANY_REGION));
    }
    if let Credentials::Keys { access_key_id, secret_access_key } = &settings.credentials {
        let keys = SdkCredentials::new(access_key_id, secret_access_key, None, None, "settings");
        loader = loader.credentials_provider(keys);
    }
    loader
}

/// For a request that must not be repeated blindly.
pub(super) fn one_try(settings: &S3Settings) -> Builder {
    Builder::new().retry_config(RetryConfig::disabled()).timeout_config(timeouts(settings, settings.attempt_timeout))
}

/// For a request that is to fail soon where something is wrong for good.
pub(super) fn few_tries(settings: &S3Settings) -> Builder {
    Builder::new().retry_config(tries(3)).timeout_config(timeouts(settings, settings.timeout))
}

fn tries(most: u32) -> RetryConfig {
    RetryConfig::standard().with_max_attempts(most).with_initial_backoff(FIRST_PAUSE).with_max_backoff(LONGEST_PAUSE)
}

fn timeouts(settings: &S3Settings, whole: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT.min(settings.attempt_timeout))
        .operation_attempt_timeout(settings.attempt_timeout)
        .operation_timeout(whole)
        .build()
}
