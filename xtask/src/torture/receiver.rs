//! An HTTP endpoint that takes events, and that fails, hangs and breaks off now and then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fastrand::Rng;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Longer than the worker waits for an answer.
const TOO_LONG: Duration = Duration::from_millis(1500);

/// Listens until it is dropped.
pub(super) struct Receiver {
    port: u16,
    taken: Taken,
    _accepting: JoinSet<()>,
}

/// The events that were taken, in the order in which they came.
type Taken = Arc<Mutex<Vec<Value>>>;

impl Receiver {
    pub(super) async fn start(seed: u64) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let taken = Taken::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&taken), seed));
        Ok(Self { port, taken, _accepting: accepting })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// How many events came, repeats included.
    pub(super) fn count(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// All events.
    pub(super) fn events(&self) -> Vec<Value> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(listener: TcpListener, taken: Taken, seed: u64) {
    let mut connections = JoinSet::new();
    for number in seed.wrapping_mul(1000).. {
        let random = Rng::with_seed(number);
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { return };
                let taken = Arc::clone(&taken);
                connections.spawn(async move {
                    // Who sends half a request is not answered.
                    let _ = serve(socket, &taken, random).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// What becomes of a request.
struct Fate {
    /// Whether its events are kept.
    taken: bool,
    /// How long it waits.
    delay: Duration,
    /// The answer; without one the connection breaks off.
    status: Option<&'static str>,
}

impl Fate {
    fn drawn(random: &mut Rng) -> Self {
        let (taken, delay, status) = match random.u32(0..1000) {
            0..15 => (false, Duration::ZERO, Some("503 Service Unavailable")),
            15..25 => (true, Duration::ZERO, Some("500 Internal Server Error")),
            25..35 => (false, Duration::ZERO, Some("429 Too Many Requests\r\nretry-after: 0")),
            35..45 => (true, Duration::ZERO, None),
            45..55 => (false, Duration::ZERO, None),
            55..60 => (true, TOO_LONG, Some("204 No Content")),
            60..65 => (false, TOO_LONG, None),
            _ => (true, Duration::ZERO, Some("204 No Content")),
        };
        Self { taken, delay, status }
    }
}

async fn serve(socket: TcpStream, taken: &Taken, mut random: Rng) -> Result<()> {
    let mut socket = BufReader::new(socket);
    while let Some(body) = request(&mut socket).await? {
        let fate = Fate::drawn(&mut random);
        if fate.taken {
            let events = serde_json::from_slice(&body)?;
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            match events {
                Value::Array(events) => taken.extend(events),
                event => taken.push(event),
            }
        }
        tokio::time::sleep(fate.delay).await;
        let Some(status) = fate.status else { return Ok(()) };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        socket.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// The body of the next request; `None` at the end of the connection.
async fn request(socket: &mut BufReader<TcpStream>) -> Result<Option<Vec<u8>>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().context("the length of a request")?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok(Some(body))
}
