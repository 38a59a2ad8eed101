//! The ordinary SQL client: `tokio-postgres` over a session that [`Wire`] has opened, so that
//! both have the same login, the same TLS, the same pins and the same errors.

use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use postgres_protocol::message::backend;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, NoTls, config::SslMode};

use super::connect::{ConnectError, Session};
use super::error::WireError;
use super::options::ConnectOptions;
use super::wire::{BoxedStream, Wire};

/// A `tokio-postgres` client that owns its connection: dropping it closes the session.
pub struct SqlClient {
    client: Client,
    connection: JoinSet<()>,
    process_id: i32,
    server_version_num: u32,
}

const GOODBYE: Duration = Duration::from_secs(1);

impl SqlClient {
    /// Opens a session with every pin of [`super::pins`] set.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// Safe: a half-open connection is closed.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ConnectError> {
        let wire = Wire::connect(options, Session::Sql).await?;
        let (process_id, server_version_num) = (wire.process_id(), wire.server_version_num());
        // Nothing of this is sent: see `Resumed`.
        let mut config = Config::new();
        config.user(&options.user).ssl_mode(SslMode::Disable);
        let (client, connection) =
            config.connect_raw(Resumed::new(wire), NoTls).await.map_err(|error| {
                let error = WireError::Protocol(error.to_string());
                ConnectError::Lost { server: options.server(), error }
            })?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // The client's next call fails too, and whoever makes it is told.
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "sql session ended");
            }
        });
        Ok(Self { client, connection: tasks, process_id, server_version_num })
    }

    /// Process id of the server process, as in `pg_stat_activity.pid`.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.process_id
    }

    /// The server's version as a number: 150018 for 15.18; 0 if the server did not tell.
    #[must_use]
    pub fn server_version_num(&self) -> u32 {
        self.server_version_num
    }

    /// Ends the session as the protocol wants it; waits at most a second.
    ///
    /// # Cancel safety
    /// Safe: the connection is closed in any case.
    pub async fn close(self) {
        let Self { client, mut connection, .. } = self;
        // Without its client the connection says goodbye and ends.
        drop(client);
        if tokio::time::timeout(GOODBYE, connection.join_next()).await.is_err() {
            tracing::debug!("sql session ended without a goodbye");
        }
    }
}

impl Deref for SqlClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for SqlClient {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// A stream whose session is open already, for a client that insists on opening it.
///
/// The client reads the end of a login that needs no password: `replay`. What it writes until it
/// has read that is its own start-up message, which the server must not see.
struct Resumed {
    stream: BoxedStream,
    replay: BytesMut,
}

impl Resumed {
    fn new(wire: Wire) -> Self {
        let mut replay = BytesMut::new();
        let mut message = |tag: u8, body: &[u8]| {
            replay.put_u8(tag);
            // As long as a name and a value that came in a message themselves.
            replay.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
            replay.put_slice(body);
        };
        message(backend::AUTHENTICATION_TAG, &0_u32.to_be_bytes());
        for (name, value) in &wire.reader.parameters {
            let body = format!("{name}\0{value}\0");
            message(backend::PARAMETER_STATUS_TAG, body.as_bytes());
        }
        let key = [wire.process_id.to_be_bytes(), wire.secret_key.to_be_bytes()];
        message(backend::BACKEND_KEY_DATA_TAG, &key.concat());
        message(backend::READY_FOR_QUERY_TAG, b"I");
        let (stream, unread) = wire.into_stream();
        replay.extend_from_slice(&unread);
        Self { stream, replay }
    }
}

impl AsyncRead for Resumed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.replay.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = buf.remaining().min(self.replay.len());
        buf.put_slice(&self.replay.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Resumed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.replay.is_empty() {
            Pin::new(&mut self.stream).poll_write(cx, buf)
        } else {
            Poll::Ready(Ok(buf.len()))
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
