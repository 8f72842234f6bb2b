//! Lifecycle rules: what S3 itself removes after some days.

use super::{S3, StoreError, status};
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter,
};

/// Rules with such an id are ours; others are left as they are.
const OURS: &str = "millrace-";

/// What goes after so many days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// A folder of the store: `quarantine`.
    pub folder: String,
    pub days: i32,
}

impl S3 {
    /// Sets our rules: those of `expiries`, and that unfinished uploads go after so many days. Others' stay.
    ///
    /// # Errors
    /// [`StoreError`] where the bucket does not take them.
    pub fn set_lifecycle(&self, expiries: &[Expiry], unfinished_days: i32) -> Result<(), StoreError> {
        let wrong =
            |error: aws_sdk_s3::error::BuildError| self.shared.remote("set", "the lifecycle", error.to_string(), false);
        let mut rules: Vec<LifecycleRule> =
            self.rules()?.into_iter().filter(|rule| !rule.id().is_some_and(|id| id.starts_with(OURS))).collect();
        let place = self.shared.settings.prefix.replace('/', "-");
        for Expiry { folder, days } in expiries {
            let filter = LifecycleRuleFilter::builder().prefix(self.shared.full(&format!("{folder}/"))).build();
            let rule = LifecycleRule::builder()
                .id(format!("{OURS}{place}-{folder}"))
                .filter(filter)
                .expiration(LifecycleExpiration::builder().days(*days).build())
                .status(ExpirationStatus::Enabled);
            rules.push(rule.build().map_err(wrong)?);
        }
        let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(unfinished_days).build();
        let filter = LifecycleRuleFilter::builder().prefix(self.shared.full("")).build();
        let rule = LifecycleRule::builder()
            .id(format!("{OURS}{place}-unfinished"))
            .filter(filter)
            .abort_incomplete_multipart_upload(abort)
            .status(ExpirationStatus::Enabled);
        rules.push(rule.build().map_err(wrong)?);
        let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().map_err(wrong)?;
        let request = self.shared.client.put_bucket_lifecycle_configuration().bucket(&self.shared.settings.bucket);
        let answer = self.shared.runtime.block_on(request.lifecycle_configuration(configuration).send());
        answer.map(drop).map_err(|error| self.shared.error("set", "the lifecycle", &error))
    }

    /// The ids of all rules, and the days of those that expire objects.
    ///
    /// # Errors
    /// [`StoreError`] where they cannot be read.
    pub fn lifecycle(&self) -> Result<Vec<(String, Option<i32>)>, StoreError> {
        let rules = self.rules()?;
        let days = |rule: &LifecycleRule| rule.expiration().and_then(LifecycleExpiration::days);
        Ok(rules.iter().map(|rule| (rule.id().unwrap_or_default().to_owned(), days(rule))).collect())
    }

    fn rules(&self) -> Result<Vec<LifecycleRule>, StoreError> {
        let request = self.shared.client.get_bucket_lifecycle_configuration().bucket(&self.shared.settings.bucket);
        match self.shared.runtime.block_on(request.send()) {
            Ok(answer) => Ok(answer.rules().to_vec()),
            // There are none.
            Err(error) if status(&error) == Some(404) => Ok(Vec::new()),
            Err(error) => Err(self.shared.error("read", "the lifecycle", &error)),
        }
    }
}
