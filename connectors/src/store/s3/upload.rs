//! Objects that are streamed. What fits into one part is put whole; of the rest, parts go out while more is written.
//!
//! ```text
//! write ──▶ buffer ──full──▶ UploadPart, at most `parts_in_flight` at a time ──finish──▶ CompleteMultipartUpload
//!                                                                           └─dropped──▶ AbortMultipartUpload
//! ```
//! Of a process that is killed, the parts stay until a [lifecycle rule](super::Lifecycle) removes them.

use super::super::{Outcome, StoreError, Upload, with_retries};
use super::error::{Call, code};
use super::settings::PART_BYTES_MOST;
use super::{Shared, client};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// S3 takes 10,000 parts: after so many they become twice as large.
const PARTS_OF_A_SIZE: usize = 2_000;

pub(super) struct S3Upload {
    shared: Arc<Shared>,
    key: String,
    buffer: Vec<u8>,
    bytes: u64,
    multipart: Option<Multipart>,
    /// It can only be dropped.
    is_lost: bool,
}

/// An upload that S3 knows of. Dropped before it is complete, it is aborted.
struct Multipart {
    shared: Arc<Shared>,
    key: String,
    id: String,
    begun: usize,
    in_flight: VecDeque<JoinHandle<Result<CompletedPart, StoreError>>>,
    parts: Vec<CompletedPart>,
    is_over: bool,
}

impl S3Upload {
    pub(super) fn new(shared: Arc<Shared>, key: &str) -> S3Upload {
        S3Upload { shared, key: key.to_owned(), buffer: Vec::new(), bytes: 0, multipart: None, is_lost: false }
    }

    fn part_bytes(&self) -> usize {
        let begun = self.multipart.as_ref().map_or(0, |multipart| multipart.begun);
        (self.shared.settings.part_bytes << (begun / PARTS_OF_A_SIZE)).min(PART_BYTES_MOST)
    }

    fn send_part(&mut self) -> Result<(), StoreError> {
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            none => none.insert(Multipart::begin(&self.shared, &self.key)?),
        };
        multipart.send(Bytes::from(std::mem::take(&mut self.buffer)))
    }
}

impl io::Write for S3Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only what does not fit makes it an upload of parts.
        if self.buffer.len() >= self.part_bytes() && !bytes.is_empty() {
            self.send_part().map_err(io::Error::other)?;
        }
        let taken = bytes.len().min(self.part_bytes() - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    /// A part is sent when it is full, and the last one at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for S3Upload {
    fn finish(&mut self) -> Result<u64, StoreError> {
        if self.is_lost {
            let message = "a part of it is lost: begin it anew".to_owned();
            return Err(self.shared.error(Call::WriteOnce(&self.key), message, Outcome::Refused));
        }
        if self.multipart.is_none() {
            let bytes = Bytes::from(std::mem::take(&mut self.buffer));
            let put = self.shared.put_whole(&self.key, bytes.clone());
            if put.is_err() {
                self.buffer = bytes.into();
            }
            return put.map(|()| self.bytes);
        }
        // From here on it cannot be repeated: what is in flight is gone with it.
        self.is_lost = true;
        self.send_part()?;
        let multipart = self.multipart.take().expect("a part was sent");
        multipart.complete(self.bytes)?;
        Ok(self.bytes)
    }
}

impl Multipart {
    fn begin(shared: &Arc<Shared>, key: &str) -> Result<Multipart, StoreError> {
        let request = shared.client.create_multipart_upload().bucket(shared.bucket()).key(shared.full(key));
        let answer = shared.call(Call::Write(key), request.send())?;
        let without = || shared.error(Call::Write(key), "an upload without an id".to_owned(), Outcome::Refused);
        let id = answer.upload_id.ok_or_else(without)?;
        let (shared, key) = (shared.clone(), key.to_owned());
        Ok(Multipart { shared, key, id, begun: 0, in_flight: VecDeque::new(), parts: Vec::new(), is_over: false })
    }

    fn send(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        while self.in_flight.len() >= self.shared.settings.parts_in_flight {
            self.settle_one()?;
        }
        self.begun += 1;
        let number = i32::try_from(self.begun).expect("there are 10,000 parts at most");
        let (shared, key, id) = (self.shared.clone(), self.key.clone(), self.id.clone());
        let request = shared.client.upload_part().bucket(shared.bucket()).key(shared.full(&key));
        let request = request.upload_id(id).part_number(number).body(ByteStream::from(bytes));
        self.in_flight.push_back(self.shared.runtime().spawn(async move {
            match request.send().await {
                Ok(part) => Ok(CompletedPart::builder().part_number(number).set_e_tag(part.e_tag).build()),
                Err(error) => Err(shared.failed(Call::Write(&key), &error)),
            }
        }));
        Ok(())
    }

    /// Waits for the part that is on its way longest.
    fn settle_one(&mut self) -> Result<(), StoreError> {
        if let Some(part) = self.in_flight.pop_front() {
            let part = self.shared.run(part).expect("it is not cancelled before the end, and does not panic")?;
            self.parts.push(part);
        }
        Ok(())
    }

    fn complete(mut self, bytes: u64) -> Result<(), StoreError> {
        while !self.in_flight.is_empty() {
            self.settle_one()?;
        }
        // S3 does not mind that a part is missing.
        if self.parts.len() != self.begun {
            let message = "an earlier part of it failed: begin it anew".to_owned();
            return Err(self.shared.error(Call::WriteOnce(&self.key), message, Outcome::Refused));
        }
        let whole = CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.parts))).build();
        let (shared, key) = (self.shared.clone(), self.key.clone());
        let mut is_open = false;
        let done = with_retries(&shared.retry(), || {
            let request = shared.client.complete_multipart_upload().bucket(shared.bucket()).key(shared.full(&key));
            let request = request.upload_id(&self.id).multipart_upload(whole.clone()).customize();
            match shared.run(request.config_override(client::one_try(&shared.settings)).send()) {
                Ok(_) => Ok(()),
                // A try whose answer was lost has completed it: nobody else knows this upload.
                Err(error) if is_open && code(&error) == Some("NoSuchUpload") => self.find(bytes),
                Err(error) => {
                    let error = shared.failed(Call::WriteOnce(&key), &error);
                    is_open |= error.outcome() == Outcome::Indefinite;
                    Err(error)
                }
            }
        });
        self.is_over = done.is_ok();
        done.map_err(|error| match error {
            StoreError::Failed { what, place, key, message, .. } if is_open => {
                StoreError::Failed { what, place, key, message, outcome: Outcome::Indefinite }
            }
            error => error,
        })
    }

    /// That the object is there, and is as large as this one.
    fn find(&self, bytes: u64) -> Result<(), StoreError> {
        let shared = &self.shared;
        let request = shared.client.head_object().bucket(shared.bucket()).key(shared.full(&self.key));
        let answer = shared.call(Call::Read(&self.key), request.send())?;
        if answer.content_length().and_then(|length| u64::try_from(length).ok()) == Some(bytes) {
            return Ok(());
        }
        let message = "the upload is gone, and another object is there".to_owned();
        Err(shared.error(Call::WriteOnce(&self.key), message, Outcome::Refused))
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let parts = std::mem::take(&mut self.in_flight);
        let request = self.shared.client.abort_multipart_upload().bucket(self.shared.bucket());
        let request = request.key(self.shared.full(&self.key)).upload_id(&self.id).customize();
        let request = request.config_override(client::few_tries(&self.shared.settings));
        self.shared.run(async move {
            // A part that comes after the end of its upload would stay.
            parts.iter().for_each(JoinHandle::abort);
            for part in parts {
                let _ = part.await;
            }
            // What cannot be aborted is left to the lifecycle rule.
            let _ = request.send().await;
        });
    }
}
