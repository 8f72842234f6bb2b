//! A client that does what no library would: HTTP/2 by hand, which asks and takes nothing.

use prost::Message;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const HEADERS: u8 = 1;
const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

pub struct Raw {
    stream: TcpStream,
    next: u32,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

impl Raw {
    /// With windows as large as there are: the server may send whatever it likes.
    pub fn open(address: &str) -> Raw {
        Raw::with_window(address, i32::MAX as u32)
    }

    /// The server may send so many bytes of each answer.
    pub fn with_window(address: &str, window: u32) -> Raw {
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
        hello.extend(frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE[..], &window.to_be_bytes()].concat()));
        hello.extend(frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes()));
        stream.write_all(&hello).expect("it is taken");
        Raw { stream, next: 1 }
    }

    /// A call of a method of `Analytics`. Whether the server takes it.
    pub fn call(&mut self, method: &str, message: &impl Message) -> bool {
        let path = format!("/millrace.v1.Analytics/{method}");
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", &path),
            (":authority", "shop"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        let mut head = Vec::new();
        for (name, value) in fields {
            // Neither indexed nor compressed.
            head.push(0);
            for text in [name, value] {
                head.push(text.len() as u8);
                head.extend(text.as_bytes());
            }
        }
        let bytes = message.encode_to_vec();
        let mut body = vec![0];
        body.extend((bytes.len() as u32).to_be_bytes());
        body.extend(bytes);
        let mut out = frame(HEADERS, END_HEADERS, self.next, &head);
        out.extend(frame(DATA, END_STREAM, self.next, &body));
        self.next += 2;
        self.stream.write_all(&out).is_ok()
    }

    /// Breaks the last call off.
    pub fn reset(&mut self) -> bool {
        const CANCEL: [u8; 4] = [0, 0, 0, 8];
        self.stream.write_all(&frame(RST_STREAM, 0, self.next - 2, &CANCEL)).is_ok()
    }

    /// Whether the server has ended the connection, after what it sent was read.
    pub fn is_ended(&mut self, within: Duration) -> bool {
        self.stream.set_read_timeout(Some(within)).expect("a time");
        let mut bytes = [0; 1 << 16];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
    }
}
