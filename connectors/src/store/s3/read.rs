//! Reading an object. Where an answer breaks off, the rest is asked for, of the same object.

use super::super::{Outcome, StoreError, with_retries};
use super::error::{Call, code, innermost, status};
use super::{Shared, shown};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// More is reserved only as it comes.
const RESERVE_MOST: usize = 1 << 30;

/// What has come of an object so far.
#[derive(Default)]
struct Got {
    bytes: Vec<u8>,
    /// Names what is read: one that is overwritten meanwhile is not mixed with it.
    etag: Option<String>,
}

/// How one answer ended.
enum Part {
    Whole,
    Broken(String),
}

pub(super) fn read(shared: &Arc<Shared>, key: &str, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
    let full = shared.checked(key)?;
    let mut got = Got::default();
    loop {
        // The deadline is that of getting on, not of an object of any size.
        let before = got.bytes.len();
        let result = with_retries(&shared.retry(), || match read_part(shared, key, &full, range.as_ref(), &mut got)? {
            Part::Whole => Ok(true),
            Part::Broken(_) if got.bytes.len() > before => Ok(false),
            Part::Broken(message) => Err(shared.error(Call::Read(key), message, Outcome::Passing)),
        });
        if result? {
            return Ok(Bytes::from(got.bytes));
        }
    }
}

fn read_part(
    shared: &Arc<Shared>,
    key: &str,
    full: &str,
    range: Option<&Range<u64>>,
    got: &mut Got,
) -> Result<Part, StoreError> {
    let start = range.map_or(0, |range| range.start) + got.bytes.len() as u64;
    let wanted = match range {
        Some(range) => Some(format!("bytes={start}-{}", range.end - 1)),
        None => (start > 0).then(|| format!("bytes={start}-")),
    };
    let request = shared.client.get_object().bucket(shared.bucket()).key(full).set_if_match(got.etag.clone());
    let answer = match shared.run(request.set_range(wanted.clone()).send()) {
        Ok(answer) => answer,
        // Nothing of the object is in the range.
        Err(error) if status(&error) == Some(416) => return Ok(Part::Whole),
        // It is another object now.
        Err(error) if status(&error) == Some(412) => {
            *got = Got::default();
            return Ok(Part::Broken("it is written while it is read".to_owned()));
        }
        Err(error) if status(&error) == Some(404) && code(&error) != Some("NoSuchBucket") => {
            return Err(StoreError::NotFound { place: shared.place.clone(), key: key.to_owned() });
        }
        Err(error) => return Err(shared.failed(Call::Read(key), &error)),
    };
    if wanted.is_some() && answer.content_range().is_none() {
        return Err(shared.settings.refused("this endpoint has no ranges: use one that has them".to_owned()));
    }
    let GetObjectOutput { body, content_length, e_tag, .. } = answer;
    let length = content_length.and_then(|length| usize::try_from(length).ok());
    got.etag = e_tag;
    let mut bytes = std::mem::take(&mut got.bytes);
    let patience = shared.settings.attempt_timeout;
    let (part, bytes) = shared.run(async move {
        bytes.reserve(length.unwrap_or_default().min(RESERVE_MOST));
        let part = collect(body, length, &mut bytes, patience).await;
        (part, bytes)
    });
    got.bytes = bytes;
    Ok(part)
}

async fn collect(mut body: ByteStream, length: Option<usize>, bytes: &mut Vec<u8>, patience: Duration) -> Part {
    let end = length.map(|length| bytes.len() + length);
    loop {
        match timeout(patience, body.next()).await {
            Ok(Some(Ok(some))) => bytes.extend_from_slice(&some),
            Ok(Some(Err(error))) => return Part::Broken(format!("the answer broke off: {}", innermost(&error))),
            Ok(None) if end.is_some_and(|end| bytes.len() != end) => {
                return Part::Broken("the answer ended too soon".to_owned());
            }
            Ok(None) => return Part::Whole,
            Err(_) => return Part::Broken(format!("nothing came for {}", shown(patience))),
        }
    }
}
