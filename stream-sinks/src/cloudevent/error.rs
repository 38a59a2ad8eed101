//! Why events cannot be delivered.

use std::fmt;

use stream_core::lsn::Lsn;
use stream_core::{Error, ErrorKind};

use super::guard::Forbidden;
use super::queue::Outgoing;

/// An endpoint that cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The endpoint's URL cannot be read.
    ///
    /// Remedy: write `https://host/path`.
    #[error("`{url}` is no URL: {reason}; write `https://host/path`")]
    Url {
        /// The URL as it was written.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The URL has a scheme that is not supported.
    ///
    /// Remedy: write `https://` or `http://`.
    #[error("`{url}` has scheme `{scheme}`: write `https://` or `http://`")]
    Scheme {
        /// The URL as it was written.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// The URL holds a user or a password, which would be shown in messages.
    ///
    /// Remedy: remove them, and set header `Authorization`, with `${NAME}` for the secret.
    #[error(
        "the URL to `{host}` holds a user or a password, which would be shown in messages: remove them, and set header \
         `Authorization`"
    )]
    Credentials {
        /// The URL's host.
        host: String,
    },
    /// The URL leads to an address that is not allowed.
    #[error(transparent)]
    Forbidden(Forbidden),
    /// The certificates cannot be used.
    ///
    /// Remedy: see that `caSecret` names a key with PEM certificates.
    #[error("the certificates for `{host}` cannot be used: {reason}")]
    Certificates {
        /// The URL's host.
        host: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The HTTP client cannot be made.
    ///
    /// Remedy: what the reason says; else report it.
    #[error("cannot prepare requests to `{host}`: {reason}")]
    Client {
        /// The URL's host.
        host: String,
        /// The reason.
        reason: String,
    },
}

impl EndpointError {
    /// The error as the engine knows it.
    #[must_use]
    pub fn into_error(self) -> Error {
        Error::new(ErrorKind::Configuration, self)
    }
}

/// An event, as messages name it: without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName {
    /// Its `id`.
    pub id: String,
    /// Its table; `None` for a message.
    pub table: Option<String>,
    /// Its `partitionkey`.
    pub key: String,
    /// Where its change stands in the log; for a row of a snapshot, where that was taken.
    pub lsn: Lsn,
    /// Bytes of the event.
    pub size_bytes: usize,
    /// How many other events follow it in the request.
    pub others: usize,
}

impl EventName {
    /// The name of the first of several events.
    pub(super) fn of(request: &[Outgoing]) -> Option<Self> {
        let first = request.first()?;
        let text = |range: &std::ops::Range<usize>| {
            let bytes = first.bytes.get(range.clone()).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        let event = &first.event;
        Some(Self {
            id: text(&event.id),
            table: event.relation.as_ref().map(|relation| relation.name.to_string()),
            key: text(&event.key),
            lsn: event.lsn,
            size_bytes: first.size_bytes(),
            others: request.len() - 1,
        })
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, table, key, lsn, size_bytes, others } = self;
        match table {
            Some(table) => write!(f, "event `{id}` of table `{table}`, key `{key}`, at LSN {lsn}")?,
            None => write!(f, "event `{id}` of message `{key}`, at LSN {lsn}")?,
        }
        write!(f, " ({size_bytes} bytes")?;
        match others {
            0 => write!(f, ")"),
            others => write!(f, ", with {others} more in the request)"),
        }
    }
}

/// Events that were not delivered, and will not be until somebody acts.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The endpoint does not want the event: its answer is one that a retry does not change. Nothing after the event was confirmed.
    ///
    /// Remedy: mend the endpoint or the stream's headers as the message says, and start the stream again: it goes on with this event.
    #[error("{event} was refused by {endpoint} with {answer}; {remedy}")]
    Refused {
        /// The event.
        event: Box<EventName>,
        /// Where it was sent.
        endpoint: String,
        /// What came back.
        answer: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The event failed as often as `retryLimit` allows. Nothing after it was confirmed.
    ///
    /// Remedy: mend the endpoint, or raise `retryLimit` (-1: without end), and start the stream again: it goes on with this event.
    #[error(
        "{event} was not delivered to {endpoint} in {attempts} attempts (`retryLimit` {limit}), the last of which ended so: {reason}; \
         mend the endpoint, or raise `retryLimit`"
    )]
    GaveUp {
        /// The event.
        event: Box<EventName>,
        /// Where it was sent.
        endpoint: String,
        /// How often.
        attempts: u64,
        /// How many of them were retries.
        limit: u32,
        /// What happened the last time.
        reason: String,
    },
    /// The endpoint's name leads to another address now, an internal one, which is not allowed in a cluster.
    ///
    /// Remedy: use another endpoint, or let the administrator allow the address.
    #[error("{event} was not sent: {forbidden}")]
    Forbidden {
        /// The event.
        event: Box<EventName>,
        /// The address.
        forbidden: Forbidden,
    },
    /// A request cannot be put together from the event.
    ///
    /// Remedy: report it.
    #[error("{event} makes no request: {reason}; report it")]
    Request {
        /// The event.
        event: Box<EventName>,
        /// What is wrong with it.
        reason: String,
    },
}

impl DeliveryError {
    /// The error as the engine knows it.
    #[must_use]
    pub fn into_error(self) -> Error {
        let kind = match self {
            Self::Forbidden { .. } => ErrorKind::Configuration,
            Self::Refused { .. } | Self::GaveUp { .. } | Self::Request { .. } => {
                ErrorKind::Permanent
            }
        };
        Error::new(kind, self)
    }
}
