//! Targets that the engine delivers to.

pub mod postgres;
