//! How an endpoint is called.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::endpoint::parse_url;
use super::error::EndpointError;
use super::guard::Addresses;
use super::headers::{Headers, Reread};

/// How an endpoint is called.
#[derive(Clone, Debug)]
pub struct EndpointOptions {
    /// Where events are posted: an absolute `http://` or `https://` URL without credentials.
    pub url: String,
    /// Further headers of every request.
    pub headers: Headers,
    /// Where they are read again when the endpoint does not accept them (401, 403); `None`: nowhere.
    pub reread: Option<Reread>,
    /// Longest wait for a connection; `None`: no limit.
    pub connect_timeout: Option<Duration>,
    /// Longest wait for an answer, beside the time that a large event takes on its way; `None`: no limit.
    pub read_timeout: Option<Duration>,
    /// Retries after the first attempt; `None`: without end.
    pub retry_limit: Option<u32>,
    /// Longest delay between two attempts. The first is a tenth of it.
    pub retry_backoff_delay: Duration,
    /// Whether the endpoint's certificate must be for its name.
    pub verify_hostname: bool,
    /// The certificates, in PEM, that may sign the endpoint's; `None`: those of the system.
    pub ca: Option<Vec<u8>>,
    /// Which addresses may be connected to.
    pub addresses: Addresses,
    /// Most requests that are under way at once. With 1 all events keep their order.
    pub max_in_flight: NonZeroUsize,
    /// Most events of a request in batched mode.
    pub batch_size: NonZeroUsize,
}

impl EndpointOptions {
    /// Retries without end, one request at a time: the defaults for a URL.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            headers: Headers::default(),
            reread: None,
            connect_timeout: Some(Duration::from_secs(10)),
            read_timeout: Some(Duration::from_secs(60)),
            retry_limit: None,
            retry_backoff_delay: Duration::from_secs(60),
            verify_hostname: true,
            ca: None,
            addresses: Addresses::Any,
            max_in_flight: NonZeroUsize::MIN,
            batch_size: Self::BATCH_SIZE,
        }
    }

    /// Checks the URL, without calling it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), EndpointError> {
        let url = parse_url(&self.url)?;
        self.addresses.check(&url).map_err(EndpointError::Forbidden)
    }

    /// Most events of a request where nobody says.
    pub const BATCH_SIZE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(499);
}
