//! A server that answers as it is told, down to the bytes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The request line and the headers, names in lower case.
    pub(crate) head: Vec<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
    /// Whether the server took what was in it, whatever the client heard of that.
    pub(crate) taken: bool,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The event's id, in structured mode.
    pub(crate) fn id(&self) -> String {
        self.json()["id"].as_str().unwrap().to_owned()
    }
}

/// What goes back.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A status, further header lines, and a text.
    Answer(u16, &'static str, &'static str),
    /// The same, later.
    Late(Duration, u16),
    /// The connection ends without an answer.
    Reset,
    /// Nothing, for ever.
    Hang,
    /// These bytes, and then more and more of the others.
    Endless(&'static str, &'static str),
}

pub(crate) const OK: Reply = Reply::Answer(204, "", "");

type Answer = dyn Fn(usize, &Request) -> Reply + Send + Sync;

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Request>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts one; `answer` gets the request's number and the request.
    pub(crate) async fn start(
        answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(None, answer).await
    }

    pub(crate) async fn start_with(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (answer, log): (Arc<Answer>, _) = (Arc::new(answer), Arc::clone(&received));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (answer, log, tls) = (Arc::clone(&answer), Arc::clone(&log), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(socket, &*answer, &log).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, &*answer, &log).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, received, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    pub(crate) fn received(&self) -> Vec<Request> {
        self.received.lock().unwrap().clone()
    }
}

async fn serve(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    answer: &Answer,
    log: &Mutex<Vec<Request>>,
) {
    let mut buffer = Vec::new();
    while let Some(mut request) = read(&mut socket, &mut buffer).await {
        let reply = {
            let mut log = log.lock().unwrap();
            let reply = answer(log.len(), &request);
            request.taken = !matches!(reply, Reply::Answer(300.., ..));
            log.push(request);
            reply
        };
        let (status, headers, text) = match reply {
            Reply::Answer(status, headers, text) => (status, headers, text),
            Reply::Late(delay, status) => {
                tokio::time::sleep(delay).await;
                (status, "", "")
            }
            Reply::Reset => return,
            Reply::Hang => return std::future::pending().await,
            Reply::Endless(first, more) => {
                let mut sent = socket.write_all(first.as_bytes()).await;
                if more.is_empty() {
                    return std::future::pending().await;
                }
                while sent.is_ok() {
                    sent = socket.write_all(more.as_bytes()).await;
                }
                return;
            }
        };
        let length = text.len();
        let answer =
            format!("HTTP/1.1 {status} Told\r\n{headers}content-length: {length}\r\n\r\n{text}");
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(socket: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
    let head: Vec<String> = head
        .lines()
        .map(|line| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
            None => line.to_owned(),
        })
        .collect();
    let mut request = Request { head, body: Vec::new(), at: Instant::now(), taken: false };
    let length: usize = request.header("content-length").unwrap().parse().unwrap();
    while buffer.len() < length {
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    request.body = buffer.drain(..length).collect();
    Some(request)
}
