//! Why no answer came.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::cloudevent::answer::Pace;
use crate::cloudevent::guard::Forbidden;

/// Why no answer came. All but the first may pass.
#[derive(Debug)]
pub(super) enum Failure {
    /// The address is not allowed.
    Forbidden(Forbidden),
    /// The endpoint's certificate does not hold.
    Certificate(String),
    /// There is no connection.
    Connect(String),
    /// The connection broke.
    Broken(String),
    /// Nothing came in time.
    NoAnswer(Duration),
}

impl Failure {
    pub(super) fn of(error: reqwest::Error) -> Self {
        if let Some(forbidden) = find::<Forbidden>(&error) {
            return Self::Forbidden(forbidden.clone());
        }
        let is_certificate = |error: &rustls::Error| {
            matches!(
                error,
                rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented
            )
        };
        if let Some(error) = find::<rustls::Error>(&error).filter(|error| is_certificate(error)) {
            return Self::Certificate(error.to_string());
        }
        let reason = innermost(&error);
        if error.is_connect() && error.is_timeout() {
            Self::Connect("it did not answer in time (`connectTimeout`)".to_owned())
        } else if error.is_connect() {
            Self::Connect(reason)
        } else {
            Self::Broken(reason)
        }
    }

    /// How soon to try again.
    pub(super) const fn pace(&self) -> Pace {
        match self {
            Self::Forbidden(_) | Self::Certificate(_) => Pace::Slow,
            Self::Connect(_) | Self::Broken(_) | Self::NoAnswer(_) => Pace::Growing,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(forbidden) => forbidden.fmt(f),
            Self::Certificate(reason) => write!(
                f,
                "its certificate cannot be trusted ({reason}): renew it, name the authority that signed it (`caSecret`), \
                 or, for a wrong name, correct the URL"
            ),
            Self::Connect(reason) => write!(f, "cannot connect: {reason}"),
            Self::Broken(reason) => write!(f, "the connection broke before an answer: {reason}"),
            Self::NoAnswer(limit) => {
                write!(f, "no answer within {} s (`readTimeout`)", limit.as_secs_f64())
            }
        }
    }
}

/// The errors below `error`, from the outside in. Those inside of I/O errors are no sources of theirs.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error: &&'a (dyn StdError + 'static)| {
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inside.map(|inside| inside as &(dyn StdError + 'static)).or_else(|| error.source())
    })
}

fn find<E: StdError + 'static>(error: &reqwest::Error) -> Option<&E> {
    causes(error).find_map(|error| error.downcast_ref())
}

fn innermost(error: &reqwest::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
