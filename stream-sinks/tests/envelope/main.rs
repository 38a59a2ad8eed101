//! Events: values of every type, and what changes become.

mod cases;
mod changes;
mod rules;
mod server;
mod tables;
mod transforms;
mod values;
