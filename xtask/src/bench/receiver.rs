//! The cheapest endpoint there can be: it reads requests, counts the events in them, and answers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use anyhow::Result;

/// What stands before the time, in microseconds since 1970, at which a row was written.
const WRITTEN: &[u8] = b"\"written\":";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// An endpoint. Its threads end with the process, or with their connections.
#[derive(Clone)]
pub(super) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    events: AtomicU64,
    requests: AtomicU64,
    is_stalled: AtomicBool,
    /// Microseconds from the writing of a row to the coming of its event, where rows tell.
    delays: Mutex<Vec<u64>>,
}

impl Receiver {
    /// Starts one.
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let receiver = Self { address: listener.local_addr()?, shared: Arc::default() };
        let shared = Arc::clone(&receiver.shared);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(socket, &shared));
            }
        });
        Ok(receiver)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Events that came so far.
    pub(super) fn events(&self) -> u64 {
        self.shared.events.load(Ordering::Relaxed)
    }

    /// Requests that came so far.
    pub(super) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Answers nothing any more.
    pub(super) fn stall(&self) {
        self.shared.is_stalled.store(true, Ordering::Relaxed);
    }

    /// The delays so far, in order of their length.
    pub(super) fn delays(&self) -> Vec<u64> {
        let mut delays = self.shared.delays.lock().unwrap_or_else(PoisonError::into_inner).clone();
        delays.sort_unstable();
        delays
    }
}

fn serve(mut socket: TcpStream, shared: &Shared) {
    let _ = socket.set_nodelay(true);
    let mut buffer = Vec::new();
    let mut piece = vec![0; 256 << 10];
    loop {
        while let Some(end) = request_end(&buffer) {
            let request = buffer.get(..end).unwrap_or_default();
            shared.requests.fetch_add(1, Ordering::Relaxed);
            let events = find_all(request, b"\"specversion\":").count();
            shared.events.fetch_add(u64::try_from(events).unwrap_or(0), Ordering::Relaxed);
            note_delays(request, shared);
            buffer.drain(..end);
            if shared.is_stalled.load(Ordering::Relaxed) {
                std::thread::park();
            }
            if socket.write_all(ANSWER).is_err() {
                return;
            }
        }
        match socket.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(read) => buffer.extend_from_slice(piece.get(..read).unwrap_or_default()),
        }
    }
}

/// Where the first request ends, if all of it is there.
fn request_end(buffer: &[u8]) -> Option<usize> {
    let head = find_all(buffer, b"\r\n\r\n").next()? + 4;
    let headers = std::str::from_utf8(buffer.get(..head)?).ok()?;
    let length = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
    });
    let end = head + length?;
    (buffer.len() >= end).then_some(end)
}

fn note_delays(request: &[u8], shared: &Shared) {
    let mut found = find_all(request, WRITTEN).peekable();
    if found.peek().is_none() {
        return;
    }
    let now = stream_core::clock::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let mut delays = shared.delays.lock().unwrap_or_else(PoisonError::into_inner);
    for at in found {
        let digits = request.get(at + WRITTEN.len()..).unwrap_or_default();
        let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
        let written = digits.fold(0_u128, |sum, digit| sum * 10 + u128::from(digit - b'0'));
        if written > 0 {
            delays.push(u64::try_from(now.saturating_sub(written)).unwrap_or(u64::MAX));
        }
    }
}

/// Where `part` stands in `text`.
fn find_all<'a>(text: &'a [u8], part: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    memchr::memmem::find_iter(text, part)
}
