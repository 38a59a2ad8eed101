//! Sockets: to the server, and as large as what travels over them needs.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};

use super::connect::{ConnectError, Session};
use super::options::ConnectOptions;
use super::read_ahead::{PaceLimits, ReadAhead, Socket};
use super::wire::BoxedStream;

/// A server that answers within this time is near: it needs no large window to be read at full speed.
const NEAR: Duration = Duration::from_millis(1);
/// How long a walsender may leave what it was sent unacknowledged.
#[cfg(target_os = "linux")]
const SILENCE: Duration = Duration::from_secs(60);
/// The largest segment that a server sends: several fit into the smallest window. A window smaller than a segment, which on the
/// loopback may have 64 KiB, is filled by the server's persist timer only: a few times a second.
const SEGMENT_BYTES: u32 = 4 << 10;

/// Opens a connection to the server; one for replication has a thread that reads it.
pub(super) async fn dial(
    options: &ConnectOptions,
    session: Session,
) -> Result<BoxedStream, ConnectError> {
    let ConnectOptions { host, port, .. } = options;
    let unreachable = |error| ConnectError::Unreachable { server: options.server(), error };
    if let Some(directory) = options.socket_directory() {
        let path = directory.join(format!(".s.PGSQL.{port}"));
        let stream = UnixStream::connect(path).await.map_err(unreachable)?;
        return match session {
            Session::Sql => Ok(Box::new(stream)),
            Session::Replication => read_ahead(stream.into_std(), None).map_err(unreachable),
        };
    }
    let unknown_host = |error| ConnectError::UnknownHost { host: host.clone(), error };
    let addresses = lookup_host((host.as_str(), *port)).await.map_err(unknown_host)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let connected = match session {
            Session::Sql => dial_sql(address).await,
            Session::Replication => dial_replication(address).await,
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

async fn dial_sql(address: SocketAddr) -> io::Result<BoxedStream> {
    let stream = TcpStream::connect(address).await?;
    prepare(&stream)?;
    Ok(Box::new(stream))
}

async fn dial_replication(address: SocketAddr) -> io::Result<BoxedStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    SockRef::from(&socket).set_tcp_mss(SEGMENT_BYTES)?;
    // Signs of life that nobody acknowledges keep the probes of `keep_alive` from being sent. A walsender reads them at once.
    #[cfg(target_os = "linux")]
    SockRef::from(&socket).set_tcp_user_timeout(Some(SILENCE))?;
    let begun = Instant::now();
    let (stream, pace) = if address.ip().is_loopback() {
        // Before the handshake: the server takes the first window that it sees for the largest.
        socket.set_recv_buffer_size(PaceLimits::SAME_MACHINE.window_bytes)?;
        (socket.connect(address).await?, PaceLimits::SAME_MACHINE)
    } else {
        let stream = socket.connect(address).await?;
        if begun.elapsed() < NEAR {
            SockRef::from(&stream)
                .set_recv_buffer_size(PaceLimits::NETWORK.window_bytes as usize)?;
        }
        (stream, PaceLimits::NETWORK)
    };
    prepare(&stream)?;
    read_ahead(stream.into_std(), Some(pace))
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    keep_alive(stream)
}

fn read_ahead<S: Socket + Unpin>(
    socket: io::Result<S>,
    pace: Option<PaceLimits>,
) -> io::Result<BoxedStream> {
    Ok(Box::new(ReadAhead::new(socket?, pace)?))
}

/// A peer that is gone without a word is noticed within a minute, not after two hours. There is no
/// limit for data that is not taken: a server that waits for a lock may take as long as it wants.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_on_this_machine_sends_segments_that_fit_into_the_smallest_window() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (dialed, accepted) = tokio::join!(dial_replication(address), listener.accept());
        let (server, _) = accepted.unwrap();
        let segment = SockRef::from(&server).tcp_mss().unwrap();
        drop(dialed.unwrap());
        assert!(segment <= PaceLimits::SAME_MACHINE.window_bytes / 4, "{segment}");
    }
}
