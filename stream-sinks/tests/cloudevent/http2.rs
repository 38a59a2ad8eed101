//! Delivery over HTTP/2, to a real server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use h2::Reason;
use h2::server::SendResponse;
use http::{Request, Response, Version};
use stream_core::Sink as _;
use stream_sinks::cloudevent::event::Mode;
use stream_sinks::cloudevent::options::EndpointOptions;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::fixture::{batch, in_flight, insert, options, sink};
use crate::tls::{authority, config};

/// What the server does with a request, beside taking it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// Says after every third request that the connection ends.
    Leaving,
    /// Refuses every third request before it is read.
    Refusing,
}

/// The connection's number, the protocol and the body of a request.
type Taken = (usize, Version, Vec<u8>);

struct Server {
    address: SocketAddr,
    ca: Vec<u8>,
    taken: Arc<Mutex<Vec<Taken>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(mood: Mood) -> Self {
        let authority = authority("ours");
        let mut tls = config(&authority, "localhost", false);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let tls = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::<Mutex<Vec<Taken>>>::default();
        let mut tasks = JoinSet::new();
        let log = Arc::clone(&taken);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(serve(socket, tls.clone(), number, mood, Arc::clone(&log)));
            }
        });
        Self { address, ca: authority.pem().into_bytes(), taken, _tasks: tasks }
    }

    fn options(&self) -> EndpointOptions {
        let mut options = options(&format!("https://localhost:{}/", self.address.port()));
        options.ca = Some(self.ca.clone());
        options.max_in_flight = in_flight(8);
        options.retry_limit = Some(20);
        options
    }

    /// Delivers rows, and gives back what came.
    async fn deliver(&self, rows: u64, note: &str) -> Vec<Taken> {
        let mut sink = sink(self.options(), Mode::Structured).await;
        sink.write(&batch((0..rows).map(|id| insert(id, note)).collect())).await.unwrap();
        self.taken.lock().unwrap().clone()
    }
}

async fn serve(
    socket: TcpStream,
    tls: TlsAcceptor,
    number: usize,
    mood: Mood,
    log: Arc<Mutex<Vec<Taken>>>,
) {
    let socket = tls.accept(socket).await.unwrap();
    let mut connection = h2::server::handshake(socket).await.unwrap();
    let (mut requests, mut count) = (JoinSet::new(), 0);
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        count += 1;
        match mood {
            Mood::Refusing if count % 3 == 0 => answer.send_reset(Reason::REFUSED_STREAM),
            Mood::Well | Mood::Leaving | Mood::Refusing => {
                requests.spawn(take(request, answer, number, Arc::clone(&log)));
            }
        }
        if mood == Mood::Leaving && count == 3 {
            connection.graceful_shutdown();
        }
    }
    while requests.join_next().await.is_some() {}
}

async fn take(
    request: Request<h2::RecvStream>,
    mut answer: SendResponse<bytes::Bytes>,
    number: usize,
    log: Arc<Mutex<Vec<Taken>>>,
) {
    let version = request.version();
    let mut pieces = request.into_body();
    let mut body = Vec::new();
    while let Some(piece) = pieces.data().await {
        let piece = piece.unwrap();
        pieces.flow_control().release_capacity(piece.len()).unwrap();
        body.extend_from_slice(&piece);
    }
    log.lock().unwrap().push((number, version, body));
    let response = Response::builder().status(204).body(()).unwrap();
    answer.send_response(response, true).unwrap();
}

fn ids(taken: &[Taken]) -> Vec<u64> {
    let id = |body: &[u8]| {
        let event: serde_json::Value = serde_json::from_slice(body).unwrap();
        event["data"]["after"]["id"].as_u64().unwrap()
    };
    let mut ids: Vec<_> = taken.iter().map(|(_, _, body)| id(body)).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn events_go_over_one_connection_of_http_2_where_it_is_offered() {
    let server = Server::start(Mood::Well).await;
    let taken = server.deliver(100, "x").await;
    assert_eq!(ids(&taken), (0..100).collect::<Vec<_>>());
    assert!(taken.iter().all(|(number, version, _)| (*number, *version) == (0, Version::HTTP_2)));
}

#[tokio::test]
async fn events_larger_than_the_window_of_http_2_arrive_whole() {
    let server = Server::start(Mood::Well).await;
    let taken = server.deliver(3, &"x".repeat(2 << 20)).await;
    assert_eq!(ids(&taken), [0, 1, 2]);
    assert!(taken.iter().all(|(_, _, body)| body.len() > 2 << 20));
}

#[tokio::test]
async fn a_server_of_http_2_that_leaves_or_refuses_gets_every_event() {
    for mood in [Mood::Leaving, Mood::Refusing] {
        let server = Server::start(mood).await;
        let taken = server.deliver(20, "x").await;
        let mut ids = ids(&taken);
        ids.dedup();
        assert_eq!(ids, (0..20).collect::<Vec<_>>());
        let connections = taken.iter().map(|(number, ..)| number).max().unwrap();
        assert_eq!(*connections > 0, mood == Mood::Leaving, "{connections}");
    }
}

/// Connects those that come with `server`; the first of them only until it has sent `first`.
async fn freezing(
    server: SocketAddr,
    first: tokio::sync::oneshot::Receiver<()>,
) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        let mut first = Some(first);
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let frozen = first.take();
            connections.spawn(async move {
                let mut onward = TcpStream::connect(server).await.unwrap();
                let copying = tokio::io::copy_bidirectional(&mut socket, &mut onward);
                match frozen {
                    None => drop(copying.await),
                    Some(frozen) => tokio::select! {
                        _ = copying => {}
                        _ = frozen => std::future::pending().await,
                    },
                }
            });
        }
    });
    (address, tasks)
}

#[tokio::test]
async fn a_silent_connection_of_http_2_is_given_up_for_a_new_one() {
    let server = Server::start(Mood::Well).await;
    let (freeze, frozen) = tokio::sync::oneshot::channel();
    let (address, _tasks) = freezing(server.address, frozen).await;
    let options = EndpointOptions {
        url: format!("https://localhost:{}/", address.port()),
        read_timeout: Some(Duration::from_secs(1)),
        retry_limit: None,
        ..server.options()
    };
    let mut sink = sink(options, Mode::Structured).await;
    sink.write(&batch(vec![insert(1, "x")])).await.unwrap();
    freeze.send(()).unwrap();
    let second = batch(vec![insert(2, "x")]);
    let written = tokio::time::timeout(Duration::from_secs(50), sink.write(&second)).await;
    assert!(matches!(written, Ok(Ok(()))), "{written:?}");
    let taken = server.taken.lock().unwrap().clone();
    assert_eq!(ids(&taken), [1, 2]);
    assert_eq!(taken.last().unwrap().0, 1);
}
