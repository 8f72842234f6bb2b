//! What the SDK's errors mean: what is known of the call, and which setting may be wrong.

use super::super::{Outcome, StoreError};
use super::settings::SECTION;
use super::{Shared, shown};
use crate::short::short;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;
use std::io;

pub(super) trait Service: Error + ProvideErrorMetadata + Send + Sync {}
impl<E: Error + ProvideErrorMetadata + Send + Sync> Service for E {}

/// A call, and the key or prefix that it is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call<'a> {
    Write(&'a str),
    /// Without the SDK's repetitions.
    WriteOnce(&'a str),
    Read(&'a str),
    List(&'a str),
    Delete(&'a str),
    Reach,
    ReadLifecycle,
    WriteLifecycle,
}

impl<'a> Call<'a> {
    fn parts(self) -> (&'static str, &'a str) {
        match self {
            Call::Write(key) | Call::WriteOnce(key) => ("write", key),
            Call::Read(key) => ("read", key),
            Call::List("") => ("list", "objects"),
            Call::List(prefix) => ("list", prefix),
            Call::Delete(key) => ("delete", key),
            Call::Reach => ("reach", "the bucket"),
            Call::ReadLifecycle => ("read", "the lifecycle rules"),
            Call::WriteLifecycle => ("write", "the lifecycle rules"),
        }
    }

    fn changes(self) -> bool {
        matches!(self, Call::Write(_) | Call::WriteOnce(_) | Call::Delete(_) | Call::WriteLifecycle)
    }
}

impl Shared {
    pub(super) fn failed<E: Service + 'static>(&self, call: Call, error: &SdkError<E>) -> StoreError {
        let settings = &self.settings;
        let (message, outcome) = match error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let code = answer.err().code();
                let message = said(code, answer.err().message(), status);
                let region = answer.raw().headers().get("x-amz-bucket-region");
                (message + &self.advice(code, status, region), outcome(code, status))
            }
            SdkError::TimeoutError(_) => {
                let (attempt, whole) = (shown(settings.attempt_timeout), shown(settings.timeout));
                let message = format!(
                    "{} did not answer in time ({attempt} a try, {whole} in all); check {SECTION}.endpoint, or raise \
                     {SECTION}.timeout_ms",
                    settings.endpoint()
                );
                (message, Outcome::Indefinite)
            }
            SdkError::ResponseError(_) => {
                let advice = format!("{} does not answer as S3 does; check {SECTION}.endpoint", settings.endpoint());
                (advice, Outcome::Indefinite)
            }
            SdkError::ConstructionFailure(_) => (innermost(error), Outcome::Refused),
            _ => {
                let message =
                    format!("{}; check {SECTION}.endpoint ({}) and the network", innermost(error), settings.endpoint());
                (message, if is_refused(error) { Outcome::Passing } else { Outcome::Indefinite })
            }
        };
        self.error(call, message, outcome)
    }

    /// Of one item of a batch.
    pub(super) fn failed_item(&self, call: Call, code: Option<&str>, message: Option<&str>) -> StoreError {
        self.error(call, said(code, message, 200) + &self.advice(code, 200, None), Outcome::Indefinite)
    }

    pub(super) fn error(&self, call: Call, message: String, outcome: Outcome) -> StoreError {
        let (what, key) = call.parts();
        let outcome = match outcome {
            // What changes nothing may be done again without a thought.
            Outcome::Indefinite if !call.changes() => Outcome::Passing,
            // This is the last try's, and one before may have been done.
            Outcome::Passing if call.changes() && !matches!(call, Call::WriteOnce(_)) => Outcome::Indefinite,
            outcome => outcome,
        };
        StoreError::Failed { what, place: self.place.clone(), key: key.to_owned(), message, outcome }
    }

    fn advice(&self, code: Option<&str>, status: u16, region: Option<&str>) -> String {
        match (code, status) {
            (Some("NoSuchBucket"), _) => "; create the bucket, or name another".to_owned(),
            (Some("RequestTimeTooSkewed"), _) => "; set the clock of this machine".to_owned(),
            (Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException"), _)
            | (_, 301 | 307) => match region {
                Some(region) => format!("; the bucket is in {region}: set {SECTION}.region"),
                None => format!("; check {SECTION}.region and {SECTION}.endpoint"),
            },
            (Some("ExpiredToken" | "InvalidToken"), _) | (_, 401 | 403) => {
                "; check the credentials, and what they may do with this bucket".to_owned()
            }
            (None, 400 | 404 | 405) => format!("; check {SECTION}.endpoint ({})", self.settings.endpoint()),
            (_, 429 | 503) => format!("; raise {SECTION}.timeout_ms if it is often so busy"),
            _ => String::new(),
        }
    }
}

/// What is known of a call that was answered so.
fn outcome(code: Option<&str>, status: u16) -> Outcome {
    match (code, status) {
        (Some("RequestTimeout"), _) | (_, 408) => Outcome::Indefinite,
        // Too many requests, or another one for this key is under way.
        (Some("SlowDown"), _) | (_, 409 | 429) => Outcome::Passing,
        (_, 500..) => Outcome::Indefinite,
        // Credentials are changed and rights given, a bucket is made anew.
        (Some("ExpiredToken" | "InvalidToken"), _) | (_, 401 | 403 | 404) => Outcome::Hindered,
        _ => Outcome::Refused,
    }
}

fn said(code: Option<&str>, message: Option<&str>, status: u16) -> String {
    match (code, message) {
        (Some(code), Some(message)) => short(&format!("{code}: {}", message.trim_end_matches('.'))),
        (Some(code), None) => short(code),
        (None, _) => format!("HTTP status {status}"),
    }
}

pub(super) fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// The cause at the end: what is above says only that something failed.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let cause = causes(error).last().expect("it begins with the error itself").to_string();
    short(cause.trim_end_matches('.'))
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Nobody listens there: no request was sent.
fn is_refused(error: &(dyn Error + 'static)) -> bool {
    let kind = |cause: &(dyn Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    causes(error).any(|cause| kind(cause) == Some(io::ErrorKind::ConnectionRefused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_have_been_done_is_definite() {
        assert_eq!(outcome(Some("InternalError"), 500), Outcome::Indefinite);
        assert_eq!(outcome(None, 503), Outcome::Indefinite);
        assert_eq!(outcome(Some("RequestTimeout"), 400), Outcome::Indefinite);
        assert_eq!(outcome(Some("SlowDown"), 503), Outcome::Passing);
        assert_eq!(outcome(Some("ConditionalRequestConflict"), 409), Outcome::Passing);
        assert_eq!(outcome(Some("AccessDenied"), 403), Outcome::Hindered);
        assert_eq!(outcome(Some("NoSuchBucket"), 404), Outcome::Hindered);
        assert_eq!(outcome(Some("ExpiredToken"), 400), Outcome::Hindered);
        assert_eq!(outcome(Some("InvalidArgument"), 400), Outcome::Refused);
    }
}
