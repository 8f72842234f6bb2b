//! A socket to another process: TCP as it is, or the near end of a tunnel whose far end speaks TLS over TCP.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use timely::communication::allocator::zero_copy::stream::Stream;

/// A socket that was shaken hands on, or is being.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    /// What goes into it comes out of a TLS session, and the other way: see [`super::tls`].
    Tunnel(UnixStream),
}

macro_rules! of_either {
    ($socket:expr, $inner:ident => $act:expr) => {
        match $socket {
            Socket::Tcp($inner) => $act,
            Socket::Tunnel($inner) => $act,
        }
    };
}

impl Socket {
    /// # Errors
    /// Where the system does not take it.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        of_either!(self, inner => inner.set_read_timeout(timeout))
    }

    /// # Errors
    /// Where the system does not take it.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        of_either!(self, inner => inner.set_write_timeout(timeout))
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        of_either!(*self, inner => (&mut &*inner).read(buffer))
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        of_either!(*self, inner => (&mut &*inner).write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        of_either!(*self, inner => (&mut &*inner).flush())
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&mut &*self).read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&mut &*self).flush()
    }
}

impl Stream for Socket {
    fn try_clone(&self) -> io::Result<Socket> {
        Ok(match self {
            Socket::Tcp(inner) => Socket::Tcp(inner.try_clone()?),
            Socket::Tunnel(inner) => Socket::Tunnel(inner.try_clone()?),
        })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        of_either!(self, inner => inner.set_nonblocking(nonblocking))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        of_either!(self, inner => inner.shutdown(how))
    }
}
