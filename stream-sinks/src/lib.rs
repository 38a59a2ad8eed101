//! Targets that the engine delivers to.

pub mod cloudevent;
pub mod envelope;
pub mod postgres;
