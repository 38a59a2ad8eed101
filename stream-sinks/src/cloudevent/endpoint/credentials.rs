//! The user's headers, which are read again when the endpoint does not accept them: credentials are renewed while a stream runs.

use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::HeaderMap;

use crate::cloudevent::answer::Pace;
use crate::cloudevent::headers::{Headers, Reread};

/// Headers of a request.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) headers: HeaderMap,
    /// Words of them that no message may have.
    pub(super) secrets: Vec<String>,
}

/// The headers of the next request, and where they come from.
#[derive(Debug)]
pub(super) struct Credentials {
    current: Mutex<Arc<Current>>,
    reread: Option<Reread>,
}

impl Credentials {
    pub(super) fn new(headers: Headers, reread: Option<Reread>) -> Self {
        Self { current: Mutex::new(Arc::new(Current::new(headers))), reread }
    }

    pub(super) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What to do when those that were `used` are not accepted: how soon to try again, and what to tell.
    pub(super) async fn refused(&self, used: &Arc<Current>) -> (Pace, &'static str) {
        let Some(reread) = self.reread.clone() else {
            let hint = "; check the credentials in `headers` and the rights that go with them; they were read when the stream \
                        started: start it again after a change";
            return (Pace::Slow, hint);
        };
        // Another request may have been faster.
        if self.current().headers == used.headers {
            // One that cannot be read leaves things as they are.
            let read = tokio::task::spawn_blocking(move || reread.headers()).await.ok().flatten();
            let read = read.filter(|read| *read.map() != used.headers);
            let Some(read) = read else {
                let hint = "; check the credentials in `headers` and the rights that go with them; they were read again, and are \
                            the same (those of the environment stay until the stream is started again)";
                return (Pace::Slow, hint);
            };
            *self.current.lock().unwrap_or_else(PoisonError::into_inner) =
                Arc::new(Current::new(read));
        }
        (Pace::Growing, "; the credentials were renewed since")
    }
}

impl Current {
    fn new(headers: Headers) -> Self {
        let values = headers.map().values().filter_map(|value| value.to_str().ok());
        // A word of the value alone can be the secret: `Bearer …`.
        let words = values.flat_map(str::split_whitespace).filter(|word| word.len() > 5);
        let secrets = words.map(str::to_owned).collect();
        Self { headers: headers.into_map(), secrets }
    }
}
