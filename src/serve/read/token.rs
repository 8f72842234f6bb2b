//! A page token: where in which answer the next page begins. Opaque to callers, and nothing to trust: all that one can do
//! with a forged one is to read what may be read anyway.

use super::error::ReadError;
use rustc_hash::FxHasher;
use std::hash::Hasher;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageToken {
    pub epoch: u64,
    /// Rows before the page.
    pub offset: u64,
}

impl PageToken {
    /// `question` is what the pages are an answer to, as the codec has it.
    pub fn to_text(self, question: &[u8]) -> String {
        format!("{:x}.{:x}.{:016x}", self.epoch, self.offset, self.check(question))
    }

    /// # Errors
    /// Where it is none, or of another question.
    pub fn parse(text: &str, question: &[u8]) -> Result<PageToken, ReadError> {
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let parsed = text.split_once('.').and_then(|(epoch, rest)| {
            let (offset, check) = rest.split_once('.')?;
            Some((PageToken { epoch: number(epoch)?, offset: number(offset)? }, number(check)?))
        });
        match parsed {
            Some((token, check)) if token.check(question) == check => Ok(token),
            _ => Err(ReadError::invalid(
                "page_token is not one of this query's: send the next_page_token of the page before with the same query",
            )),
        }
    }

    fn check(self, question: &[u8]) -> u64 {
        let mut hasher = FxHasher::default();
        hasher.write(question);
        hasher.write_u64(self.epoch);
        hasher.write_u64(self.offset);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_question() {
        let token = PageToken { epoch: 1_571_234_567_890, offset: 100 };
        let text = token.to_text(b"sales by day");
        assert_eq!(PageToken::parse(&text, b"sales by day").expect("its own"), token);
        let changed = text.replacen('1', "2", 1);
        for (text, question) in [(&*text, "sales by month"), (&*changed, "sales by day"), ("", ""), ("1.2.3", "x")] {
            assert!(PageToken::parse(text, question.as_bytes()).is_err(), "{text:?} {question}");
        }
    }
}
