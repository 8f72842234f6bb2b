//! Sockets that notice when the other end is gone.

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Has a socket fail where the other end vanishes without closing it: what was sent is not acknowledged, or questions whether it is
/// there are not answered, for about `silence`.
///
/// # Errors
/// Where the system does not take it.
pub fn watch(stream: &TcpStream, silence: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let third = (silence / 3).max(Duration::from_secs(1));
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(third).with_interval(third).with_retries(2))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(silence))?;
    Ok(())
}

/// Connects to one of the addresses of `host:port`.
///
/// # Errors
/// Where there is none, or none takes it in time.
pub fn connect(host: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
