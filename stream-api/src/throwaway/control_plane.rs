//! The programs of one control plane, from their start to their end.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::process::{self, Process};
use super::{ControlPlaneError, Programs};

/// How long a program may take until it is ready.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a waiting loop looks again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How often another free port is tried when somebody else was faster.
const PORT_ATTEMPTS: usize = 10;
/// The file with the process ids of a control plane that was let go.
const PIDS: &str = "pids";

/// A running control plane of our own; dropping it stops it and deletes its files.
#[derive(Debug)]
pub struct ControlPlane {
    programs: Programs,
    home: PathBuf,
    processes: Vec<Process>,
    is_let_go: bool,
}

impl ControlPlane {
    /// Starts a control plane with its files in `home`, a directory that does not exist yet, and
    /// waits until the API server is ready.
    ///
    /// # Errors
    ///
    /// [`ControlPlaneError::InUse`] when `home` exists, [`ControlPlaneError::Start`] with the end of
    /// the log when a program ends, [`ControlPlaneError::Io`] for files.
    pub fn start(programs: Programs, home: &Path) -> Result<Self, ControlPlaneError> {
        Self::start_on(free_port, programs, home)
    }

    fn start_on(
        next_port: impl FnMut() -> Result<u16, ControlPlaneError>,
        programs: Programs,
        home: &Path,
    ) -> Result<Self, ControlPlaneError> {
        let parent = home.parent().unwrap_or(home);
        fs::create_dir_all(parent).map_err(ControlPlaneError::io(parent))?;
        match DirBuilder::new().mode(0o700).create(home) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(ControlPlaneError::InUse { home: home.to_owned() });
            }
            other => other.map_err(ControlPlaneError::io(home))?,
        }
        let home = home.canonicalize().map_err(ControlPlaneError::io(home))?;
        // From here on `drop` cleans up after a failure.
        let mut started = Self { programs, home, processes: Vec::new(), is_let_go: false };
        started.launch(next_port)?;
        Ok(started)
    }

    /// As [`start`](Self::start), in the system's directory for temporary files.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_temporary(programs: Programs) -> Result<Self, ControlPlaneError> {
        let home = std::env::temp_dir().join(format!("stream-kubernetes-{}", random_hex()?));
        Self::start(programs, &home)
    }

    /// The directory of the logs and all other files.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The file that names the address and the credentials, for `KUBECONFIG`.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.home.join("kubeconfig")
    }

    /// The process ids of the running programs.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.processes.iter().map(Process::pid)
    }

    /// A `kubectl` that speaks to this control plane and knows nothing of the user's settings.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        let mut kubectl = Command::new(&self.programs.kubectl);
        kubectl.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        // What it keeps about a server must not be found again by one that gets the same port.
        kubectl.env("HOME", &self.home).env("KUBECONFIG", self.kubeconfig());
        kubectl.stdin(Stdio::null());
        kubectl
    }

    /// Lets the control plane live on without its owner; [`stop`] ends it.
    ///
    /// # Errors
    ///
    /// [`ControlPlaneError::Io`] when its process ids cannot be written down; it is stopped then.
    pub fn let_go(mut self) -> Result<(), ControlPlaneError> {
        let pids: String = self.pids().map(|pid| format!("{pid}\n")).collect();
        self.write_private(PIDS, &pids)?;
        for process in &mut self.processes {
            process.let_go().map_err(ControlPlaneError::io(&self.home))?;
        }
        self.is_let_go = true;
        Ok(())
    }

    fn launch(
        &mut self,
        next_port: impl FnMut() -> Result<u16, ControlPlaneError>,
    ) -> Result<(), ControlPlaneError> {
        let token = random_hex()?;
        self.write_private("tokens.csv", &format!("{token},admin,admin,system:masters\n"))?;
        let etcd = self.programs.etcd.clone();
        self.run("etcd", &etcd, &etcd_arguments())?;
        let socket = self.home.join(ETCD_SOCKET);
        self.wait(|_| Ok(socket.exists()))?;
        self.launch_api_server(next_port, &token)?;
        let controller_manager = self.programs.controller_manager.clone();
        self.run("kube-controller-manager", &controller_manager, &controller_manager_arguments())
    }

    fn launch_api_server(
        &mut self,
        mut next_port: impl FnMut() -> Result<u16, ControlPlaneError>,
        token: &str,
    ) -> Result<(), ControlPlaneError> {
        let program = self.programs.api_server.clone();
        let mut attempts = 1;
        loop {
            let port = next_port()?;
            self.write_private("kubeconfig", &kubeconfig(&self.home, port, token))?;
            self.run("kube-apiserver", &program, &api_server_arguments(port))?;
            match self.wait(Self::is_ready) {
                Err(ControlPlaneError::Start { log, .. })
                    if attempts < PORT_ATTEMPTS && log.contains("address already in use") =>
                {
                    attempts += 1;
                    // Not just dropped: the end of its leash would delete the files of all.
                    if let Some(mut api_server) = self.processes.pop() {
                        api_server.kill().map_err(ControlPlaneError::io(&program))?;
                    }
                }
                other => return other,
            }
        }
    }

    fn run(
        &mut self,
        name: &'static str,
        program: &Path,
        arguments: &[String],
    ) -> Result<(), ControlPlaneError> {
        self.processes.push(Process::start(name, program, arguments, &self.home)?);
        Ok(())
    }

    /// Whether the API server says that it is ready.
    fn is_ready(&self) -> Result<bool, ControlPlaneError> {
        let mut kubectl = self.kubectl();
        kubectl
            .args(["get", "--raw=/readyz", "--request-timeout=5s"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = kubectl.status().map_err(ControlPlaneError::io(&self.programs.kubectl))?;
        Ok(status.success())
    }

    /// Waits for `done`; `Err` when a program ends meanwhile, or it takes too long.
    fn wait(
        &mut self,
        done: impl Fn(&Self) -> Result<bool, ControlPlaneError>,
    ) -> Result<(), ControlPlaneError> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !done(self)? {
            for process in &mut self.processes {
                process.check()?;
            }
            if let Some(last) = self.processes.last()
                && Instant::now() >= deadline
            {
                return Err(last.failure("was not ready in time".to_owned()));
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn write_private(&self, name: &str, text: &str) -> Result<(), ControlPlaneError> {
        let path = self.home.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(ControlPlaneError::io(&path))
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if self.is_let_go {
            return;
        }
        // The store last, lest the others complain about its end.
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
        }
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// Stops a control plane that was [let go](ControlPlane::let_go), and deletes its files; `false` when there
/// is none in `home`.
///
/// # Errors
///
/// [`ControlPlaneError::Io`] when a process cannot be killed or a file cannot be deleted.
pub fn stop(home: &Path) -> Result<bool, ControlPlaneError> {
    if !home.exists() {
        return Ok(false);
    }
    for pid in let_go_pids(home) {
        process::kill_working_in(home, pid).map_err(ControlPlaneError::io(home))?;
    }
    fs::remove_dir_all(home).map_err(ControlPlaneError::io(home))?;
    Ok(true)
}

/// How many programs a control plane consists of.
pub const PROCESSES: usize = 3;

/// How many of its [`PROCESSES`] a control plane that was let go in `home` has left.
#[must_use]
pub fn running(home: &Path) -> usize {
    let_go_pids(home).into_iter().filter(|&pid| process::works_in(home, pid)).count()
}

fn let_go_pids(home: &Path) -> Vec<i32> {
    let pids = fs::read_to_string(home.join(PIDS)).unwrap_or_default();
    pids.lines().filter_map(|line| line.parse().ok()).collect()
}

// All programs work in the home directory, so the paths are relative ones: that of a socket may not be long. The socket
// needs no password, as nobody else can enter the directory. Its name has to look like an address.
const ETCD_SOCKET: &str = "etcd:0";

fn etcd_arguments() -> Vec<String> {
    owned(&[
        "--data-dir=etcd",
        "--unsafe-no-fsync",
        "--listen-client-urls=unix://etcd:0",
        "--advertise-client-urls=unix://etcd:0",
        "--listen-peer-urls=unix://etcd-peer:0",
        "--initial-advertise-peer-urls=unix://etcd-peer:0",
        "--initial-cluster=default=unix://etcd-peer:0",
    ])
}

/// The certificate is made by the API server itself, and its key signs the tokens of service accounts too.
fn api_server_arguments(port: u16) -> Vec<String> {
    let mut arguments = owned(&[
        "--etcd-servers=unix://etcd:0",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--cert-dir=certs",
        "--token-auth-file=tokens.csv",
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-account-key-file=certs/apiserver.key",
        "--service-account-signing-key-file=certs/apiserver.key",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged=true",
    ]);
    arguments.push(format!("--secure-port={port}"));
    arguments
}

fn controller_manager_arguments() -> Vec<String> {
    owned(&[
        "--kubeconfig=kubeconfig",
        "--leader-elect=false",
        "--service-account-private-key-file=certs/apiserver.key",
        "--root-ca-file=certs/apiserver.crt",
        "--use-service-account-credentials=true",
        // It serves nothing that anybody here would ask for.
        "--secure-port=0",
    ])
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

/// What clients read, as JSON, which is YAML too.
fn kubeconfig(home: &Path, port: u16, token: &str) -> String {
    let name = "stream";
    let certificate = home.join("certs/apiserver.crt");
    let server = format!("https://127.0.0.1:{port}");
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": name,
            "cluster": {"server": server, "certificate-authority": certificate},
        }],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    })
    .to_string()
}

/// A port of 127.0.0.1 that was free a moment ago.
fn free_port() -> Result<u16, ControlPlaneError> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(ControlPlaneError::io(Path::new("127.0.0.1:0")))
}

/// 128 bits from the system's source of randomness.
fn random_hex() -> Result<String, ControlPlaneError> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(ControlPlaneError::io(source))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod on_a_cluster {
    use super::super::{PROCESSES, testing};
    use super::*;

    #[test]
    fn somebody_who_took_the_port_first_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut ports = [port, free_port().unwrap()].into_iter();
        let home = directory.path().join("home");
        let next_port = || Ok(ports.next().unwrap());
        let started = ControlPlane::start_on(next_port, testing::programs(), &home).unwrap();
        assert!(ports.next().is_none());
        assert_eq!(started.pids().count(), PROCESSES);
        assert!(started.kubeconfig().is_file());
        assert!(started.is_ready().unwrap());
    }
}
