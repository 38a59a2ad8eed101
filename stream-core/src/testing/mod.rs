//! What it takes to test a stream: an oracle, and a source, a sink and a store that do as they are told.
//!
//! ```text
//! Observed<ScriptedSource> ==> Pipeline ==> Observed<RecordingSink>
//!            |                    |                  |
//!            |           Observed<SharedStore>       |
//!            '------------------> Ledger <-----------'
//! ```
//!
//! Every part can be replaced by a real one: [`observed::Observed`] watches any source, sink or store.
//! A broken promise is kept in the [`ledger::Ledger`] and ends the run with an error that names it, so that
//! a failure inside of a task is not lost.

mod book;
pub mod faults;
pub mod ledger;
pub mod observed;
pub mod reader;
pub mod script;
pub mod sink;
pub mod source;
pub mod store;
