//! Changes as CloudEvents, and their delivery to an HTTP endpoint.
//!
//! [`encoder::EventEncoder`] turns changes into events: bytes in a buffer, and for each event where it lies and what it is about.
//! [`sink::CloudEventSink`] delivers them.
//!
//! ```text
//!  entries ─► encoder ─► queue ─► delivery ─► endpoint ─► POST        many at once, never two of one row
//!             bytes      order    bounds      retries ◄── answer
//! ```
//!
//! Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>

pub mod attributes;
pub mod encoder;
pub mod event;
mod identity;

mod answer;
mod delivery;
mod echo;
mod endpoint;
pub mod error;
pub mod guard;
pub mod headers;
pub mod markers;
pub mod options;
mod queue;
pub mod sink;
mod trouble;
