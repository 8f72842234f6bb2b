//! What S3 itself removes after some days. A bucket has one list of rules, of which only some are ours.

use super::super::{StoreError, key};
use super::S3;
use super::error::{Call, code};
use aws_sdk_s3::operation::get_bucket_lifecycle_configuration::GetBucketLifecycleConfigurationOutput;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter,
};
use xxhash_rust::xxh3::xxh3_64;

#[cfg(test)]
mod tests;

/// Rules of this program have ids that begin so.
const OURS: &str = "millrace-";

/// The rules of one store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifecycle {
    pub expire: Vec<Expiry>,
    /// Uploads that are not completed after so many days are aborted.
    pub abort_uploads_days: Option<u32>,
}

/// Objects whose keys begin with `prefix` are removed when they are so old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    pub prefix: String,
    pub days: u32,
}

impl S3 {
    /// Puts the rules of this store in place of those it had. The rules of others stay, also those of another store in the same
    /// bucket. S3 has no way to change them at once: of two that change them at a time, the later one wins.
    ///
    /// # Errors
    /// [`StoreError`] where the bucket does not take them; the credentials need `s3:PutLifecycleConfiguration`.
    pub fn set_lifecycle(&self, lifecycle: &Lifecycle) -> Result<(), StoreError> {
        let shared = &self.shared;
        for expiry in &lifecycle.expire {
            key::check_prefix(&expiry.prefix)?;
        }
        let found = self.read_rules()?;
        let rules = merge(found.rules(), &shared.settings.prefix, lifecycle);
        if rules == found.rules() {
            return Ok(());
        }
        if rules.is_empty() {
            let request = shared.client.delete_bucket_lifecycle().bucket(shared.bucket());
            return shared.call(Call::WriteLifecycle, request.send()).map(drop);
        }
        let rules = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().expect("it has rules");
        let request = shared.client.put_bucket_lifecycle_configuration().bucket(shared.bucket());
        let size = found.transition_default_minimum_object_size().cloned();
        let request = request.lifecycle_configuration(rules).set_transition_default_minimum_object_size(size);
        shared.call(Call::WriteLifecycle, request.send()).map(drop)
    }

    /// The rules of this store, as the bucket has them.
    ///
    /// # Errors
    /// [`StoreError`] where they cannot be read; the credentials need `s3:GetLifecycleConfiguration`.
    pub fn lifecycle(&self) -> Result<Lifecycle, StoreError> {
        Ok(of_rules(self.read_rules()?.rules(), &self.shared.settings.prefix))
    }

    fn read_rules(&self) -> Result<GetBucketLifecycleConfigurationOutput, StoreError> {
        let request = self.shared.client.get_bucket_lifecycle_configuration().bucket(self.shared.bucket());
        match self.shared.run(request.send()) {
            Err(error) if code(&error) == Some("NoSuchLifecycleConfiguration") => {
                Ok(GetBucketLifecycleConfigurationOutput::builder().build())
            }
            result => result.map_err(|error| self.shared.failed(Call::ReadLifecycle, &error)),
        }
    }
}

/// The ids of a store's rules begin so. An id has 255 letters at most, and a prefix may have more.
fn own_ids(store: &str) -> String {
    format!("{OURS}{:016x}-", xxh3_64(store.as_bytes()))
}

fn is_own(rule: &LifecycleRule, store: &str) -> bool {
    rule.id().is_some_and(|id| id.starts_with(&own_ids(store)))
}

/// All rules of the bucket, with those of one store in place of those it had.
fn merge(found: &[LifecycleRule], store: &str, lifecycle: &Lifecycle) -> Vec<LifecycleRule> {
    let full = |prefix: &str| if store.is_empty() { prefix.to_owned() } else { format!("{store}/{prefix}") };
    let rule = |name: String, prefix: &str| {
        LifecycleRule::builder()
            .id(own_ids(store) + &name)
            .filter(LifecycleRuleFilter::builder().prefix(full(prefix)).build())
            .status(ExpirationStatus::Enabled)
    };
    let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX);
    let expire = lifecycle.expire.iter().enumerate().map(|(number, expiry)| {
        let expiration = LifecycleExpiration::builder().days(days(expiry.days)).build();
        rule(format!("expire-{number}"), &expiry.prefix).expiration(expiration)
    });
    let abort = lifecycle.abort_uploads_days.map(|after| {
        let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(days(after)).build();
        rule("abort".to_owned(), "").abort_incomplete_multipart_upload(abort)
    });
    let ours = expire.chain(abort).map(|rule| rule.build().expect("it has a status"));
    found.iter().filter(|rule| !is_own(rule, store)).cloned().chain(ours).collect()
}

fn of_rules(rules: &[LifecycleRule], store: &str) -> Lifecycle {
    let root = if store.is_empty() { String::new() } else { format!("{store}/") };
    let days = |days: Option<i32>| days.and_then(|days| u32::try_from(days).ok());
    let mut lifecycle = Lifecycle::default();
    for rule in rules.iter().filter(|rule| is_own(rule, store)) {
        let prefix = rule.filter().and_then(LifecycleRuleFilter::prefix).unwrap_or_default();
        if let Some(days) = days(rule.expiration().and_then(LifecycleExpiration::days)) {
            let prefix = prefix.strip_prefix(&root).unwrap_or(prefix).to_owned();
            lifecycle.expire.push(Expiry { prefix, days });
        }
        let abort = rule.abort_incomplete_multipart_upload();
        if let Some(days) = days(abort.and_then(AbortIncompleteMultipartUpload::days_after_initiation)) {
            lifecycle.abort_uploads_days = Some(days);
        }
    }
    lifecycle
}
