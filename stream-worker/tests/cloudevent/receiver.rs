//! An endpoint that remembers what it took, and that fails now and then.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it fails: of a thousand requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Answers with status 503, and takes nothing.
    pub(crate) unavailable: u32,
    /// Takes the events, and closes the connection without an answer.
    pub(crate) reset: u32,
    /// Answers with status 401 whoever has no such `Authorization`.
    pub(crate) wants: Option<&'static str>,
    /// Answers with status 503 to events that have this text.
    pub(crate) refuses: Option<&'static str>,
}

/// The endpoint. Its threads end with the test's process.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    taken: Arc<Mutex<Vec<Value>>>,
    stalls: Arc<AtomicBool>,
}

impl Receiver {
    pub(crate) fn start(faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = Self { address, taken: Arc::default(), stalls: Arc::default() };
        let ours = receiver.clone();
        std::thread::spawn(move || {
            for (number, socket) in listener.incoming().enumerate() {
                let (socket, receiver) = (socket.unwrap(), ours.clone());
                let random = fastrand::Rng::with_seed(number as u64);
                std::thread::spawn(move || serve(socket, &receiver, faults, random));
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// All events so far, in the order in which they came.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.taken.lock().unwrap().clone()
    }

    /// Answers nothing from now on, or goes on.
    pub(crate) fn stall(&self, stalls: bool) {
        self.stalls.store(stalls, Ordering::Relaxed);
    }

    /// Waits for an event.
    pub(crate) fn until(&self, is_it: impl Fn(&Value) -> bool) {
        let start = Instant::now();
        while !self.events().iter().any(&is_it) {
            assert!(start.elapsed() < PATIENCE, "an event does not come: {:?}", self.events());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The events as text, `c orders 7` each, once there are `number` of them.
    pub(crate) fn lines(&self, number: usize) -> Vec<String> {
        let start = Instant::now();
        loop {
            let lines: Vec<_> = self.events().iter().map(line).collect();
            if lines.len() >= number {
                assert_eq!(lines.len(), number, "{lines:?}");
                return lines;
            }
            assert!(start.elapsed() < PATIENCE, "{number} events do not come: {lines:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Operation, subject and the first value of the row.
fn line(event: &Value) -> String {
    let data = &event["data"];
    let row = ["after", "before"].iter().find_map(|name| data[name].as_object());
    let key = row.and_then(|row| row.get("id")).map(ToString::to_string).unwrap_or_default();
    let subject = event["subject"].as_str().unwrap().trim_start_matches("public.");
    format!("{} {subject} {key}", data["op"].as_str().unwrap()).trim_end().to_owned()
}

fn serve(socket: TcpStream, receiver: &Receiver, faults: Faults, mut random: fastrand::Rng) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut socket = socket;
    // One that was killed leaves half a request.
    while let Some((authorization, body)) = request(&mut reader) {
        while receiver.stalls.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let fate = random.u32(..1000);
        let mut status = "204 No Content";
        if faults.wants.is_some_and(|wanted| wanted != authorization) {
            status = "401 Unauthorized";
        } else if fate < faults.unavailable
            || faults.refuses.is_some_and(|text| has(&body, text.as_bytes()))
        {
            status = "503 Service Unavailable";
        } else {
            let mut taken = receiver.taken.lock().unwrap();
            match serde_json::from_slice(&body).unwrap() {
                Value::Array(events) => taken.extend(events),
                event => taken.push(event),
            }
            if fate < faults.unavailable + faults.reset {
                return;
            }
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        if socket.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn has(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len()).any(|window| window == text)
}

/// The value of `Authorization` and the body of the next request.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("authorization: ") {
            authorization = value.to_owned();
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((authorization, body))
}
