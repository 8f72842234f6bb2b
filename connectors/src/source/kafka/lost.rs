//! What follows from where a partition begins and ends now for where reading was to go on.

use super::error::KafkaError;
use super::settings::LostOffsets;
use std::ops::Range;

/// Where reading goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GoOn {
    pub(super) at: u64,
    /// The offsets of the records that were removed before they were read.
    pub(super) lost: Range<u64>,
}

/// # Errors
/// [`KafkaError`] where it cannot go on, or must not.
pub(super) fn go_on(
    (topic, partition): (&str, u32),
    wanted: u64,
    earliest: u64,
    end: u64,
    policy: LostOffsets,
) -> Result<GoOn, KafkaError> {
    let topic = || topic.to_owned();
    if wanted > end {
        // What is behind the end was never read: going on anywhere would take other records for those.
        return Err(KafkaError::Beyond { topic: topic(), partition, wanted, end });
    }
    let missing = earliest.saturating_sub(wanted);
    if missing > 0 && policy == LostOffsets::Stop {
        return Err(KafkaError::Lost { topic: topic(), partition, wanted, earliest, missing });
    }
    let at = wanted.max(earliest);
    Ok(GoOn { at, lost: wanted..at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_goes_on_where_it_can() {
        let check = |wanted, policy| go_on(("orders", 3), wanted, 10, 20, policy).map_err(|error| error.to_string());
        for policy in [LostOffsets::Stop, LostOffsets::Skip] {
            for wanted in [10, 15, 20] {
                assert_eq!(check(wanted, policy), Ok(GoOn { at: wanted, lost: wanted..wanted }));
            }
            let beyond = check(21, policy).unwrap_err();
            assert!(
                beyond.starts_with("partition 3 of topic orders ends at offset 20, and reading was to go on at 21")
            );
        }
        assert_eq!(check(4, LostOffsets::Skip), Ok(GoOn { at: 10, lost: 4..10 }));
        let lost = check(4, LostOffsets::Stop).unwrap_err();
        assert!(lost.contains("up to 6 records") && lost.contains("source.kafka.on_lost_offsets"), "{lost}");
    }
}
