//! Opens sessions: socket, TLS, login, all within one time limit, every failure with its name.

use std::io;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::dial::dial;
use super::error::{ServerError, WireError};
use super::login::{LoginError, log_in};
use super::options::{ConnectOptions, SslMode};
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
    /// The name of the host has no address here.
    ///
    /// Remedy: correct the host, or the DNS of the machine or pod. In a cluster: `<service>.<namespace>`.
    #[error("cannot find host `{host}`: {error}; check the name and the DNS of this machine")]
    UnknownHost {
        /// The name.
        host: String,
        /// What the resolver says.
        error: io::Error,
    },
    /// Nobody takes the connection: the server does not run, listens elsewhere, or a firewall refuses.
    ///
    /// Remedy: start the server; check host and port, `listen_addresses`, and network policies. The stream goes on by itself then.
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
    /// The connection was taken and then broke: the server stopped, or something in between closed it.
    ///
    /// Remedy: nothing, unless it stays so: then look into the server's log at this time.
    #[error("`{server}` broke off the login: {error}")]
    Lost {
        /// Host, port and database.
        server: String,
        /// How it broke.
        error: WireError,
    },
    /// Connected, or not, but no session within `connect_timeout`: most often a firewall that drops packets, or a server under heavy load.
    ///
    /// Remedy: check the way to the server; raise `connect_timeout` if it is only slow.
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
    /// The server cannot encrypt, and `sslmode` asks for it.
    ///
    /// Remedy: set `ssl = on` at the server with a certificate, or take `sslmode=prefer` (or `tls.mode`) if the network is trusted.
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
    /// The handshake failed, most often for the server's certificate: unknown authority, other name, expired.
    ///
    /// Remedy: name the authority's certificate (`sslrootcert`, or `tls.caSecret`), connect by a name that the certificate has, or renew
    /// it.
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
    /// The server refuses the login: a wrong password, a role or database that is not there, no line in `pg_hba.conf`, or no free
    /// connection.
    ///
    /// Remedy: what the message says behind the server's words. With SQLSTATE 53300 raise `max_connections`, or close sessions.
    #[error("cannot log in to `{server}` as `{user}`: {error}; {}", remedy(error))]
    Refused {
        /// Host, port and database.
        server: String,
        /// The role.
        user: String,
        /// The server's words.
        error: Box<ServerError>,
    },
    /// Server and client do not agree on how to log in: a password is missing, or the server asks for a method that is not supported.
    ///
    /// Remedy: give a password (in the URL, `PGPASSWORD`, a password file or the Secret), or let `pg_hba.conf` use `scram-sha-256`.
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

    /// [`Self::connect`] for a session that rows travel over: a database without an encoding (`SQL_ASCII`) gives and takes their
    /// bytes as they are. Under any other pin its server would end the session at one that is not UTF-8, and name no row.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// Safe: a half-open connection is closed.
    pub async fn connect_for_rows(
        options: &ConnectOptions,
        session: Session,
    ) -> Result<Self, ConnectError> {
        let mut wire = Self::connect(options, session).await?;
        if wire.parameter("server_encoding") == Some("SQL_ASCII") {
            let lost = |error| ConnectError::Lost { server: options.server(), error };
            wire.simple_query("SET client_encoding = 'SQL_ASCII'").await.map_err(lost)?;
        }
        Ok(wire)
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
