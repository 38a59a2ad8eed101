//! How an HTTP endpoint is called: `spec.target.cloudEvent.http` and `spec.target.pgLambda.knative.http`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_with::skip_serializing_none;

use crate::connection::SecretKeyRef;
use crate::secret_string::SecretString;

/// How an HTTP endpoint is called. `U` is the type of `url`: a `String`, or an `Option` of it where it may be left out.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http<U = String> {
    /// Where events are posted: an absolute `http://` or `https://` URL with a host.
    ///
    /// Example: `https://events.example.com/webhook`.
    #[schemars(extend("maxLength" = 2048, "x-kubernetes-validations" = [{
        "rule": "isURL(self) && self.matches('^https?://[^/?#:]')",
        "message": "url must be an absolute http:// or https:// URL with a host",
    }]))]
    #[serde(skip_serializing_if = "is_unset")]
    pub url: U,
    /// Further headers of each request. Default: none.
    ///
    /// `${NAME}` in a value stands for key `NAME` of `headersSecret`, `$$` for a dollar sign. Example: `{Authorization: "Bearer ${TOKEN}"}`.
    #[serde(default)]
    pub headers: BTreeMap<String, SecretString>,
    /// Longest wait for a connection. Default: `10s`.
    ///
    /// Examples: `5s`, `500ms`, `1m30s`, `PT5S`; `0` is no limit.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Timeout,
    /// Longest wait for an answer. Default: `60s`.
    ///
    /// Examples: `5s`, `500ms`, `1m30s`, `PT5S`; `0` is no limit.
    #[serde(default = "default_read_timeout")]
    pub read_timeout: Timeout,
    /// Retries of a request after the first attempt. Default: without end.
    ///
    /// When they are used up, the stream stops and says at which event. Nothing is left out.
    pub retry_limit: Option<u32>,
    /// Longest delay between two attempts, in seconds. Default: 60. The first delay is a tenth of it.
    #[serde(default = "default_retry_backoff_delay")]
    pub retry_backoff_delay: u32,
    /// Accept a certificate that was made for another host. Default: false.
    #[serde(default)]
    pub skip_hostname_verification: bool,
    /// How events become requests. Default: `structured`. An addition to the resource.
    #[serde(default)]
    pub mode: HttpMode,
    /// Most requests that are under way at once. Default: 1. An addition to the resource.
    ///
    /// With 1 all events keep their order; with more, those of the same row.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight: NonZeroU32,
    /// Most events in a request of mode `batched`. An addition to the resource. Example: 500.
    pub batch_size: Option<NonZeroU32>,
    /// Certificate authorities that may have signed the endpoint's certificate, in PEM.
    ///
    /// Default: those that the worker's image trusts. An addition to the resource.
    pub ca_secret: Option<SecretKeyRef>,
    /// Name of the Secret with the values of `${NAME}`. Default: the stream's name and `-headers`.
    ///
    /// An addition to the resource.
    #[schemars(length(min = 1, max = 253))]
    pub headers_secret: Option<String>,
}

/// How events become requests: the
/// [content modes](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md) of CloudEvents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
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

/// What a text has to be.
const EXPECTED: &str = "a duration such as `5s`, `500ms`, `1m30s` or `PT5S`, or `0` for no limit";

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
                f.write_str(EXPECTED)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Timeout, E> {
                Timeout::parse(text).ok_or_else(|| E::custom(format_args!("expected {EXPECTED}")))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Timeout, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Timeout, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl Serialize for Timeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unlimited => serializer.serialize_str("0"),
            Self::After(time) if time.subsec_nanos() == 0 => {
                serializer.collect_str(&format_args!("{}s", time.as_secs()))
            }
            Self::After(time) => serializer.collect_str(&format_args!("{}ms", time.as_millis())),
        }
    }
}

impl JsonSchema for Timeout {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timeout".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // `0` without quotes is a number. `null` is as if nothing was given.
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "nullable": false,
            "x-kubernetes-validations": [{
                "rule": "string(self).matches('^(0|([0-9]{1,9}([.][0-9]{1,9})?(ms|s|m|h))+\
                    |P([0-9]{1,9}D)?(T([0-9]{1,9}([.][0-9]{1,9})?[HMS])+)?)$') && string(self) != 'P'",
                "message": format!("expected {EXPECTED}"),
            }],
        })
    }
}

/// Whether a `U` is the `None` of an `Option`.
fn is_unset<U: Serialize>(url: &U) -> bool {
    serde_json::to_value(url).is_ok_and(|url| url.is_null())
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
