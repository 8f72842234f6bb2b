//! Gzip: members one after the other, and the zeros that writers of whole blocks put behind the last.

use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, Read};

pub(crate) enum Members<R> {
    Member(Box<GzDecoder<R>>),
    Between(R),
    /// While one becomes the other, and after an error.
    Over,
}

impl<R: BufRead> Members<R> {
    pub(crate) fn new(stream: R) -> Members<R> {
        Members::Member(Box::new(GzDecoder::new(stream)))
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self {
                Members::Member(member) => {
                    let read = member.read(buffer)?;
                    if read > 0 {
                        return Ok(read);
                    }
                    let Members::Member(member) = std::mem::replace(self, Members::Over) else {
                        unreachable!("it is a member")
                    };
                    *self = Members::Between(member.into_inner());
                }
                Members::Between(stream) => {
                    let there = stream.fill_buf()?;
                    let zeros = there.iter().take_while(|&&byte| byte == 0).count();
                    match there.get(zeros) {
                        None if zeros == 0 => return Ok(0),
                        None => stream.consume(zeros),
                        Some(0x1F) => {
                            stream.consume(zeros);
                            let Members::Between(stream) = std::mem::replace(self, Members::Over) else {
                                unreachable!("it is between members")
                            };
                            *self = Members::new(stream);
                        }
                        Some(_) => {
                            *self = Members::Over;
                            let reason = "what follows the end of the gzip data is neither gzip nor zeros";
                            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
                        }
                    }
                }
                Members::Over => return Ok(0),
            }
        }
    }
}
