//! An object on its way to S3: at once where it is small, in parts where it is not.

use super::{Shared, StoreError, Upload};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The most parts that an object may have.
const PARTS_MOST: i32 = 10_000;

pub(super) struct S3Upload {
    shared: Arc<Shared>,
    key: String,
    /// With the prefix.
    full: String,
    buffer: Vec<u8>,
    bytes: u64,
    /// Once there is more than one part.
    id: Option<String>,
    in_flight: VecDeque<JoinHandle<Result<CompletedPart, StoreError>>>,
    done: Vec<CompletedPart>,
    next_part: i32,
}

impl S3Upload {
    pub fn new(shared: Arc<Shared>, key: String, full: String) -> S3Upload {
        S3Upload {
            shared,
            key,
            full,
            buffer: Vec::new(),
            bytes: 0,
            id: None,
            in_flight: VecDeque::new(),
            done: Vec::new(),
            next_part: 1,
        }
    }

    fn begin(&mut self) -> Result<String, StoreError> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let Shared { client, runtime, settings } = &*self.shared;
        let request = client.create_multipart_upload().bucket(&settings.bucket).key(&self.full);
        let answer = runtime.block_on(request.send());
        let answer = answer.map_err(|error| self.shared.error("begin", &self.key, &error))?;
        let id = answer.upload_id().unwrap_or_default().to_owned();
        self.id = Some(id.clone());
        Ok(id)
    }

    /// Sends what is in the buffer as a part.
    fn send_part(&mut self) -> Result<(), StoreError> {
        let id = self.begin()?;
        if self.next_part > PARTS_MOST {
            let message = format!("it has more than {PARTS_MOST} parts; raise lake.s3.part_bytes");
            return Err(self.shared.remote("write", &self.key, message, false));
        }
        while self.in_flight.len() >= self.shared.settings.parts_in_flight.max(1) {
            self.wait_for_part()?;
        }
        let (number, body) = (self.next_part, Bytes::from(std::mem::take(&mut self.buffer)));
        self.next_part += 1;
        let (shared, key, full) = (self.shared.clone(), self.key.clone(), self.full.clone());
        self.in_flight.push_back(self.shared.runtime.spawn(async move {
            let request = shared.client.upload_part().bucket(&shared.settings.bucket).key(full).upload_id(id);
            let answer = request.part_number(number).body(ByteStream::from(body)).send().await;
            let answer = answer.map_err(|error| shared.error("write", &key, &error))?;
            let part = CompletedPart::builder().part_number(number);
            Ok(part.set_e_tag(answer.e_tag().map(str::to_owned)).build())
        }));
        Ok(())
    }

    fn wait_for_part(&mut self) -> Result<(), StoreError> {
        let Some(part) = self.in_flight.pop_front() else { return Ok(()) };
        let part = self.shared.runtime.block_on(part);
        let part = part.map_err(|error| self.shared.remote("write", &self.key, error.to_string(), false))??;
        self.done.push(part);
        Ok(())
    }
}

impl Write for S3Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.bytes += bytes.len() as u64;
        if self.buffer.len() >= self.shared.settings.part_bytes {
            self.send_part().map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for S3Upload {
    fn finish(mut self: Box<Self>) -> Result<u64, StoreError> {
        let Shared { client, runtime, settings } = &*self.shared.clone();
        if self.id.is_none() {
            let body = ByteStream::from(std::mem::take(&mut self.buffer));
            let request = client.put_object().bucket(&settings.bucket).key(&self.full).body(body);
            let answer = runtime.block_on(request.send());
            answer.map_err(|error| self.shared.error("write", &self.key, &error))?;
            return Ok(self.bytes);
        }
        if !self.buffer.is_empty() {
            self.send_part()?;
        }
        while !self.in_flight.is_empty() {
            self.wait_for_part()?;
        }
        let id = self.begin()?;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.done))).build();
        let request = client.complete_multipart_upload().bucket(&settings.bucket).key(&self.full).upload_id(id);
        let answer = runtime.block_on(request.multipart_upload(parts).send());
        answer.map_err(|error| self.shared.error("complete", &self.key, &error))?;
        self.id = None;
        Ok(self.bytes)
    }
}

impl Drop for S3Upload {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.in_flight.drain(..).for_each(|part| part.abort());
            let (shared, full) = (self.shared.clone(), self.full.clone());
            // What cannot be removed now goes by the lifecycle rule for unfinished uploads.
            self.shared.runtime.spawn(async move {
                let request = shared.client.abort_multipart_upload().bucket(&shared.settings.bucket);
                let _ = request.key(full).upload_id(id).send().await;
            });
        }
    }
}
