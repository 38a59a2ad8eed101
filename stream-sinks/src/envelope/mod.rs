//! Changes as JSON in the shape of Debezium's envelope: `before`, `after`, `source`, `transaction`, `op`, `ts_ms`, `ts_us`, `ts_ns`.
//!
//! Written straight into a buffer. Decoding by type happens here and nowhere else.

mod array;
mod calendar;
pub mod codec;
mod decimal;
mod equality;
pub(crate) mod facts;
pub mod hash;
mod interval;
pub(crate) mod json;
mod number;
pub mod options;
pub mod rules;
mod shape;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod unavailable;
