//! The settings that every session and every child process has, whatever the server, the database
//! or the role would set.
//!
//! They make text values mean the same on every server, and keep the server from ending a session
//! that holds a snapshot.

use crate::sql::{Ident, Literal};

/// Name and value of each pinned setting, sent when a session starts: what a session is started
/// with wins over `ALTER ROLE … SET`, `ALTER DATABASE … SET` and `postgresql.conf`.
pub const PINS: [(&str, &str); 20] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO,MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    // Floating point values as short as they can be and still exact.
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    // A value of type xml need not be a whole document.
    ("xmloption", "content"),
    ("standard_conforming_strings", "on"),
    ("array_nulls", "on"),
    // Only the built-in objects are found without a schema: a function or operator that somebody
    // made in `public` never runs with our rights, and `regclass` prints every name in full.
    ("search_path", "pg_catalog"),
    // A policy that hides rows is an error instead of an incomplete copy.
    ("row_security", "off"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    // The session of a client whose machine is gone, and its locks, are gone a minute later, not two hours.
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// What only servers of a version know, and later ones: number of the version, name and value. An older server would refuse
/// the session, so that they are set as soon as it has told its version. `pg_dump`, whose version is never below the server's,
/// does so by itself.
pub const PINS_SINCE: [(u32, &str, &str); 1] = [(170_000, "transaction_timeout", "0")];

/// The statements that set those of [`PINS_SINCE`] which a server of this version knows.
pub(super) fn later_sql(server_version_num: u32) -> Option<String> {
    let known = PINS_SINCE.iter().filter(|(since, ..)| server_version_num >= *since);
    let statements: Vec<_> =
        known.map(|(_, name, value)| format!("SET {} = {}", Ident(name), Literal(value))).collect();
    (!statements.is_empty()).then(|| statements.join("; "))
}

/// The pins as the value of `PGOPTIONS`, for programs that use libpq.
#[must_use]
pub fn command_line() -> String {
    let mut text = String::new();
    for (name, value) in PINS {
        // The server splits this value at spaces, save those after a backslash.
        let value = value.replace('\\', "\\\\").replace(' ', "\\ ");
        let space = if text.is_empty() { "" } else { " " };
        text.push_str(&format!("{space}-c {name}={value}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_in_values_are_escaped() {
        let text = command_line();
        assert!(text.starts_with("-c client_encoding=UTF8 -c DateStyle=ISO,MDY "), "{text}");
        assert!(text.contains(" -c default_transaction_isolation=read\\ committed "), "{text}");
    }
}
