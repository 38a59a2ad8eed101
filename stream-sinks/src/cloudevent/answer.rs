//! What an answer means. Pure.
//!
//! Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md> (2.2) and the contract of Knative's data
//! plane, where the first leaves a choice.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;

use super::echo::without_rows;

/// The longest that an endpoint may ask to wait.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on.
    Delivered,
    /// Try again.
    Again(Pace),
    /// The request is too large.
    TooLarge,
    /// Stop, with what to do.
    Stop(&'static str),
}

/// How soon to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// With growing delays.
    Growing,
    /// With the longest delay at once: a person has to act.
    Slow,
}

impl Pace {
    /// How long to wait: at least as long as the endpoint has `asked` for.
    pub(super) fn delay(
        self,
        growing: Duration,
        longest: Duration,
        asked: Option<Duration>,
    ) -> Duration {
        let delay = match self {
            Self::Growing => growing,
            Self::Slow => longest,
        };
        delay.max(asked.unwrap_or_default())
    }
}

/// What an answer's status means.
pub(super) fn judge(status: StatusCode) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Delivered,
        300..=399 => Verdict::Stop("redirects are not followed: set `url` to the final address"),
        401 | 403 => Verdict::Again(Pace::Slow),
        // The route may not be there yet; the others say themselves that they pass.
        404 | 408 | 409 | 425 | 429 => Verdict::Again(Pace::Growing),
        410 => Verdict::Stop("the endpoint is gone for good: set `url` to its successor"),
        413 => Verdict::TooLarge,
        415 => Verdict::Stop(
            "the endpoint does not take this form of events: set `mode` to `structured`, `binary` or `batched`, as it \
             expects them",
        ),
        400..=499 => Verdict::Stop(
            "the endpoint refuses the event: mend the endpoint, or leave the table out (`excludes`)",
        ),
        _ => Verdict::Again(Pace::Growing),
    }
}

/// How long a `Retry-After` asks to wait from `now` on.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let asked = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit is long enough.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(asked.min(LONGEST_RETRY_AFTER))
}

/// Most bytes of an answer that are shown.
pub(super) const SHOWN_BYTES: usize = 512;

/// The beginning of an answer to `event` in a form that may be shown: one line, without words of the row or anything of `secrets`. `names` are
/// those of the event's table and columns.
pub(super) fn shown(answer: &[u8], event: &[u8], names: &[&str], secrets: &[String]) -> String {
    let answer = answer.get(..SHOWN_BYTES).unwrap_or(answer);
    if answer.trim_ascii().is_empty() {
        return "(no text)".to_owned();
    }
    let mut text = String::from_utf8_lossy(answer).into_owned();
    for secret in secrets {
        text = text.replace(secret, "…");
    }
    if answer.len() == SHOWN_BYTES {
        // Its end may be the beginning of one.
        let cut = secrets.iter().filter_map(|secret| begun(&text, secret)).min();
        if let Some(at) = cut {
            text.truncate(at);
            text.push('…');
        }
    }
    let text = without_rows(&text, event, names);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// Where the longest beginning of `secret` starts that `text` ends in.
fn begun(text: &str, secret: &str) -> Option<usize> {
    let begins = |length: &usize| secret.get(..*length).is_some_and(|part| text.ends_with(part));
    let length = (1..secret.len()).rev().find(begins)?;
    Some(text.len() - length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_person_has_to_act_the_longest_delay_is_waited_at_once() {
        let [short, long, asked] = [1, 10, 20].map(Duration::from_secs);
        assert_eq!(Pace::Growing.delay(short, long, None), short);
        assert_eq!(Pace::Slow.delay(short, long, None), long);
        assert_eq!(Pace::Growing.delay(short, long, Some(asked)), asked);
        assert_eq!(Pace::Slow.delay(short, long, Some(short)), long);
    }

    #[test]
    fn every_status_has_its_meaning() {
        for (statuses, expected) in [
            (&[200, 201, 202, 204, 299][..], "delivered"),
            (&[100, 404, 408, 409, 425, 429, 500, 502, 503, 504, 599, 700], "again"),
            (&[401, 403], "slowly"),
            (&[413], "too large"),
            (&[300, 301, 302, 303, 304, 307, 308], "stop"),
            (&[400, 402, 405, 406, 407, 410, 411, 415, 421, 422, 431, 451], "stop"),
        ] {
            for status in statuses {
                let found = match judge(StatusCode::from_u16(*status).unwrap()) {
                    Verdict::Delivered => "delivered",
                    Verdict::Again(Pace::Growing) => "again",
                    Verdict::Again(Pace::Slow) => "slowly",
                    Verdict::TooLarge => "too large",
                    Verdict::Stop(_) => "stop",
                };
                assert_eq!(found, expected, "{status}");
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_has_an_end() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let seconds = |n| Some(Duration::from_secs(n));
        for (value, expected) in [
            ("0", seconds(0)),
            (" 7 ", seconds(7)),
            ("86400", seconds(600)),
            ("99999999999999999999999", seconds(600)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", seconds(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", seconds(0)),
            ("Sat, 06 Nov 2094 08:00:00 GMT", seconds(600)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, now), expected, "{value}");
        }
    }

    #[test]
    fn an_answer_is_shown_without_data_and_secrets() {
        let event = br#"{"data":{"after":{"name":"Ada Lovelace, Countess"}}}"#;
        let shown =
            |answer: &str| shown(answer.as_bytes(), event, &["name"], &["s3cret".to_owned()]);
        assert_eq!(shown("no such\r\ntopic\x1b[31m"), "no such  topic [31m");
        assert_eq!(shown(" \n"), "(no text)");
        assert_eq!(shown("bad token s3cret"), "bad token …");
        assert_eq!(
            shown("cannot read {\"name\":\"Ada Lovelace, Countess\"}"),
            "cannot read {\"name\":\"…\"}"
        );
        assert!(shown(&"x".repeat(100_000)).len() <= SHOWN_BYTES);
    }

    #[test]
    fn a_secret_that_the_cut_divides_is_left_out_too() {
        for length in 1..=6 {
            let before = "-".repeat(SHOWN_BYTES - length);
            let answer = format!("{before}s3cret, and more");
            let shown = shown(answer.as_bytes(), b"", &[], &["s3cret".to_owned()]);
            assert!(!shown.contains('s'), "{length}: {shown}");
            assert!(shown.contains('…'), "{length}: {shown}");
        }
    }
}
