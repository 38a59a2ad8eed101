//! Changes as CloudEvents.
//!
//! [`encoder::EventEncoder`] turns changes into events: bytes in a buffer, and for each event where it lies and what it is about.
//!
//! Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>

pub mod attributes;
pub mod encoder;
pub mod event;
mod identity;
pub mod markers;
