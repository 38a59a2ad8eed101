//! Where a server is and how to log in to it, parsed from a connection URL.
//!
//! In: `postgres://user:password@host:port/database?sslmode=…`. Out: [`ConnectOptions`].
//! Reads no environment variable, and never prints a password.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Where a server is and how to log in to it.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Host name or address; a leading `/` makes it the directory of a Unix socket.
    pub host: String,
    /// Port; default 5432.
    pub port: u16,
    /// Database to connect to.
    pub database: String,
    /// Role to log in as.
    pub user: String,
    /// Password of the role; `None` where the server trusts us, or until a password file is read.
    pub password: Option<Password>,
    /// Whether to encrypt and what to verify; default [`SslMode::Prefer`].
    pub ssl_mode: SslMode,
    /// Certificates that may sign the server's; `None` takes those of the operating system.
    pub ssl_root_cert: Option<RootCert>,
    /// How long to wait for a session to be ready; default 10 s.
    pub connect_timeout: Duration,
    /// Name shown in `pg_stat_activity`; default `stream`.
    pub application_name: String,
}

/// A password; its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Wraps a password.
    #[must_use]
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    /// The password itself, for the login only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Whether to encrypt and what to verify, see the
/// [manual](https://www.postgresql.org/docs/current/libpq-ssl.html). A Unix socket is never encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SslMode {
    /// Never encrypt.
    Disable,
    /// Encrypt only if the server refuses a plain session.
    Allow,
    /// Encrypt if the server can.
    #[default]
    Prefer,
    /// Encrypt; verify the chain too if a root certificate is given, as libpq does.
    Require,
    /// Encrypt and verify that a trusted root signed the server's certificate.
    VerifyCa,
    /// As [`SslMode::VerifyCa`], and the certificate must be for the host we connect to.
    VerifyFull,
}

impl SslMode {
    /// The word of `sslmode`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// Certificates that may sign the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootCert {
    /// The file they are in: child processes read it themselves.
    pub path: PathBuf,
    /// The content of the file, PEM.
    pub pem: Vec<u8>,
}

impl RootCert {
    /// Reads a PEM file.
    ///
    /// # Errors
    /// [`OptionsError::RootCert`] if the file cannot be read.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, OptionsError> {
        let path = path.into();
        match std::fs::read(&path) {
            Ok(pem) => Ok(Self { path, pem }),
            Err(error) => Err(OptionsError::RootCert { path, error }),
        }
    }
}

/// Why a connection URL is refused; prints no part of it that can hold a password.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The address of a server is no connection URL.
    ///
    /// Remedy: write `postgres://user@host:port/database`.
    #[error("a connection URL starts with `postgres://` or `postgresql://`")]
    Scheme,
    /// A part of the URL that has no default is missing.
    ///
    /// Remedy: write it as the message shows.
    #[error("the connection URL has no {0}: write `postgres://user@host:port/database`")]
    Missing(&'static str),
    /// The port is not a number. The text is not printed: it is part of the password if a `/` in
    /// the password is not percent-encoded.
    ///
    /// Remedy: write a number; and percent-encode special characters of the password.
    #[error(
        "the port of the connection URL is not a number from 1 to 65535: check it, and write `/`, \
         `?`, `#`, `@`, `:` and `%` of a password as `%2F`, `%3F`, `%23`, `%40`, `%3A` and `%25`"
    )]
    Port,
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    ///
    /// Remedy: write `%25` for a `%`.
    #[error("the {0} of the connection URL is badly encoded: write `%25` for a `%`, and UTF-8")]
    Encoding(&'static str),
    /// More than one host: a slot lives on one server, and the stream has to know which.
    ///
    /// Remedy: name the primary, or an address that follows it.
    #[error("the connection URL names more than one host: name the one to connect to")]
    SeveralHosts,
    /// A parameter that is not known here.
    ///
    /// Remedy: remove it, or correct its name.
    #[error(
        "parameter `{0}` of the connection URL is unknown: known are `host`, `port`, `user`, \
         `password`, `dbname`, `sslmode`, `sslrootcert`, `application_name`, `connect_timeout`"
    )]
    UnknownParameter(String),
    /// A parameter has a value that it cannot have.
    ///
    /// Remedy: take one of those in the message.
    #[error("parameter `{name}` of the connection URL is `{value}`: it must be {expected}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What it can be set to.
        expected: &'static str,
    },
    /// The file with the root certificate cannot be read.
    ///
    /// Remedy: correct the path, or the rights of the file.
    #[error("cannot read root certificate `{}`: {error}", path.display())]
    RootCert {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl ConnectOptions {
    /// Options with the defaults for everything but host, user and database.
    #[must_use]
    pub fn new(
        host: impl Into<String>,
        user: impl Into<String>,
        database: impl Into<String>,
    ) -> Self {
        Self {
            host: host.into(),
            port: 5432,
            database: database.into(),
            user: user.into(),
            password: None,
            ssl_mode: SslMode::default(),
            ssl_root_cert: None,
            connect_timeout: Duration::from_secs(10),
            application_name: "stream".to_owned(),
        }
    }

    /// The same login to another database of the same server.
    #[must_use]
    pub fn with_database(&self, database: impl Into<String>) -> Self {
        Self { database: database.into(), ..self.clone() }
    }

    /// The directory of the Unix socket, `None` if the host is reached by TCP.
    #[must_use]
    pub fn socket_directory(&self) -> Option<&Path> {
        self.host.starts_with('/').then(|| Path::new(&self.host))
    }

    /// `host:port/database`, for messages.
    #[must_use]
    pub fn server(&self) -> String {
        let Self { host, port, database, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}/{database}")
        } else {
            format!("{host}:{port}/{database}")
        }
    }

    /// The operating system trusts many: without a check of the name anyone has a certificate.
    fn require_verify_full(&mut self, mode_is_given: bool) -> Result<(), OptionsError> {
        if mode_is_given && self.ssl_mode != SslMode::VerifyFull {
            let value = self.ssl_mode.as_str().to_owned();
            let expected = "`verify-full` with `sslrootcert=system`";
            return Err(OptionsError::Value { name: "sslmode", value, expected });
        }
        self.ssl_mode = SslMode::VerifyFull;
        Ok(())
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), OptionsError> {
        match name {
            "host" => self.host = value,
            "port" => self.port = parse_port(&value)?,
            "user" => self.user = value,
            "password" => self.password = Some(Password(value)),
            "dbname" => self.database = value,
            "sslmode" => self.ssl_mode = value.parse()?,
            "sslrootcert" if value == "system" => self.ssl_root_cert = None,
            "sslrootcert" => self.ssl_root_cert = Some(RootCert::read(value)?),
            "application_name" => self.application_name = value,
            "connect_timeout" => {
                let seconds = value.parse().ok().filter(|seconds| *seconds > 0);
                let expected = "a whole number of seconds, at least 1";
                let error = OptionsError::Value { name: "connect_timeout", value, expected };
                self.connect_timeout = Duration::from_secs(seconds.ok_or(error)?);
            }
            _ => return Err(OptionsError::UnknownParameter(name.to_owned())),
        }
        Ok(())
    }
}

impl fmt::Display for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.server())
    }
}

impl FromStr for SslMode {
    type Err = OptionsError;

    fn from_str(text: &str) -> Result<Self, OptionsError> {
        use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
        [Disable, Allow, Prefer, Require, VerifyCa, VerifyFull]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| OptionsError::Value {
                name: "sslmode",
                value: text.to_owned(),
                expected: "`disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`",
            })
    }
}

impl FromStr for ConnectOptions {
    type Err = OptionsError;

    fn from_str(url: &str) -> Result<Self, OptionsError> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or(OptionsError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = path.split_once('/').unwrap_or((path, ""));
        let (login, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        // The last colon of `[::1]` is inside the brackets.
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (address, ""),
        };
        if address.contains(',') {
            return Err(OptionsError::SeveralHosts);
        }
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let mut options =
            Self::new(decode(host, "host")?, decode(user, "user")?, decode(database, "database")?);
        if !port.is_empty() {
            options.port = parse_port(port)?;
        }
        if let Some(password) = password {
            options.password = Some(Password(decode(password, "password")?));
        }
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) =
                parameter.split_once('=').ok_or(OptionsError::Encoding("parameter list"))?;
            options.set(&decode(name, "parameter list")?, decode(value, "parameter list")?)?;
        }
        if query.split('&').any(|parameter| parameter == "sslrootcert=system") {
            options.require_verify_full(query.contains("sslmode="))?;
        }
        let parts =
            [("host", &options.host), ("user", &options.user), ("database", &options.database)];
        if let Some((name, _)) = parts.iter().find(|(_, value)| value.is_empty()) {
            return Err(OptionsError::Missing(name));
        }
        Ok(options)
    }
}

fn parse_port(text: &str) -> Result<u16, OptionsError> {
    text.parse().ok().filter(|port| *port > 0).ok_or(OptionsError::Port)
}

/// Undoes percent-encoding in the part of the URL called `part`.
fn decode(text: &str, part: &'static str) -> Result<String, OptionsError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    bytes.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
    for piece in pieces {
        let (digits, plain) = piece.split_at_checked(2).ok_or(OptionsError::Encoding(part))?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(OptionsError::Encoding(part));
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| OptionsError::Encoding(part))?);
        bytes.extend_from_slice(plain.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| OptionsError::Encoding(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> ConnectOptions {
        url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn urls_say_where_and_how() {
        let options = parse(
            "postgresql://an%40n:s%3Acr%2Fet@db.example:6000/my%20shop\
             ?sslmode=verify-full&application_name=a%26b&connect_timeout=3",
        );
        assert_eq!(options.to_string(), "an@n@db.example:6000/my shop");
        assert_eq!(options.password.as_ref().map(Password::expose), Some("s:cr/et"));
        assert_eq!(options.ssl_mode, SslMode::VerifyFull);
        assert_eq!(options.application_name, "a&b");
        assert_eq!(options.connect_timeout, Duration::from_secs(3));
        assert!(!format!("{options:?}").contains("cr/et"));

        for (url, printed) in [
            ("postgres://a@[::1]/d", "a@[::1]:5432/d"),
            ("postgres://a@[fe80::1]:77/d", "a@[fe80::1]:77/d"),
            ("postgres://a@/d?host=/run/pg&port=5433", "a@/run/pg:5433/d"),
            ("postgres://a@%2Frun%2Fpg:5433/d", "a@/run/pg:5433/d"),
            ("postgres://h?user=u&dbname=d&password=p", "u@h:5432/d"),
            ("postgres://u:p@q@h/d", "u@h:5432/d"),
        ] {
            assert_eq!(parse(url).to_string(), printed, "{url}");
        }
        let system = parse("postgres://a@h/d?sslrootcert=system");
        assert_eq!((system.ssl_mode, system.ssl_root_cert), (SslMode::VerifyFull, None));
        assert_eq!(parse("postgres://a@h/d").with_database("e").to_string(), "a@h:5432/e");
    }

    #[test]
    fn refusals_name_the_part_and_hide_the_password() {
        for (url, part) in [
            ("mysql://h", "starts with `postgres://`"),
            ("postgres://u:secret@h", "no database"),
            ("postgres://h/d?password=secret", "no user"),
            ("postgres://u:secret@/d", "no host"),
            ("postgres://u:secret@h:0/d", "port"),
            ("postgres://u:secret/x@h/d", "port"),
            ("postgres://u:secret?x@h/d", "port"),
            ("postgres://u:secret%zz@h/d", "password"),
            ("postgres://u:secret%+1@h/d", "password"),
            ("postgres://u:secret@h,i/d", "more than one host"),
            ("postgres://u:secret@h/d?sslcert=x", "`sslcert`"),
            ("postgres://u:secret@h/d?sslmode=yes", "`yes`"),
            ("postgres://u:secret@h/d?connect_timeout=0", "`0`"),
            ("postgres://u:secret@h/d?sslrootcert=/no/such", "`/no/such`"),
            ("postgres://u@h/d?password", "parameter list"),
            ("postgres://u@h/d?sslmode=require&sslrootcert=system", "`verify-full`"),
        ] {
            let message = url.parse::<ConnectOptions>().unwrap_err().to_string();
            assert!(message.contains(part) && !message.contains("secret"), "{url}: {message}");
        }
    }
}
