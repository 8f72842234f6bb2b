//! Names of objects.

use super::StoreError;

/// # Errors
/// [`StoreError::BadKey`] where it could leave the store, or is written in more than one way.
pub fn check(key: &str) -> Result<(), StoreError> {
    let good = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
    if key.split('/').all(good) { Ok(()) } else { Err(StoreError::BadKey { key: key.to_owned() }) }
}
