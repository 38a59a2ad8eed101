//! Events as a request: headers and a body.

use bytes::{BufMut, Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::cloudevent::event::Mode;
use crate::cloudevent::queue::Outgoing;

/// The request of `events`. Fails when a value makes no header.
pub(super) fn build(mode: Mode, events: &[Outgoing]) -> Result<(HeaderMap, Bytes), String> {
    let mut headers = HeaderMap::new();
    let content_type = match (mode, events) {
        (Mode::Structured | Mode::Binary, [only]) => only.event.content_type,
        _ => mode.content_type(),
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    for outgoing in events {
        // Only in binary mode, whose requests have one event.
        for (name, range) in &outgoing.event.headers {
            let value = HeaderValue::from_maybe_shared(outgoing.bytes.slice(range.clone()))
                .map_err(|error| format!("header `{name}`: {error}"))?;
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|error| format!("header `{name}`: {error}"))?;
            headers.insert(name, value);
        }
    }
    let body = match (mode, events) {
        (Mode::Structured | Mode::Binary, [only]) => only.body(),
        _ => array(events),
    };
    Ok((headers, body))
}

/// A JSON array of events.
fn array(events: &[Outgoing]) -> Bytes {
    let bytes = events.iter().map(|outgoing| outgoing.size_bytes() + 1).sum::<usize>();
    let mut array = BytesMut::with_capacity(bytes + 1);
    for (number, outgoing) in events.iter().enumerate() {
        array.put_u8(if number == 0 { b'[' } else { b',' });
        array
            .extend_from_slice(outgoing.bytes.get(outgoing.event.body.clone()).unwrap_or_default());
    }
    array.put_u8(b']');
    array.freeze()
}
