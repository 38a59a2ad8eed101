//! What a server complains about, and how a session fails.

use std::fmt;
use std::io;

/// An error as the server reports it. DETAIL and CONTEXT can hold row data: neither `Display` nor
/// `Debug` prints them, nor what a message about a value that cannot be read has in quotes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ServerError {
    /// `ERROR`, `FATAL` or `PANIC`, never translated.
    pub severity: String,
    /// The [SQLSTATE](https://www.postgresql.org/docs/current/errcodes-appendix.html).
    pub code: String,
    /// The primary message.
    pub message: String,
    /// What the server suggests.
    pub hint: Option<String>,
    /// Schema of the object concerned.
    pub schema: Option<String>,
    /// Table concerned.
    pub table: Option<String>,
    /// Column concerned.
    pub column: Option<String>,
    /// Constraint concerned.
    pub constraint: Option<String>,
    detail: Option<String>,
    context: Option<String>,
}

impl ServerError {
    /// Reads the body of an `ErrorResponse`; what cannot be read is left empty.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        let mut error = Self::default();
        for field in body.split(|byte| *byte == 0) {
            let Some((kind, value)) = field.split_first() else { break };
            let value = String::from_utf8_lossy(value).into_owned();
            match kind {
                b'V' => error.severity = value,
                // Before the field above existed there was only this one, translated.
                b'S' if error.severity.is_empty() => error.severity = value,
                b'C' => error.code = value,
                b'M' => error.message = value,
                b'D' => error.detail = Some(value),
                b'H' => error.hint = Some(value),
                b'W' => error.context = Some(value),
                b's' => error.schema = Some(value),
                b't' => error.table = Some(value),
                b'c' => error.column = Some(value),
                b'n' => error.constraint = Some(value),
                _ => {}
            }
        }
        error
    }

    /// DETAIL; can hold row data.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// CONTEXT, the call stack of the error; can hold row data.
    #[must_use]
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// Whether the same work can succeed later: the connection or the server is in trouble, a
    /// resource is used up, or another transaction was in the way.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        may_pass(&self.code)
    }

    /// Whether what the message has in quotes is a value, as of most data exceptions; not that of an encoding, or of a setting.
    fn quotes_values(&self) -> bool {
        self.code.starts_with("22") && !matches!(self.code.as_str(), "22021" | "22023" | "22P05")
    }

    /// Whether the server itself failed, with a file or with something that it did not expect of itself, and did not find
    /// its data damaged: nothing that was asked of it is wrong.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        matches!(self.code.get(..2), Some("58" | "XX"))
            && !matches!(self.code.as_str(), "XX001" | "XX002")
    }
}

/// Whether what a server refused with this SQLSTATE may work later, without anybody changing anything: the connection
/// or the server is in trouble or told to stop, a resource is used up, the server is read-only as after a switch-over, or
/// another session was in the way.
/// Source: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
#[must_use]
pub fn may_pass(sqlstate: &str) -> bool {
    match sqlstate {
        // A protocol violation, and a database that was dropped.
        "08P01" | "57P04" => false,
        "25006" | "40001" | "40P01" | "55006" | "55P03" => true,
        other => matches!(other.get(..2), Some("08" | "53" | "57")),
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (message, code) = (&self.message, &self.code);
        match message.split_once('"').zip(message.rsplit_once('"')) {
            Some(((before, _), (_, after))) if self.quotes_values() => {
                write!(f, "{before}`…`{after} (SQLSTATE {code})")
            }
            _ => write!(f, "{message} (SQLSTATE {code})"),
        }
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerError({}: {self})", self.severity)
    }
}

impl std::error::Error for ServerError {}

/// How a session fails.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The connection broke: the server crashed, or the network did. What was not confirmed is sent again.
    ///
    /// Remedy: nothing, unless it comes often: then look for timeouts of firewalls and load balancers on the way.
    #[error("the connection to the server broke: {0}")]
    Io(io::Error),
    /// The server ended the connection without a word, as when it crashes or something in between resets it.
    ///
    /// Remedy: nothing, unless it comes often: then look into the server's log at this time.
    #[error("the server closed the connection")]
    Closed,
    /// The server reported an error.
    #[error(transparent)]
    Server(Box<ServerError>),
    /// The other end does not speak PostgreSQL's protocol, or a statement does not do what it was sent for.
    ///
    /// Remedy: connect to PostgreSQL itself: a pooler in transaction mode cannot carry replication. Else report it.
    #[error("protocol error: {0}")]
    Protocol(String),
}

impl WireError {
    /// Whether the same work can succeed on a new session.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io(_) | Self::Closed => true,
            Self::Server(error) => error.is_retryable(),
            Self::Protocol(_) => false,
        }
    }

    /// The server's report, if there is one.
    #[must_use]
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server(error) => Some(error),
            Self::Io(_) | Self::Closed | Self::Protocol(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_data_is_not_printed() {
        let body = b"SFEHLER\0VERROR\0C23505\0Mduplicate key\0DKey (a)=(secret)\0Wline 1: secret\0\
                     sshop\0tt\0ca\0nt_pkey\0\0ignored\0";
        let error = ServerError::parse(body);
        assert_eq!(error.to_string(), "duplicate key (SQLSTATE 23505)");
        assert_eq!(format!("{error:?}"), "ServerError(ERROR: duplicate key (SQLSTATE 23505))");
        assert_eq!(error.detail(), Some("Key (a)=(secret)"));
        assert_eq!(error.context(), Some("line 1: secret"));
        assert_eq!(error.constraint.as_deref(), Some("t_pkey"));
        assert!(!error.is_retryable());
    }

    #[test]
    fn a_value_that_cannot_be_read_is_not_printed() {
        for (code, message, expected) in [
            (
                "22P02",
                "invalid input value for enum mood: \"a \"secret\"\"",
                "invalid input value for enum mood: `…`",
            ),
            (
                "22003",
                "value \"99999\" is out of range for type smallint",
                "value `…` is out of range for type smallint",
            ),
            (
                "22001",
                "value too long for type character varying(3)",
                "value too long for type character varying(3)",
            ),
            (
                "22021",
                "invalid byte sequence for encoding \"UTF8\": 0xff",
                "invalid byte sequence for encoding \"UTF8\": 0xff",
            ),
            (
                "23505",
                "violates unique constraint \"t_pkey\"",
                "violates unique constraint \"t_pkey\"",
            ),
        ] {
            let (code, message) = (code.to_owned(), message.to_owned());
            let error = ServerError { code: code.clone(), message, ..ServerError::default() };
            assert_eq!(error.to_string(), format!("{expected} (SQLSTATE {code})"));
        }
    }

    #[test]
    fn retry_follows_the_sqlstate() {
        for (code, expected) in [
            ("08006", true),
            ("08P01", false),
            ("53300", true),
            ("57P03", true),
            ("57014", true),
            ("57P04", false),
            ("25006", true),
            ("23505", false),
            ("40001", true),
            ("28P01", false),
            ("", false),
            ("é", false),
        ] {
            let error = ServerError { code: code.to_owned(), ..ServerError::default() };
            assert_eq!(error.is_retryable(), expected, "{code}");
        }
    }
}
