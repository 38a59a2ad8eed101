//! PostgreSQL: sessions with a server, its catalogue, and the server as a source of changes.

pub mod blocker;
pub mod capture;
pub mod catalog;
pub mod child;
pub mod connect;
pub mod copy;
pub mod error;
mod gate;
mod login;
mod lookout;
pub mod options;
pub mod passfile;
pub mod pins;
pub mod preflight;
pub mod problem;
pub mod publication;
pub mod query;
mod read_ahead;
pub mod replication;
pub mod simple_query;
pub mod slot;
pub mod source;
pub mod sql_client;
mod tables;
pub mod tls;
pub mod wire;

pub use connect::{ConnectError, Session};
pub use error::{ServerError, WireError};
pub use options::{ConnectOptions, Password, SslMode};
pub use source::{PostgresSource, PostgresSourceOptions, SnapshotMode};
pub use sql_client::SqlClient;
pub use wire::Wire;
