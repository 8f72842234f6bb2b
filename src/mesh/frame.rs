//! Frames: a length and so many bytes. An empty one is a heartbeat.

use std::io::{self, Read, Write};

/// No frame is longer: what claims to be is not one of ours.
pub const FRAME_MOST: usize = 1 << 30;

/// Writes one frame, in one call where it is small.
///
/// # Errors
/// Where the other end does not take it.
pub fn write_frame(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    assert!(bytes.len() <= FRAME_MOST, "a frame of {} bytes", bytes.len());
    let mut framed = Vec::with_capacity(4 + bytes.len());
    framed.extend_from_slice(&u32::try_from(bytes.len()).expect("it was looked at above").to_le_bytes());
    framed.extend_from_slice(bytes);
    out.write_all(&framed)?;
    out.flush()
}

/// Reads one frame of `most` bytes at most.
///
/// # Errors
/// Where the other end has gone (`UnexpectedEof`), is silent, or sends what is no frame (`InvalidData`).
pub fn read_frame(from: &mut dyn Read, most: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > most {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes: {most} are the most"),
        ));
    }
    let mut bytes = Vec::new();
    // As it comes: a length alone makes nobody set memory aside.
    let read = from.take(length as u64).read_to_end(&mut bytes)?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut wire = Vec::new();
        for bytes in [&b"one"[..], b"", b"three"] {
            write_frame(&mut wire, bytes).expect("memory takes it");
        }
        let mut from = &wire[..];
        let mut read = || read_frame(&mut from, 100);
        assert_eq!([read(), read(), read()].map(Result::unwrap), [&b"one"[..], b"", b"three"]);
        assert_eq!(read().expect_err("nothing is left").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let error = read_frame(&mut &b"GET / HTTP/1.1\r\n"[..], 1 << 16).expect_err("it is a web browser");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let cut = read_frame(&mut &[9, 0, 0, 0, 1][..], 1 << 16).expect_err("its end is missing");
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
}
