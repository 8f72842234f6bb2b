//! Whether a broker serves: the one request that every client begins with, by hand.
//!
//! A port that accepts is not enough. The broker opens its listeners before the controller has let it in, and until
//! then a client is told that there are no brokers.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(2);
const METADATA: i16 = 3;
/// The last version before the fields of variable length.
const VERSION: i16 = 8;
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The cluster that is served on this port, once it has a broker. The id tells ours from a stranger's.
pub(super) fn cluster_id(port: u16) -> io::Result<Option<String>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(&request())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > ANSWER_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    parse(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn request() -> Vec<u8> {
    const NULL_TEXT: i16 = -1;
    let mut bytes = vec![0; 4];
    bytes.extend(METADATA.to_be_bytes());
    bytes.extend(VERSION.to_be_bytes());
    // Correlation id, client id.
    bytes.extend(0_i32.to_be_bytes());
    bytes.extend(NULL_TEXT.to_be_bytes());
    // No topics; none is to be made; nobody asks what is allowed.
    bytes.extend(0_i32.to_be_bytes());
    bytes.extend([0, 0, 0]);
    let length = i32::try_from(bytes.len() - 4).expect("it is a few bytes");
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// `Some(None)` where there is no broker yet, `None` where these bytes are something else.
fn parse(answer: &[u8]) -> Option<Option<String>> {
    let mut bytes = answer;
    let _correlation_and_throttle = take(&mut bytes, 8)?;
    let brokers = i32::from_be_bytes(take(&mut bytes, 4)?.try_into().ok()?);
    for _ in 0..brokers {
        let _node = take(&mut bytes, 4)?;
        let _host = text(&mut bytes)?;
        let _port = take(&mut bytes, 4)?;
        let _rack = text(&mut bytes)?;
    }
    let cluster = text(&mut bytes)?;
    Some((brokers > 0).then_some(cluster))
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    bytes.split_off(..count)
}

/// A text that is null is empty here.
fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = i16::from_be_bytes(take(bytes, 2)?.try_into().ok()?);
    let text = take(bytes, usize::try_from(length).unwrap_or(0))?;
    Some(String::from_utf8_lossy(text).into_owned())
}
