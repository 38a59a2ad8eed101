//! Sessions with a PostgreSQL server.

pub mod child;
pub mod connect;
pub mod copy;
pub mod error;
mod login;
pub mod options;
pub mod passfile;
pub mod pins;
pub mod simple_query;
pub mod sql_client;
pub mod tls;
pub mod wire;
