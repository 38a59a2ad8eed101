//! The environment in which a child process (`pg_dump`, `psql`) gets the sessions that we get.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use super::options::{ConnectOptions, SslMode};
use super::pins;

impl ConnectOptions {
    /// The variables that make a libpq program connect as we do. [`UNSET_IN_CHILDREN`] must be
    /// taken away besides; [`Self::configure_child`] does both.
    #[must_use]
    pub fn child_environment(&self) -> Vec<(String, OsString)> {
        let Self {
            host,
            port,
            database,
            user,
            password,
            ssl_mode,
            ssl_root_cert,
            connect_timeout,
            application_name,
        } = self;
        let mut variables: Vec<(String, OsString)> = Vec::new();
        let mut set = |name: &str, value: OsString| variables.push((name.to_owned(), value));
        set("PGHOST", host.into());
        set("PGPORT", port.to_string().into());
        set("PGDATABASE", database.into());
        set("PGUSER", user.into());
        if let Some(password) = password {
            set("PGPASSWORD", password.expose().into());
        }
        set("PGSSLMODE", ssl_mode.as_str().into());
        let verifies = matches!(ssl_mode, SslMode::VerifyCa | SslMode::VerifyFull);
        match ssl_root_cert {
            Some(root) => set("PGSSLROOTCERT", root.path.clone().into()),
            // libpq would look in the home directory only.
            None if verifies => {
                if let Some(path) = SYSTEM_CERTS.into_iter().find(|path| Path::new(path).exists()) {
                    set("PGSSLROOTCERT", path.into());
                }
            }
            None => {}
        }
        set("PGGSSENCMODE", "disable".into());
        set("PGCONNECT_TIMEOUT", connect_timeout.as_secs().max(1).to_string().into());
        set("PGAPPNAME", application_name.into());
        set("PGOPTIONS", pins::command_line().into());
        set("PGCLIENTENCODING", "UTF8".into());
        variables
    }

    /// Makes `command`, a libpq program, connect as we do, whatever the environment of this
    /// process says.
    pub fn configure_child(&self, command: &mut Command) {
        for name in UNSET_IN_CHILDREN {
            command.env_remove(name);
        }
        command.envs(self.child_environment());
    }
}

/// Variables that libpq reads and that a child must not inherit from us. Those that
/// [`ConnectOptions::child_environment`] always sets are not here.
pub const UNSET_IN_CHILDREN: [&str; 29] = [
    "PGHOSTADDR",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSYSCONFDIR",
    "PGREQUIREAUTH",
    "PGCHANNELBINDING",
    "PGSSLNEGOTIATION",
    "PGREQUIRESSL",
    "PGSSLCOMPRESSION",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLCERTMODE",
    "PGSSLROOTCERT",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLSNI",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLMAXPROTOCOLVERSION",
    "PGREQUIREPEER",
    "PGKRBSRVNAME",
    "PGGSSLIB",
    "PGGSSDELEGATION",
    "PGTARGETSESSIONATTRS",
    "PGLOADBALANCEHOSTS",
    "PGDATESTYLE",
    "PGTZ",
    "PGGEQO",
];

/// Where operating systems keep the certificates they trust.
const SYSTEM_CERTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_get_the_login_and_the_pins() {
        let options: ConnectOptions = "postgres://ann:pw@db/shop?sslmode=require".parse().unwrap();
        let environment = options.child_environment();
        let get = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, v)| v);
        assert_eq!(get("PGPASSWORD"), Some(&"pw".into()));
        assert_eq!(get("PGSSLMODE"), Some(&"require".into()));
        assert_eq!(get("PGOPTIONS"), Some(&pins::command_line().into()));
        assert_eq!(get("PGSSLROOTCERT"), None);
    }
}
