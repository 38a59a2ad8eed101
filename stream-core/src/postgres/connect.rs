//! Opens sessions: socket, TLS, login, all within one time limit, every failure with its name.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::error::{ServerError, WireError};
use super::login::{LoginError, log_in};
use super::options::{ConnectOptions, SslMode};
use super::read_ahead::{PaceLimits, ReadAhead, Socket};
use super::tls::{TlsError, client_config, server_end_point};
use super::wire::{BoxedStream, Wire, unexpected};

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// SQL.
    Sql,
    /// The replication protocol, and SQL in simple queries.
    Replication,
}

/// Why no session could be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name of the host has no address.
    #[error("cannot find host `{host}`: {error}; check the name and the DNS of this machine")]
    UnknownHost {
        /// The name.
        host: String,
        /// What the resolver says.
        error: io::Error,
    },
    /// Nobody takes the connection.
    #[error(
        "cannot reach `{server}`: {error}; check host and port, that PostgreSQL runs and listens \
         there, and that no firewall is in between"
    )]
    Unreachable {
        /// Host, port and database.
        server: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// The connection was taken and then broke.
    #[error("`{server}` broke off the login: {error}")]
    Lost {
        /// Host, port and database.
        server: String,
        /// How it broke.
        error: WireError,
    },
    /// No session within the time limit.
    #[error(
        "no answer from `{server}` within {seconds} s: check that no firewall is in between, or \
         raise `connect_timeout`"
    )]
    TimedOut {
        /// Host, port and database.
        server: String,
        /// The limit.
        seconds: u64,
    },
    /// The server cannot encrypt.
    #[error(
        "`{server}` offers no TLS and `sslmode` is `{}`: set `ssl = on` there, or take another mode",
        mode.as_str()
    )]
    TlsNotOffered {
        /// Host, port and database.
        server: String,
        /// The mode that asks for TLS.
        mode: SslMode,
    },
    /// The handshake failed, most often for the server's certificate.
    #[error(
        "no TLS with `{server}` under `sslmode={}`: {error}; check `sslrootcert` and the \
         certificate's names", mode.as_str()
    )]
    TlsRefused {
        /// Host, port and database.
        server: String,
        /// The mode, which says what is verified.
        mode: SslMode,
        /// What is wrong.
        error: rustls::Error,
    },
    /// There is nothing to verify certificates with.
    #[error(transparent)]
    TlsSetup(TlsError),
    /// The server refuses the login.
    #[error("cannot log in to `{server}` as `{user}`: {error}; {}", remedy(error))]
    Refused {
        /// Host, port and database.
        server: String,
        /// The role.
        user: String,
        /// The server's words.
        error: Box<ServerError>,
    },
    /// Server and client do not agree on how to log in.
    #[error("cannot log in to `{server}` as `{user}`: {reason}")]
    Authentication {
        /// Host, port and database.
        server: String,
        /// The role.
        user: String,
        /// What is wrong, with its remedy.
        reason: String,
    },
}

impl ConnectError {
    /// Whether trying again can help: the network or the server is in trouble. A wrong password, a
    /// missing database and TLS need somebody to act.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::UnknownHost { .. } | Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Lost { error, .. } => error.is_retryable(),
            // No login is refused for ever because the disk is full.
            Self::Refused { error, .. } => error.is_retryable() || error.is_internal(),
            Self::TlsNotOffered { .. }
            | Self::TlsRefused { .. }
            | Self::TlsSetup(_)
            | Self::Authentication { .. } => false,
        }
    }

    /// Whether it can help to encrypt, or not to: `pg_hba.conf` can tell the two apart.
    fn depends_on_encryption(&self) -> bool {
        match self {
            Self::TlsRefused { .. } => true,
            Self::Refused { error, .. } => error.code == "28000",
            Self::UnknownHost { .. }
            | Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::TimedOut { .. }
            | Self::TlsNotOffered { .. }
            | Self::TlsSetup(_)
            | Self::Authentication { .. } => false,
        }
    }
}

impl Wire {
    /// Opens a session with every pin of [`super::pins`] set.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// Safe: a half-open connection is closed.
    pub async fn connect(options: &ConnectOptions, session: Session) -> Result<Self, ConnectError> {
        use Encryption::{IfOffered, Never, Required};
        let (first, second) = match options.ssl_mode {
            _ if options.socket_directory().is_some() => (Never, None),
            SslMode::Disable => (Never, None),
            SslMode::Allow => (Never, Some(Required)),
            SslMode::Prefer => (IfOffered, Some(Never)),
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (Required, None),
        };
        let attempts = async {
            let result = attempt(options, session, first).await;
            match (result, second) {
                (Err(error), Some(second)) if error.depends_on_encryption() => {
                    // The first refusal says more, should both be refused.
                    attempt(options, session, second).await.map_err(|_| error)
                }
                (result, _) => result,
            }
        };
        match tokio::time::timeout(options.connect_timeout, attempts).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::TimedOut {
                server: options.server(),
                seconds: options.connect_timeout.as_secs(),
            }),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Never,
    IfOffered,
    Required,
}

async fn attempt(
    options: &ConnectOptions,
    session: Session,
    encryption: Encryption,
) -> Result<Wire, ConnectError> {
    let stream = dial(options, session).await?;
    let (stream, binding) = match encryption {
        Encryption::Never => (stream, None),
        Encryption::IfOffered | Encryption::Required => {
            encrypt(options, stream, encryption).await?
        }
    };
    let mut wire = Wire::from_stream(stream);
    let (server, user) = (options.server(), options.user.clone());
    let reason = match log_in(&mut wire, options, session, binding).await {
        Ok(()) => return Ok(wire),
        Err(LoginError::Wire(error)) => return Err(ConnectError::Lost { server, error }),
        Err(LoginError::Refused(error)) => {
            return Err(ConnectError::Refused { server, user, error });
        }
        Err(LoginError::NoPassword) => {
            "the server asks for a password and none is given: put it in the connection URL, \
             `PGPASSWORD` or the password file"
                .to_owned()
        }
        Err(LoginError::UnsupportedMethod(method)) => format!(
            "the server asks for authentication by {method}: use `scram-sha-256` in pg_hba.conf"
        ),
        Err(LoginError::Scram(error)) => {
            format!("the server fails the SCRAM exchange: {error}; check that it is your server")
        }
    };
    Err(ConnectError::Authentication { server, user, reason })
}

/// A server that answers within this time is near: it needs no large window to be read at full speed.
const NEAR: Duration = Duration::from_millis(1);
/// The largest segment that a server sends: several fit into the smallest window. A window smaller than a segment, which on the
/// loopback may have 64 KiB, is filled by the server's persist timer only: a few times a second.
const SEGMENT_BYTES: u32 = 4 << 10;

async fn dial(options: &ConnectOptions, session: Session) -> Result<BoxedStream, ConnectError> {
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

/// The stream, encrypted if it is to be and can be, and what binds a login to it.
async fn encrypt(
    options: &ConnectOptions,
    mut stream: BoxedStream,
    encryption: Encryption,
) -> Result<(BoxedStream, Option<Vec<u8>>), ConnectError> {
    let (server, mode) = (options.server(), options.ssl_mode);
    let lost = |error| ConnectError::Lost { server: server.clone(), error: WireError::Io(error) };
    let refused = |error| ConnectError::TlsRefused { server: server.clone(), mode, error };
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(lost)?;
    // One byte and no more: what follows must be read through TLS.
    match stream.read_u8().await.map_err(lost)? {
        b'S' => {}
        b'N' if encryption == Encryption::Required => {
            return Err(ConnectError::TlsNotOffered { server, mode });
        }
        b'N' => return Ok((stream, None)),
        tag => {
            return Err(ConnectError::Lost {
                server,
                error: unexpected(tag, "the request for TLS"),
            });
        }
    }
    let config =
        client_config(mode, options.ssl_root_cert.as_ref()).map_err(ConnectError::TlsSetup)?;
    let name = ServerName::try_from(options.host.clone())
        .map_err(|error| refused(rustls::Error::General(error.to_string())))?;
    let tls =
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(inner) => refused(inner.clone()),
                None => lost(error),
            }
        })?;
    let certificates = tls.get_ref().1.peer_certificates();
    let binding = certificates.and_then(|list| server_end_point(list.first()?));
    Ok((Box::new(tls), binding))
}

/// What to do about a login that the server refuses.
fn remedy(error: &ServerError) -> &'static str {
    match error.code.as_str() {
        "28P01" => "check the password, and the password file if it came from there",
        "28000" => {
            "check the role (LOGIN, and REPLICATION for a stream) and the lines of pg_hba.conf"
        }
        "3D000" => "create the database, or check its name",
        "42501" => "grant the role CONNECT on the database, and REPLICATION for a stream",
        "42704" => "PostgreSQL 14 or newer is needed",
        "08P01" => "connect to PostgreSQL itself, not to a connection pooler",
        "53300" => "raise `max_connections`, or end sessions that are not needed",
        "57P03" => "wait until the server is up",
        _ => "see the log of the server",
    }
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
