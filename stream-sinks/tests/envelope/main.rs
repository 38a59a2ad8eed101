//! Events: values of every type, and what changes become.

mod cases;
mod changes;
mod server;
mod transforms;
mod values;
