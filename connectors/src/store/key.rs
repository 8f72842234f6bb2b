//! Names of objects. One object has one name, and no name leads out of the store.

use super::StoreError;

/// Local temporary files are there, so no object is.
pub(super) const RESERVED: &str = "_tmp";
/// S3's limit is 1,024 with its own prefix.
const KEY_BYTES_MOST: usize = 900;
/// What file systems take.
const PART_BYTES_MOST: usize = 255;

/// # Errors
/// [`StoreError::BadKey`] with the reason.
pub fn check(key: &str) -> Result<(), StoreError> {
    match fault(key) {
        None => Ok(()),
        Some(why) => Err(StoreError::BadKey { key: key.to_owned(), why }),
    }
}

/// A prefix may be empty, and may end within a part or with a slash.
pub(super) fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    let folder = prefix.strip_suffix('/').unwrap_or(prefix);
    if prefix.is_empty() { Ok(()) } else { check(folder) }
}

fn fault(key: &str) -> Option<&'static str> {
    if key.len() > KEY_BYTES_MOST {
        return Some("it is longer than 900 bytes");
    }
    if key.split('/').next() == Some(RESERVED) {
        return Some("_tmp is for unfinished files");
    }
    key.split('/').find_map(|part| match part {
        "" => Some("a part is empty: use relative paths without // and without a slash at the end"),
        "." | ".." => Some("a part is . or .."),
        part if part.len() > PART_BYTES_MOST => Some("a part is longer than 255 bytes"),
        part if part.contains(|letter: char| letter == '\\' || letter.is_control()) => {
            Some("it has a backslash or a control character")
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_in_the_store_and_has_one_spelling() {
        for good in ["a", "a/b", "views/sales/epoch=1/part-0.parquet", ".hidden", "a..b", "größe", "a b", "x/_tmp"] {
            assert!(check(good).is_ok(), "{good}");
        }
        let long = ["x".repeat(256), ["x"; 500].join("/")];
        let bad = ["", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/.", "a\\b", "a\0", "a\nb", "_tmp", "_tmp/a"];
        for bad in bad.into_iter().chain(long.iter().map(String::as_str)) {
            assert!(matches!(check(bad), Err(StoreError::BadKey { .. })), "{bad}");
        }
    }

    #[test]
    fn a_prefix_may_end_anywhere() {
        for good in ["", "a", "a/", "a/b"] {
            assert!(check_prefix(good).is_ok(), "{good}");
        }
        for bad in ["/", "../", "a//", "/a"] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
    }
}
