//! A socket that a thread of its own reads, in large pieces.
//!
//! A walsender hands each message to the kernel by itself. A reader that waits in the kernel is woken by
//! every one of them, and waking it costs the server several times what decoding the message does. So
//! while much comes in, the thread sleeps between its reads, away from the socket, and the server writes on
//! undisturbed. While little comes in it waits in the kernel, and nothing is late.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

/// Bytes read at once at most; what waits in the socket beyond that is flow control.
const PIECE_BYTES: usize = 256 << 10;
/// When and how long the thread stays away from a busy socket, and the window that fits.
///
/// While the window is full, what the server writes is gathered in its kernel and travels in large segments;
/// before that, each message travels by itself, which costs the server more than decoding it.
#[derive(Clone, Copy)]
pub(super) struct PaceLimits {
    /// The receive window. A small one is soon full; it must not be small where the way is long.
    pub(super) window_bytes: u32,
    /// The most that a change is late under load is the longest.
    shortest_pause: Duration,
    longest_pause: Duration,
}

impl PaceLimits {
    /// The kernel holds megabytes for the server while nobody reads: a long pause never holds it up.
    pub(super) const SAME_MACHINE: Self = Self {
        window_bytes: 16 << 10,
        shortest_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(5),
    };
    /// How much the server may write while nobody reads is unknown: the pause ends when the window is full.
    pub(super) const NETWORK: Self = Self {
        window_bytes: 64 << 10,
        shortest_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(5),
    };

    /// A read of fewer bytes after a pause found the window not full.
    const fn full_bytes(&self) -> usize {
        self.window_bytes as usize / 4 * 3
    }

    /// A read of fewer bytes emptied the socket.
    const fn few_bytes(&self) -> usize {
        self.window_bytes as usize / 4
    }
}

/// Much comes in when this many bytes a millisecond do, measured over this time.
const BUSY_BYTES_PER_MS: u128 = 4 << 10;
const MEASURED_OVER: Duration = Duration::from_millis(5);

/// The server takes the little that is written at once, or is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A connected socket of the standard library.
pub(super) trait Socket: Read + Write + Send + Sync + Sized + 'static {
    fn second(&self) -> io::Result<Self>;
    fn prepare(&self) -> io::Result<()>;
    fn shut_down(&self, what: Shutdown) -> io::Result<()>;
}

macro_rules! socket {
    ($type:ty) => {
        impl Socket for $type {
            fn second(&self) -> io::Result<Self> {
                self.try_clone()
            }

            fn prepare(&self) -> io::Result<()> {
                self.set_nonblocking(false)?;
                self.set_write_timeout(Some(WRITE_TIMEOUT))
            }

            fn shut_down(&self, what: Shutdown) -> io::Result<()> {
                self.shutdown(what)
            }
        }
    };
}

socket!(std::net::TcpStream);
socket!(std::os::unix::net::UnixStream);

/// The socket, for the tasks of the runtime. Only for what writes little: a write blocks its thread.
pub(super) struct ReadAhead<S: Socket> {
    socket: S,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
    reader: Option<JoinHandle<()>>,
}

impl<S: Socket> ReadAhead<S> {
    /// Starts the thread. Without a pace it reads whenever something is there: a local socket holds too few
    /// messages for a server to write on while nobody reads.
    pub(super) fn new(socket: S, pace: Option<PaceLimits>) -> io::Result<Self> {
        socket.prepare()?;
        let other = socket.second()?;
        let (sender, pieces) = mpsc::channel(1);
        let reader = thread::Builder::new()
            .name("read-ahead".to_owned())
            .stack_size(128 << 10)
            .spawn(move || read(other, pace, &sender))?;
        Ok(Self { socket, pieces, piece: Bytes::new(), reader: Some(reader) })
    }
}

fn read(mut socket: impl Read, pace: Option<PaceLimits>, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut pace = pace.map(|limits| Pace::new(limits, Instant::now()));
    loop {
        let read = match socket.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // Nobody may be left to be told.
                let _ = pieces.blocking_send(Err(error));
                return;
            }
        };
        let piece = Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default());
        if pieces.blocking_send(Ok(piece)).is_err() {
            return;
        }
        if let Some(pause) = pace.as_mut().and_then(|pace| pace.after(read, Instant::now())) {
            thread::sleep(pause);
        }
    }
}

/// Decides when to stay away from the socket, and for how long.
struct Pace {
    limits: PaceLimits,
    measured_from: Instant,
    bytes: u128,
    busy: bool,
    paused: bool,
    pause: Duration,
}

impl Pace {
    const fn new(limits: PaceLimits, now: Instant) -> Self {
        let pause = limits.shortest_pause;
        Self { limits, measured_from: now, bytes: 0, busy: false, paused: false, pause }
    }

    /// `read` bytes came at `now`: how long to stay away before the next read.
    fn after(&mut self, read: usize, now: Instant) -> Option<Duration> {
        self.bytes += u128::try_from(read).unwrap_or(u128::MAX);
        let measured = now.duration_since(self.measured_from);
        if measured >= MEASURED_OVER {
            self.busy = self.bytes >= BUSY_BYTES_PER_MS * measured.as_millis();
            self.measured_from = now;
            self.bytes = 0;
        }
        if std::mem::take(&mut self.paused) {
            let full = read >= self.limits.full_bytes();
            let fitting = if full { self.pause * 9 / 10 } else { self.pause * 3 / 2 };
            self.pause = fitting.clamp(self.limits.shortest_pause, self.limits.longest_pause);
        }
        self.paused = self.busy && read < self.limits.few_bytes();
        self.paused.then_some(self.pause)
    }
}

impl<S: Socket> Drop for ReadAhead<S> {
    fn drop(&mut self) {
        self.pieces.close();
        // A failure means that the connection is gone already, which ends the thread too.
        let _ = self.socket.shut_down(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl<S: Socket + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.piece.is_empty() {
            match ready!(self.pieces.poll_recv(context)) {
                Some(piece) => self.piece = piece?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let taken = self.piece.len().min(buffer.remaining());
        buffer.put_slice(self.piece.get(..taken).unwrap_or_default());
        self.piece.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.socket.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shut_down(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    #[test]
    fn a_busy_socket_is_left_alone_between_reads_and_a_quiet_one_is_not() {
        let start = Instant::now();
        let mut pace = Pace::new(PaceLimits::NETWORK, start);
        let at = |us| start + Duration::from_micros(us);
        // A transaction of three small messages each millisecond.
        let quiet = (1..1_000).all(|n| pace.after(200, at(n * 333)).is_none());
        assert!(quiet);
        // Small messages one after the other.
        let mut now = 400_000;
        let pauses: Vec<_> = (0..2_000)
            .filter_map(|_| {
                now += 5;
                pace.after(150, at(now))
            })
            .collect();
        assert_eq!(pauses.last(), Some(&PaceLimits::NETWORK.longest_pause));
        // More than fits: no pause until the socket is empty, and then a shorter one.
        assert_eq!(pace.after(60_000, at(now + 5_000)), None);
        let pause = pace.after(1_000, at(now + 5_100)).unwrap();
        assert!(pause < PaceLimits::NETWORK.longest_pause, "{pause:?}");
    }

    #[tokio::test]
    async fn everything_comes_in_order_and_then_the_end() {
        let (near, mut far) = pair();
        let mut ahead = ReadAhead::new(near, Some(PaceLimits::SAME_MACHINE)).unwrap();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let writer = thread::spawn({
            let sent = sent.clone();
            move || {
                for piece in sent.chunks(777) {
                    far.write_all(piece).unwrap();
                }
                far
            }
        });
        let mut received = vec![0; sent.len()];
        ahead.read_exact(&mut received).await.unwrap();
        assert!(received == sent);
        let mut far = writer.join().unwrap();
        ahead.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        far.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
        drop(far);
        assert_eq!(ahead.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn dropping_it_ends_its_thread_whatever_that_waits_for() {
        let (near, mut far) = pair();
        drop(ReadAhead::new(near, None).unwrap());
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);

        let (near, mut far) = pair();
        let ahead = ReadAhead::new(near, None).unwrap();
        // More than the channel holds: the thread waits for somebody to take it.
        let writer = thread::spawn(move || while far.write_all(&[0; 65_536]).is_ok() {});
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(ahead);
        writer.join().unwrap();
    }
}
