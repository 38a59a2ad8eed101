//! How an HTTP endpoint is called: `spec.target.cloudEvent.http` and `spec.target.pgLambda.knative.http`.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::connection::SecretKeyRef;
use crate::secret_string::SecretString;

/// How an HTTP endpoint is called. `U` is the type of `url`: a `String`, or an `Option` of it where it may be left out.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http<U = String> {
    /// Where events are posted: an absolute `http://` or `https://` URL.
    pub url: U,
    /// Further request headers; `${NAME}` in a value stands for a key of `headersSecret`.
    #[serde(default)]
    pub headers: BTreeMap<String, SecretString>,
    /// Longest wait for a connection; default 10 s.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Timeout,
    /// Longest wait for an answer; default 60 s.
    #[serde(default = "default_read_timeout")]
    pub read_timeout: Timeout,
    /// Retries after the first attempt; unset: without end.
    pub retry_limit: Option<u32>,
    /// Longest delay between two attempts, in seconds; default 60. The first is a tenth of it.
    #[serde(default = "default_retry_backoff_delay")]
    pub retry_backoff_delay: u32,
    /// Accept a certificate for any host name; default false.
    #[serde(default)]
    pub skip_hostname_verification: bool,
    /// How events become requests. An addition to the resource.
    #[serde(default)]
    pub mode: HttpMode,
    /// Most requests under way at once; default 1, which keeps the order of all events. An addition to the resource.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight: NonZeroU32,
    /// Most events in a request of mode `batched`; unset: the sink's own limit. An addition to the resource.
    pub batch_size: Option<NonZeroU32>,
    /// Certificates that may sign the endpoint's; unset: those of the system. An addition to the resource.
    pub ca_secret: Option<SecretKeyRef>,
    /// Name of the Secret with the values of `${NAME}`; unset: `<stream>-headers`. An addition to the resource.
    pub headers_secret: Option<String>,
}

/// How events become requests: the
/// [content modes](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md) of CloudEvents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpMode {
    /// One event a request, attributes in the body.
    #[default]
    Structured,
    /// One event a request, attributes in headers.
    Binary,
    /// Several events a request.
    Batched,
}

/// How long to wait. Written `5s`, `500ms`, `1m30s`, `PT5S`, or `0` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// For ever.
    Unlimited,
    /// This long.
    After(Duration),
}

impl Timeout {
    fn parse(text: &str) -> Option<Self> {
        let seconds = match text.strip_prefix('P') {
            _ if text == "0" => 0.0,
            Some(iso) => {
                let days = |text| seconds(text, &[("D", 86_400.0)]);
                let time = |text| seconds(text, &[("H", 3_600.0), ("M", 60.0), ("S", 1.0)]);
                match iso.split_once('T') {
                    Some(("", of_day)) => time(of_day)?,
                    Some((date, of_day)) => days(date)? + time(of_day)?,
                    None => days(iso)?,
                }
            }
            None => seconds(text, &[("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)])?,
        };
        let duration = Duration::try_from_secs_f64(seconds).ok()?;
        Some(if duration.is_zero() { Self::Unlimited } else { Self::After(duration) })
    }
}

/// The sum of numbers with units, such as `1m30s`.
fn seconds(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let is_number = |letter: char| letter.is_ascii_digit() || letter == '.';
    let mut total = 0.0;
    let mut rest = text;
    loop {
        let (number, after) = rest.split_at(rest.find(|letter| !is_number(letter))?);
        let (unit, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
        total += number.parse::<f64>().ok()? * scale;
        if after.is_empty() {
            return Some(total);
        }
        rest = after;
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Timeout;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a duration such as `5s`, `500ms`, `1m30s` or `PT5S`, or `0` for no limit",
                )
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Timeout, E> {
                Timeout::parse(text)
                    .ok_or_else(|| E::custom(format_args!("expected {}", Shown(&self))))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Timeout, E> {
                match number {
                    0 => Ok(Timeout::Unlimited),
                    _ => Err(E::custom(format_args!("add a unit, as `{number}s` or `{number}ms`"))),
                }
            }
        }
        struct Shown<'a>(&'a Written);
        impl fmt::Display for Shown<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.expecting(f)
            }
        }
        deserializer.deserialize_any(Written)
    }
}

fn default_connect_timeout() -> Timeout {
    Timeout::After(Duration::from_secs(10))
}

fn default_read_timeout() -> Timeout {
    Timeout::After(Duration::from_secs(60))
}

fn default_retry_backoff_delay() -> u32 {
    60
}

fn default_max_in_flight() -> NonZeroU32 {
    NonZeroU32::MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_form() {
        let millis = |n| Some(Timeout::After(Duration::from_millis(n)));
        for (text, expected) in [
            ("5s", millis(5_000)),
            ("500ms", millis(500)),
            ("1m30s", millis(90_000)),
            ("1.5s", millis(1_500)),
            ("2h", millis(7_200_000)),
            ("PT5S", millis(5_000)),
            ("PT1M30S", millis(90_000)),
            ("PT0.5S", millis(500)),
            ("P1DT1H", millis(90_000_000)),
            ("P1D", millis(86_400_000)),
            ("0", Some(Timeout::Unlimited)),
            ("0s", Some(Timeout::Unlimited)),
            ("PT0S", Some(Timeout::Unlimited)),
            ("", None),
            ("5", None),
            ("s", None),
            ("5 s", None),
            ("-5s", None),
            ("5x", None),
            ("1s5", None),
            ("P", None),
            ("PT", None),
            ("P1M", None),
            ("1.2.3s", None),
            ("999999999999999999999h", None),
        ] {
            assert_eq!(Timeout::parse(text), expected, "{text}");
        }
    }
}
