//! The messages from the start of a session to its first `ReadyForQuery`.

use std::io;

use bytes::{Buf, Bytes};
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::{backend, frontend};

use super::connect::Session;
use super::error::{ServerError, WireError};
use super::options::{ConnectOptions, Password};
use super::pins::{self, PINS};
use super::wire::{Frame, Wire, malformed, unexpected};

/// Why a login failed.
#[derive(Debug)]
pub(super) enum LoginError {
    Wire(WireError),
    Refused(Box<ServerError>),
    NoPassword,
    UnsupportedMethod(&'static str),
    /// The server does not prove that it knows the password, or breaks the rules of SCRAM.
    Scram(io::Error),
}

/// Logs in and waits until the server is ready. `server_end_point` binds the login to the TLS
/// connection it runs over.
pub(super) async fn log_in(
    wire: &mut Wire,
    options: &ConnectOptions,
    session: Session,
    server_end_point: Option<Vec<u8>>,
) -> Result<(), LoginError> {
    let mut parameters = vec![
        ("user", options.user.as_str()),
        ("database", options.database.as_str()),
        ("application_name", options.application_name.as_str()),
    ];
    match session {
        Session::Sql => {}
        Session::Replication => parameters.push(("replication", "database")),
    }
    parameters.extend(PINS);
    frontend::startup_message(parameters, wire.writer.buffer()).map_err(not_sendable)?;
    wire.writer.flush().await?;
    authenticate(wire, options, server_end_point).await?;
    loop {
        let frame = next(wire).await?;
        match frame.tag {
            backend::BACKEND_KEY_DATA_TAG => {
                let mut body = frame.body;
                let mut number = || body.try_get_i32().map_err(|_| malformed(frame.tag));
                wire.process_id = number()?;
                wire.secret_key = number()?;
            }
            backend::READY_FOR_QUERY_TAG => break,
            tag => return Err(unexpected(tag, "login").into()),
        }
    }
    if let Some(sql) = pins::later_sql(wire.server_version_num()) {
        wire.simple_query(&sql).await?;
    }
    Ok(())
}

async fn authenticate(
    wire: &mut Wire,
    options: &ConnectOptions,
    server_end_point: Option<Vec<u8>>,
) -> Result<(), LoginError> {
    let password = || options.password.as_ref().map(Password::expose).ok_or(LoginError::NoPassword);
    let (method, mut data) = authentication(wire).await?;
    match method {
        OK => return Ok(()),
        CLEARTEXT => send_password(wire, password()?).await?,
        MD5 => {
            let mut salt = [0; 4];
            data.try_copy_to_slice(&mut salt)
                .map_err(|_| malformed(backend::AUTHENTICATION_TAG))?;
            let hash = md5_hash(options.user.as_bytes(), password()?.as_bytes(), salt);
            send_password(wire, &hash).await?;
        }
        SASL => scram(wire, password()?, &data, server_end_point).await?,
        2 => return Err(LoginError::UnsupportedMethod("Kerberos V5")),
        7 => return Err(LoginError::UnsupportedMethod("GSSAPI")),
        9 => return Err(LoginError::UnsupportedMethod("SSPI")),
        _ => return Err(LoginError::UnsupportedMethod("unknown")),
    }
    expect(wire, OK).await.map(drop)
}

// https://www.postgresql.org/docs/current/protocol-message-formats.html, the Authentication messages.
const OK: i32 = 0;
const CLEARTEXT: i32 = 3;
const MD5: i32 = 5;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

async fn scram(
    wire: &mut Wire,
    password: &str,
    mechanisms: &[u8],
    server_end_point: Option<Vec<u8>>,
) -> Result<(), LoginError> {
    let offers = |name: &str| mechanisms.split(|byte| *byte == 0).any(|m| m == name.as_bytes());
    let (mechanism, binding) = match server_end_point {
        Some(data) if offers(sasl::SCRAM_SHA_256_PLUS) => {
            (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(data))
        }
        // Tells the server that we would have: one that offered it then sees that somebody
        // between us took the offer away.
        Some(_) => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
        None => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
    };
    if !offers(mechanism) {
        return Err(LoginError::UnsupportedMethod("SASL, but not SCRAM-SHA-256"));
    }
    let mut scram = sasl::ScramSha256::new(password.as_bytes(), binding);
    frontend::sasl_initial_response(mechanism, scram.message(), wire.writer.buffer())
        .map_err(not_sendable)?;
    wire.writer.flush().await?;
    let challenge = expect(wire, SASL_CONTINUE).await?;
    scram.update(&challenge).map_err(LoginError::Scram)?;
    frontend::sasl_response(scram.message(), wire.writer.buffer()).map_err(not_sendable)?;
    wire.writer.flush().await?;
    let proof = expect(wire, SASL_FINAL).await?;
    scram.finish(&proof).map_err(LoginError::Scram)
}

async fn send_password(wire: &mut Wire, password: &str) -> Result<(), LoginError> {
    frontend::password_message(password.as_bytes(), wire.writer.buffer()).map_err(not_sendable)?;
    Ok(wire.writer.flush().await?)
}

async fn expect(wire: &mut Wire, expected: i32) -> Result<Bytes, LoginError> {
    match authentication(wire).await? {
        (method, data) if method == expected => Ok(data),
        (method, _) => {
            let text = format!("authentication message {method} where {expected} was expected");
            Err(WireError::Protocol(text).into())
        }
    }
}

/// The next message, which must be one of authentication: its number and its data.
async fn authentication(wire: &mut Wire) -> Result<(i32, Bytes), LoginError> {
    let Frame { tag, mut body } = next(wire).await?;
    if tag != backend::AUTHENTICATION_TAG {
        return Err(unexpected(tag, "login").into());
    }
    let method = body.try_get_i32().map_err(|_| malformed(tag))?;
    Ok((method, body))
}

async fn next(wire: &mut Wire) -> Result<Frame, LoginError> {
    let frame = wire.reader.frame().await?;
    if frame.tag == backend::ERROR_RESPONSE_TAG {
        return Err(LoginError::Refused(Box::new(ServerError::parse(&frame.body))));
    }
    Ok(frame)
}

/// A zero byte in a name or the password.
fn not_sendable(error: io::Error) -> LoginError {
    WireError::Protocol(format!("a part of the login cannot be sent: {error}")).into()
}

impl From<WireError> for LoginError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// Logs in to a server that says `script` and nothing more; also gives what it was sent.
    async fn exchange(script: &[u8], binding: Option<Vec<u8>>) -> (Result<(), LoginError>, String) {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        theirs.write_all(script).await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut options = ConnectOptions::new("h", "u", "d");
        options.password = Some(Password::new("secret"));
        let mut wire = Wire::from_stream(ours);
        let result = log_in(&mut wire, &options, Session::Replication, binding).await;
        drop(wire);
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).await.unwrap();
        let sent = String::from_utf8_lossy(&sent).into_owned();
        assert!(sent.contains("replication\0database\0") && sent.contains("xmloption\0content\0"));
        assert!(!sent.contains("secret"));
        (result, sent)
    }

    async fn log_in_to(script: &[u8]) -> Result<(), LoginError> {
        exchange(script, None).await.0
    }

    #[tokio::test]
    async fn a_login_is_bound_to_tls_where_both_ends_can() {
        let plus = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let plain = b"\0\0\0\x0aSCRAM-SHA-256\0\0";
        for (offer, binding, expected) in [
            (&plus[..], Some(vec![7]), ["SCRAM-SHA-256-PLUS\0", "p=tls-server-end-point,,"]),
            (plain, Some(vec![7]), ["SCRAM-SHA-256\0", "y,,"]),
            (plus, None, ["SCRAM-SHA-256\0", "n,,"]),
        ] {
            let (_, sent) = exchange(&frame(b'R', offer), binding).await;
            assert!(expected.iter().all(|part| sent.contains(part)), "{expected:?}: {sent}");
        }
    }

    #[tokio::test]
    async fn a_hostile_server_is_refused() {
        let ok = frame(b'R', &[0, 0, 0, 0]);
        let ready = frame(b'Z', b"I");
        log_in_to(&[ok.clone(), ready.clone()].concat()).await.unwrap();

        let sasl = frame(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        for (name, script) in [
            ("silence", Vec::new()),
            ("cut short", vec![b'R', 0, 0]),
            ("not PostgreSQL", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
            ("no number", frame(b'R', b"")),
            ("MD5 without salt", frame(b'R', &[0, 0, 0, 5, 1])),
            ("other SASL", frame(b'R', b"\0\0\0\x0aOTHER\0\0")),
            ("SASL without a list", frame(b'R', &[0, 0, 0, 10])),
            ("GSSAPI", frame(b'R', &[0, 0, 0, 7])),
            // A server that does not know the password must not get away without its proof.
            ("no proof", [sasl.clone(), ok.clone(), ready.clone()].concat()),
            ("bad challenge", [sasl.clone(), frame(b'R', b"\0\0\0\x0br=x")].concat()),
            ("rows at once", [ok.clone(), frame(b'D', &[0, 0])].concat()),
            ("short key data", [ok, frame(b'K', &[0, 0, 0, 1])].concat()),
        ] {
            assert!(log_in_to(&script).await.is_err(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_sqlstate() {
        match log_in_to(&frame(b'E', b"SFATAL\0C57P03\0Mstarting up\0\0")).await {
            Err(LoginError::Refused(error)) => assert_eq!(error.code, "57P03"),
            other => panic!("{other:?}"),
        }
    }
}
