//! References to clusters and Secrets, followed to addresses and credentials.
//!
//! In: a stream, the documents beside it, and the arguments. Out: [`Places`], and every reference that leads nowhere.

mod endpoint;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

use stream_api::{Documents, SGStream, SecretKeyRef, SourceKind, TargetKind, Tls, TlsMode, names};
use stream_core::postgres::options::RootCert;
use stream_core::postgres::passfile::password_from_passfile;
use stream_core::postgres::{ConnectOptions, Password, SslMode};
use tempfile::NamedTempFile;

use crate::args::{Local, Logins, Passwords};
use crate::config::problem::Found;
pub(crate) use endpoint::{EndpointSecrets, headers};

/// Where a stream reads and where it writes.
pub(crate) struct Places {
    pub(crate) source: Place,
    pub(crate) target: Target,
    /// Files that child processes read certificates from, while the stream runs.
    pub(crate) certificates: Vec<NamedTempFile>,
}

impl Places {
    /// Those that are servers.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Place> {
        let target = match &self.target {
            Target::Server(place) => Some(place),
            Target::Endpoint(_) => None,
        };
        std::iter::once(&self.source).chain(target)
    }
}

/// Where a stream writes.
pub(crate) enum Target {
    /// To a server.
    Server(Place),
    /// To an HTTP endpoint, with what Secrets hold for it.
    Endpoint(EndpointSecrets),
}

/// A server at one end of a stream.
pub(crate) enum Place {
    /// A server that is there.
    Given {
        /// What the user calls it.
        title: String,
        connect: ConnectOptions,
    },
    /// A server that is to be started.
    ThrowAway {
        cluster: String,
        /// As the document says: `16`, `16.4`, `latest`.
        version: String,
        database: String,
        login: Option<Login>,
    },
}

/// User and password that Secrets hold.
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Password,
}

/// What one block of a stream says about its server.
struct Block<'a> {
    path: &'static str,
    database: &'a str,
    username: Option<&'a SecretKeyRef>,
    password: Option<&'a SecretKeyRef>,
    tls: Option<&'a Tls>,
}

/// Follows the references of `stream`; `None` when something was added to `found`.
pub(crate) fn places(
    stream: &SGStream,
    documents: &Documents,
    logins: &Logins,
    found: &mut Found,
) -> Option<Places> {
    let namespace = names::namespace(stream);
    let mut resolver = Resolver { namespace, documents, logins, found, certificates: Vec::new() };
    let source = stream.spec.source.kind().ok().and_then(|kind| {
        let capture = kind.capture();
        let block = Block {
            path: capture.path,
            database: capture.database,
            username: capture.username,
            password: capture.password,
            tls: capture.tls,
        };
        match kind {
            SourceKind::SGCluster(cluster) => resolver.cluster(&cluster.name, &block),
            SourceKind::Postgres(server) => {
                let mut connect = ConnectOptions::new(&server.host, "postgres", block.database);
                connect.port = server.port;
                resolver.given("source".to_owned(), connect, &block)
            }
        }
    });
    let target = match stream.spec.target.kind() {
        Ok(TargetKind::SGCluster(cluster)) => {
            let block = Block {
                path: "spec.target.sgCluster",
                database: &cluster.database,
                username: cluster.username.as_ref(),
                password: cluster.password.as_ref(),
                tls: cluster.tls.as_ref(),
            };
            resolver.cluster(&cluster.name, &block).map(Target::Server)
        }
        Ok(TargetKind::CloudEvent(http)) => {
            endpoint::secrets(stream, documents, http, resolver.found).map(Target::Endpoint)
        }
        Ok(TargetKind::PgLambda(_)) | Err(_) => None,
    };
    let certificates = resolver.certificates;
    Some(Places { source: source?, target: target?, certificates })
}

/// Arguments that name a cluster which is not there are most often misspelt.
pub(crate) fn check_names(places: &Places, args: &Local, found: &mut Found) {
    let throw_away = |name: &str| {
        places
            .servers()
            .any(|place| matches!(place, Place::ThrowAway { cluster, .. } if cluster == name))
    };
    for name in args.init.keys().filter(|name| !throw_away(name)) {
        found.add(
            format!("--init {name}"),
            "the stream has no throw-away cluster of this name to fill: correct the name, or fill the cluster yourself",
        );
    }
    let given = |name: &str| {
        places.servers().any(|place| matches!(place, Place::Given { title, .. } if title == name))
    };
    for name in args.logins.clusters.keys().filter(|name| !given(name)) {
        found.add(
            format!("--cluster {name}"),
            "the stream names no cluster so: correct the name, or remove the argument",
        );
    }
}

struct Resolver<'a> {
    namespace: &'a str,
    documents: &'a Documents,
    logins: &'a Logins,
    found: &'a mut Found,
    certificates: Vec<NamedTempFile>,
}

impl Resolver<'_> {
    fn cluster(&mut self, name: &str, block: &Block<'_>) -> Option<Place> {
        if let Some(url) = self.logins.clusters.get(name) {
            if let Some(other) = url.database.as_deref().filter(|other| *other != block.database) {
                tracing::warn!(
                    "--cluster {name} names database `{other}`, and {}.database is `{}`: that one is used",
                    block.path,
                    block.database
                );
            }
            let connect = url.connect.with_database(block.database);
            return self.given(name.to_owned(), connect, block);
        }
        let Some(document) = self.documents.cluster(self.namespace, name) else {
            self.found.add(
                format!("{}.name", block.path),
                format!(
                    "SGCluster `{name}` is not known: give its address with `--cluster {name}=postgres://user@host:port/`, \
                     or add a document of kind SGCluster with this name and namespace `{}` to get a throw-away PostgreSQL",
                    self.namespace
                ),
            );
            // What else is wrong with the block is told too.
            self.login(block);
            return None;
        };
        if block.tls.is_some_and(|tls| !matches!(tls.mode, TlsMode::Disable | TlsMode::Prefer)) {
            tracing::warn!(
                "{}.tls is not used: a throw-away PostgreSQL has no certificate",
                block.path
            );
        }
        Some(Place::ThrowAway {
            cluster: name.to_owned(),
            version: document.spec.postgres.version.clone(),
            database: block.database.to_owned(),
            login: self.login(block)?,
        })
    }

    /// Completes the address of a server that is there.
    fn given(
        &mut self,
        title: String,
        mut connect: ConnectOptions,
        block: &Block<'_>,
    ) -> Option<Place> {
        let login = self.login(block);
        let protected = self.protect(&mut connect, block);
        match login? {
            Some(Login { user, password }) => {
                (connect.user, connect.password) = (user, Some(password));
            }
            None if connect.password.is_none() => {
                connect.password = password(&self.logins.passwords, &connect);
            }
            None => {}
        }
        protected?;
        Some(Place::Given { title, connect })
    }

    /// `None`: something is wrong; `Some(None)`: no login is given.
    fn login(&mut self, block: &Block<'_>) -> Option<Option<Login>> {
        let (Some(username), Some(password)) = (block.username, block.password) else {
            return Some(None);
        };
        let [user, password] =
            [("username", username), ("password", password)].map(|(name, key)| {
                let path = format!("{}.{name}", block.path);
                self.found.keep(self.documents.secret_value(self.namespace, key, &path))
            });
        let (user, password) = (user?.expose().to_owned(), Password::new(password?.expose()));
        Some(Some(Login { user, password }))
    }

    fn protect(&mut self, connect: &mut ConnectOptions, block: &Block<'_>) -> Option<()> {
        let Some(Tls { mode, ca_secret }) = block.tls else { return Some(()) };
        connect.ssl_mode = match mode {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require => SslMode::Require,
            TlsMode::VerifyCa => SslMode::VerifyCa,
            TlsMode::VerifyFull => SslMode::VerifyFull,
        };
        let Some(reference) = ca_secret else { return Some(()) };
        let path = format!("{}.tls.caSecret", block.path);
        let pem = self.found.keep(self.documents.secret_value(self.namespace, reference, &path))?;
        // `pg_dump` reads it from a file.
        let written = NamedTempFile::new().and_then(|mut file| {
            file.write_all(pem.expose().as_bytes())?;
            Ok(file)
        });
        match written {
            Ok(file) => {
                let pem = pem.expose().as_bytes().to_vec();
                connect.ssl_root_cert = Some(RootCert { path: file.path().to_owned(), pem });
                self.certificates.push(file);
                Some(())
            }
            Err(error) => {
                self.found.add(path, format!("cannot be written to a temporary file: {error}"));
                None
            }
        }
    }
}

/// A password from the environment, else from the password file.
fn password(passwords: &Passwords, connect: &ConnectOptions) -> Option<Password> {
    let Passwords { variable, file } = passwords;
    if variable.is_some() {
        return variable.clone();
    }
    let file = file.as_deref()?;
    let metadata = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    if metadata.mode() & 0o077 != 0 {
        let path = file.display();
        tracing::warn!(
            "password file `{path}` is not used, because others may read it: run `chmod 600 {path}`"
        );
        return None;
    }
    password_from_passfile(&fs::read_to_string(file).ok()?, connect)
}
