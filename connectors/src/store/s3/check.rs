//! What is wrong for good is found at the start, by one request for each question.

use super::super::{Put, StoreError};
use super::error::Call;
use super::{S3, client};
use bytes::Bytes;

pub(super) const NO_CONDITIONS: &str = "this endpoint has no conditional writes (If-None-Match), without which two engines \
                                        could overwrite each other's checkpoints: use one that has them";
/// Among what is reserved: it is no object.
const PROBE: &str = "_tmp/conditional-writes";

impl S3 {
    /// Whether the bucket, the endpoint and the credentials are right: lists one object.
    ///
    /// # Errors
    /// [`StoreError`] with what to change.
    pub fn check(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let request = shared.client.list_objects_v2().bucket(shared.bucket()).prefix(shared.full("")).max_keys(1);
        let request = request.customize().config_override(client::few_tries(&shared.settings));
        shared.call(Call::Reach, request.send()).map(drop)
    }

    /// Whether the endpoint honours what [`put_if_absent`](super::Store::put_if_absent) rests on: some take the condition and
    /// ignore it. For whoever is going to write; it leaves one small object, so that the next time it takes one request.
    ///
    /// # Errors
    /// [`StoreError`] where it does not, or cannot be written to.
    pub fn check_conditional_writes(&self) -> Result<(), StoreError> {
        let put = || self.shared.try_put_if_absent(PROBE, Bytes::from_static(b"of millrace: it may be removed\n"));
        match put()? {
            Put::Exists => Ok(()),
            Put::Created if put()? == Put::Exists => Ok(()),
            Put::Created => Err(self.shared.settings.refused(NO_CONDITIONS.to_owned())),
        }
    }
}
