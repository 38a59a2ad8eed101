//! The endpoint: posts requests until they are delivered.
//!
//! In: a request of one or more events. Out: its delivery, or the reason why there will be none. Never follows a redirect, never uses
//! a proxy, and reads no more of an answer than a little.

mod credentials;
mod failure;
mod request;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use stream_core::postgres::SslMode;
use stream_core::postgres::options::RootCert;
use stream_core::postgres::tls::{TlsError, client_config};
use stream_core::retry::Backoff;
use stream_core::stats::Stats;
use tokio::time::{sleep, timeout};

use self::credentials::{Credentials, Current};
use self::failure::Failure;
use super::answer::{Pace, SHOWN_BYTES, Verdict, judge, retry_after, shown};
use super::error::{DeliveryError, EndpointError, EventName};
use super::event::{Mode, Order};
use super::guard::Guard;
use super::options::EndpointOptions;
use super::queue::Outgoing;
use super::trouble::Trouble;

/// Most bytes of an answer that are read, so that its connection can be used again.
const READ_BYTES: usize = 64 << 10;
/// How long an answer's text may take. Its status has come before.
const READ_TIME: Duration = Duration::from_secs(1);
/// The slowest upload that is waited for: a large event may take longer than the answer to it.
const UPLOAD_BYTES_PER_SECOND: usize = 256 << 10;
/// After how long a silence a connection of HTTP/2 is asked for a sign of life, and how long that may take. All requests share such a
/// connection, also those that are tried again: one that stays open and says nothing would keep them for ever. The server answers
/// beside its requests, however slow these are; the time is long, because the answer stands behind large bodies on a slow line.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Shorter delays would be a flood.
const SHORTEST_DELAY: Duration = Duration::from_millis(10);

/// An HTTP endpoint for CloudEvents.
#[derive(Debug)]
pub(super) struct Endpoint {
    client: Client,
    url: Url,
    /// The URL without what may be secret in it.
    name: String,
    mode: Mode,
    read_timeout: Option<Duration>,
    retry_limit: Option<u32>,
    retry_delay: Duration,
    max_in_flight: NonZeroUsize,
    batch_size: NonZeroUsize,
    credentials: Credentials,
    trouble: Trouble,
}

/// What came of an attempt.
enum Ended {
    Delivered,
    TooLarge { answer: String },
    Again { pace: Pace, after: Option<Duration>, reason: String },
}

impl Endpoint {
    pub(super) fn new(
        options: EndpointOptions,
        mode: Mode,
        stats: Stats,
    ) -> Result<Self, EndpointError> {
        let EndpointOptions {
            url,
            headers,
            reread,
            connect_timeout,
            read_timeout,
            retry_limit,
            retry_backoff_delay,
            verify_hostname,
            ca,
            addresses,
            max_in_flight,
            batch_size,
        } = options;
        let url = parse_url(&url)?;
        addresses.check(&url).map_err(EndpointError::Forbidden)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut client = Client::builder()
            .tls_backend_preconfigured(tls(&url, verify_hostname, ca)?)
            .dns_resolver(Guard(Arc::new(addresses)))
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("stream-worker/", env!("CARGO_PKG_VERSION")))
            .pool_max_idle_per_host(max_in_flight.get())
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            // Between two attempts, too.
            .http2_keep_alive_while_idle(true);
        if let Some(limit) = connect_timeout {
            client = client.connect_timeout(limit);
        }
        let client = client
            .build()
            .map_err(|error| EndpointError::Client { host, reason: error.to_string() })?;
        Ok(Self {
            client,
            name: name_of(&url),
            url,
            mode,
            read_timeout,
            retry_limit,
            retry_delay: retry_backoff_delay.max(SHORTEST_DELAY),
            max_in_flight,
            batch_size,
            credentials: Credentials::new(headers, reread),
            trouble: Trouble::new(stats),
        })
    }

    pub(super) const fn max_in_flight(&self) -> usize {
        self.max_in_flight.get()
    }

    /// Most events of a request.
    pub(super) const fn request_events(&self) -> usize {
        match self.mode {
            Mode::Structured | Mode::Binary => 1,
            Mode::Batched => self.batch_size.get(),
        }
    }

    /// Posts `events` until they are delivered; returns what they held back.
    ///
    /// # Errors
    /// [`DeliveryError`]: at least the first of them was not delivered.
    pub(super) async fn deliver(&self, events: Vec<Outgoing>) -> Result<Vec<Order>, DeliveryError> {
        let orders = events.iter().map(|outgoing| outgoing.event.order).collect();
        let mut parts = vec![events];
        while let Some(mut part) = parts.pop() {
            if let Some(answer) = self.persist(&part).await? {
                if part.len() < 2 {
                    let event = name(&part);
                    let remedy = "the endpoint does not take events so large: raise its limit, or leave the table or column \
                                  out (`excludes`)";
                    return Err(self.refused(event, answer, remedy));
                }
                // The request is too large, but perhaps none of its events is.
                let rest = part.split_off(part.len() / 2);
                parts.extend([rest, part]);
            }
        }
        Ok(orders)
    }

    /// Posts one request until it is delivered; `Some` is the answer to one that is too large.
    async fn persist(&self, events: &[Outgoing]) -> Result<Option<String>, DeliveryError> {
        let (headers, body) = request::build(self.mode, events)
            .map_err(|reason| DeliveryError::Request { event: Box::new(name(events)), reason })?;
        let mut backoff =
            Backoff::new((self.retry_delay / 10).max(SHORTEST_DELAY), self.retry_delay);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (pace, after, reason) =
                match self.attempt(events, headers.clone(), body.clone()).await? {
                    Ended::Delivered => {
                        self.trouble.passed(&self.name);
                        return Ok(None);
                    }
                    Ended::TooLarge { answer } => return Ok(Some(answer)),
                    Ended::Again { pace, after, reason } => (pace, after, reason),
                };
            if let Some(limit) = self.retry_limit.filter(|limit| attempts > u64::from(*limit)) {
                let (event, endpoint) = (Box::new(name(events)), self.name.clone());
                return Err(DeliveryError::GaveUp { event, endpoint, attempts, limit, reason });
            }
            let delay = pace.delay(backoff.next_delay(), self.retry_delay, after);
            self.trouble.failed(&self.name, &reason, attempts, delay);
            sleep(delay).await;
        }
    }

    async fn attempt(
        &self,
        events: &[Outgoing],
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Ended, DeliveryError> {
        let size = body.len();
        let used = self.credentials.current();
        let request = self.client.post(self.url.clone()).headers(used.headers.clone());
        let request = request.headers(headers).body(body.clone());
        let sent = match self.read_timeout {
            None => request.send().await.map_err(Failure::of),
            Some(limit) => {
                let upload = u64::try_from(size / UPLOAD_BYTES_PER_SECOND).unwrap_or(u64::MAX);
                let limit = limit.saturating_add(Duration::from_secs(upload));
                match timeout(limit, request.send()).await {
                    Ok(sent) => sent.map_err(Failure::of),
                    Err(_) => Err(Failure::NoAnswer(limit)),
                }
            }
        };
        let response = match sent {
            Ok(response) => response,
            Err(Failure::Forbidden(forbidden)) => {
                return Err(DeliveryError::Forbidden { event: Box::new(name(events)), forbidden });
            }
            Err(failure) => {
                let pace = failure.pace();
                return Ok(Ended::Again { pace, after: None, reason: failure.to_string() });
            }
        };
        self.read(events, response, &body, &used).await
    }

    async fn read(
        &self,
        events: &[Outgoing],
        response: Response,
        body: &[u8],
        used: &Arc<Current>,
    ) -> Result<Ended, DeliveryError> {
        let status = response.status();
        let verdict = judge(status);
        if verdict == Verdict::Delivered {
            text_of(response).await;
            return Ok(Ended::Delivered);
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let after =
            header(RETRY_AFTER).and_then(|value| retry_after(value, stream_core::clock::now()));
        // Only the host: what follows it may be secret.
        let location =
            header(LOCATION).and_then(|to| self.url.join(to).ok()).map(|to| name_of(&to));
        let text = shown(&text_of(response).await, body, &names(events), &used.secrets);
        let answer = match location {
            Some(location) => format!("status {status} to {location}: {text}"),
            None => format!("status {status}: {text}"),
        };
        match verdict {
            Verdict::Delivered => Ok(Ended::Delivered),
            Verdict::TooLarge => Ok(Ended::TooLarge { answer }),
            Verdict::Again(pace) => {
                let (pace, hint) = match pace {
                    Pace::Growing => (pace, ""),
                    Pace::Slow => self.credentials.refused(used).await,
                };
                Ok(Ended::Again { pace, after, reason: format!("{answer}{hint}") })
            }
            Verdict::Stop(remedy) => Err(self.refused(name(events), answer, remedy)),
        }
    }

    fn refused(&self, event: EventName, answer: String, remedy: &'static str) -> DeliveryError {
        let endpoint = self.name.clone();
        DeliveryError::Refused { event: Box::new(event), endpoint, answer, remedy }
    }
}

/// The name of a request that has events: all have.
fn name(events: &[Outgoing]) -> EventName {
    EventName::of(events).unwrap_or_else(|| EventName {
        id: String::new(),
        table: None,
        key: String::new(),
        lsn: stream_core::lsn::Lsn::default(),
        size_bytes: 0,
        others: 0,
    })
}

/// The names of the events' tables and columns.
fn names(events: &[Outgoing]) -> Vec<&str> {
    let relations = events.iter().filter_map(|outgoing| outgoing.event.relation.as_deref());
    relations
        .flat_map(|relation| {
            let columns = relation.columns.iter().map(|column| &column.name);
            columns.chain([&relation.name.schema, &relation.name.name])
        })
        .map(String::as_str)
        .collect()
}

/// The beginning of an answer's text. Reads on a little, so that the connection can be used again, and not for long.
async fn text_of(mut response: Response) -> Vec<u8> {
    let mut text = Vec::new();
    let mut read = 0;
    let reading = async {
        while let Ok(Some(piece)) = response.chunk().await {
            read += piece.len();
            let room = SHOWN_BYTES.saturating_sub(text.len()).min(piece.len());
            text.extend_from_slice(piece.get(..room).unwrap_or_default());
            if read > READ_BYTES {
                break;
            }
        }
    };
    // One that never ends tells nothing more.
    let _ = timeout(READ_TIME, reading).await;
    text
}

/// Reads a URL that can be called.
pub(super) fn parse_url(text: &str) -> Result<Url, EndpointError> {
    let owned = || text.to_owned();
    let url = Url::parse(text)
        .map_err(|error| EndpointError::Url { url: owned(), reason: error.to_string() })?;
    let host = url.host_str().unwrap_or_default();
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EndpointError::Credentials { host: host.to_owned() });
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(EndpointError::Scheme { url: owned(), scheme: url.scheme().to_owned() });
    }
    if host.is_empty() {
        return Err(EndpointError::Url { url: owned(), reason: "it has no host".to_owned() });
    }
    Ok(url)
}

/// A URL without query and fragment, which may hold secrets.
fn name_of(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // Refused where it is ours, but it may be somewhere else's.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.to_string()
}

/// How TLS is done, for a URL that needs it.
fn tls(
    url: &Url,
    verify_hostname: bool,
    ca: Option<Vec<u8>>,
) -> Result<rustls::ClientConfig, EndpointError> {
    let mode = match (url.scheme(), verify_hostname) {
        ("https", true) => SslMode::VerifyFull,
        ("https", false) => SslMode::VerifyCa,
        _ => SslMode::Disable,
    };
    let root = ca.map(|pem| RootCert { path: "caSecret".into(), pem });
    let certificates = |error| {
        let host = url.host_str().unwrap_or_default().to_owned();
        let reason = match error {
            TlsError::RootCert(_) => {
                "`caSecret` holds no usable PEM certificate: put the authority's certificate there"
            }
            TlsError::NoSystemCerts => {
                "this machine has no root certificates: install them, or name some with `caSecret`"
            }
            TlsError::Setup(_) => "TLS cannot be set up: report it",
        };
        EndpointError::Certificates { host, reason: reason.to_owned() }
    };
    let config = client_config(mode, root.as_ref()).map_err(certificates)?;
    let mut config = Arc::unwrap_or_clone(config);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(url: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::new(EndpointOptions::new(url), Mode::Structured, Stats::default())
    }

    #[test]
    fn urls_that_cannot_be_called_are_refused_with_the_remedy() {
        for (url, expected) in [
            ("", "is no URL"),
            ("events.example.com/hook", "is no URL"),
            ("/hook", "is no URL"),
            ("http://", "is no URL"),
            ("https://exa mple.com/", "is no URL"),
            ("http://host:99999/", "is no URL"),
            ("ftp://host/", "has scheme `ftp`: write `https://`"),
            ("file:///etc/passwd", "has scheme `file`"),
            ("localhost:8080", "has scheme `localhost`"),
            ("https://user:s3cret@host/", "set header `Authorization`"),
        ] {
            let error = made(url).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("s3cret"), "{url}: {error}");
        }
        let endpoint = made("http://host:8080/a?key=s3cret#f").unwrap();
        assert_eq!(endpoint.name, "http://host:8080/a");
        let mut options = EndpointOptions::new("https://host/");
        options.ca = Some(b"nothing".to_vec());
        let error = Endpoint::new(options, Mode::Structured, Stats::default()).unwrap_err();
        assert!(error.to_string().contains("`caSecret` holds no usable PEM"), "{error}");
    }
}
