//! A network between the worker and a server, that stalls and breaks as it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Result;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Pieces that are passed on at once: small enough for a connection to break within a message.
const PIECE: usize = 8 << 10;

/// Listens on a port of its own, and passes on what comes until it is dropped.
pub(super) struct Proxy {
    port: u16,
    orders: Arc<Orders>,
    _accepting: JoinSet<()>,
}

/// What the connections do.
struct Orders {
    stalled: watch::Sender<bool>,
    /// Counts resets: at each, the connections of the time break.
    resets: watch::Sender<u64>,
    /// Bytes from the server until the next reset; below zero: none is ordered.
    left: AtomicI64,
}

impl Proxy {
    /// Passes on to `server`, a port on this machine.
    pub(super) async fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let orders = Arc::new(Orders {
            stalled: watch::Sender::new(false),
            resets: watch::Sender::new(0),
            left: AtomicI64::new(-1),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, ([127, 0, 0, 1], server).into(), Arc::clone(&orders)));
        Ok(Self { port, orders, _accepting: accepting })
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Breaks every connection, once the server has sent so many bytes more, if it does within the time; whether one broke.
    pub(super) async fn reset(&self, bytes: u32, patience: Duration) -> bool {
        let mut resets = self.orders.resets.subscribe();
        let connections = self.orders.resets.receiver_count() > 1;
        if bytes == 0 {
            self.orders.reset();
        } else {
            self.orders.left.store(bytes.into(), Ordering::Relaxed);
        }
        let broke = tokio::time::timeout(patience, resets.changed()).await.is_ok();
        self.heal();
        broke && connections
    }

    /// Passes nothing on for a while; connections stay.
    pub(super) async fn stall(&self, time: Duration) {
        self.orders.stalled.send_replace(true);
        tokio::time::sleep(time).await;
        self.heal();
    }

    /// Takes every order back.
    pub(super) fn heal(&self) {
        self.orders.stalled.send_replace(false);
        self.orders.left.store(-1, Ordering::Relaxed);
    }
}

impl Orders {
    fn reset(&self) {
        self.resets.send_modify(|count| *count += 1);
    }

    /// How much of `wanted` may still pass.
    fn admit(&self, wanted: usize) -> usize {
        let wanted_bytes = i64::try_from(wanted).unwrap_or(i64::MAX);
        let before = self.left.load(Ordering::Relaxed);
        if before < 0 {
            return wanted;
        }
        let before = self.left.fetch_sub(wanted_bytes, Ordering::Relaxed);
        if before > wanted_bytes {
            wanted
        } else {
            usize::try_from(before).unwrap_or(0).min(wanted)
        }
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, orders: Arc<Orders>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                connections.spawn(connect(client, server, Arc::clone(&orders)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(client: TcpStream, server: SocketAddr, orders: Arc<Orders>) {
    let mut resets = orders.resets.subscribe();
    resets.mark_unchanged();
    let Ok(server) = TcpStream::connect(server).await else { return };
    for stream in [&client, &server] {
        // With anything else a break looks like an end. There is nobody to tell.
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        let _ = stream.set_nodelay(true);
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::select! {
        _ = resets.changed() => {}
        () = pass(&mut from_client, &mut to_server, &orders, false) => {}
        () = pass(&mut from_server, &mut to_client, &orders, true) => {}
    }
}

/// Passes on until an end, which ends the other direction too.
async fn pass(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, orders: &Orders, counted: bool) {
    let mut stalled = orders.stalled.subscribe();
    let mut piece = vec![0; PIECE];
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else { return };
        if stalled.wait_for(|stalled| !stalled).await.is_err() {
            return;
        }
        let admitted = if counted { orders.admit(length) } else { length };
        let Some(bytes) = piece.get(..admitted) else { return };
        if to.write_all(bytes).await.is_err() {
            return;
        }
        if admitted < length || counted && orders.left.load(Ordering::Relaxed) == 0 {
            orders.left.store(-1, Ordering::Relaxed);
            orders.reset();
            // What comes after a gap must not follow what came before it.
            return;
        }
    }
}
