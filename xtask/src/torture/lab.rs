//! The two servers of a run, with a network before each, and what can be done to them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use stream_core::postgres::{ConnectOptions, SqlClient};
use stream_core::throwaway::{Binaries, DataDirectory, Server, ServerOptions, Shutdown};
use tokio::task::block_in_place;

use super::faults::End;
use super::native::{NAME as NATIVE, Native};
use super::proxy::Proxy;
use super::workload::{ROWS, schema};

/// The database of either server.
pub(super) const DATABASE: &str = "app";
/// The name of the harness's sessions, which tells them from those of the worker.
const OWN: &str = "torture";
/// The worker's sessions.
const ITS_SESSIONS: &str =
    "SELECT pid FROM pg_stat_activity WHERE backend_type IN ('client backend', 'walsender')
    AND datname = 'app' AND application_name NOT IN";

/// What differs from PostgreSQL's defaults: a pause longer than this is noticed.
const SETTINGS: [(&str, &str); 6] = [
    ("logical_decoding_work_mem", "64kB"),
    ("wal_retrieve_retry_interval", "500ms"),
    ("wal_sender_timeout", "2s"),
    ("deadlock_timeout", "200ms"),
    ("max_wal_size", "128MB"),
    ("min_wal_size", "32MB"),
];

/// Both servers.
pub(super) struct Lab {
    source: Host,
    target: Host,
    disk: Option<Disk>,
}

struct Host {
    server: Server,
    proxy: Proxy,
}

impl Lab {
    /// Starts two servers; the target's data is on a small disk of its own where one can be had.
    pub(super) async fn start(binaries: &Binaries, job: u64) -> Result<Self> {
        let disk = Disk::mount(job);
        let data = match &disk {
            Some(disk) => DataDirectory::Kept(disk.mount.join("server")),
            None => DataDirectory::Temporary,
        };
        let source = Host::start(binaries, DataDirectory::Temporary).await?;
        let target = Host::start(binaries, data).await?;
        Ok(Self { source, target, disk })
    }

    fn host(&self, end: End) -> &Host {
        match end {
            End::Source => &self.source,
            End::Target => &self.target,
        }
    }

    fn host_mut(&mut self, end: End) -> &mut Host {
        match end {
            End::Source => &mut self.source,
            End::Target => &mut self.target,
        }
    }

    /// Copies the servers' logs, as far as they are there, for whoever looks into a failure.
    pub(super) fn keep_logs(&self, directory: &Path) {
        for (host, name) in [(&self.source, "source.log"), (&self.target, "target.log")] {
            let _ = std::fs::copy(host.server.data_dir().join("log"), directory.join(name));
        }
    }

    /// Whether the target's disk can be filled.
    pub(super) const fn has_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Makes both databases anew, and fills the source.
    pub(super) async fn prepare(&self, seed: u64) -> Result<()> {
        Native::remove(&self.target.server.url("postgres").parse()?).await?;
        for host in [&self.source, &self.target] {
            host.proxy.heal();
            host.renew().await?;
        }
        self.source.server.execute(DATABASE, &schema(seed)).await?;
        self.source.server.execute(DATABASE, ROWS).await?;
        self.source.server.execute(DATABASE, "VACUUM ANALYZE").await?;
        Ok(())
    }

    /// The address of a database, past the network that breaks.
    pub(super) fn direct(&self, end: End) -> Result<ConnectOptions> {
        let host = self.host(end);
        Ok(format!("{}&application_name={OWN}", host.url(host.server.port())).parse()?)
    }

    /// The address of a database as the worker is told it.
    pub(super) fn url(&self, end: End) -> String {
        self.host(end).url(self.host(end).proxy.port())
    }

    /// PostgreSQL's own replication beside the worker's.
    pub(super) async fn native(&self, seed: u64) -> Result<Native> {
        let server = &self.source.server;
        let (port, user, password) = (server.port(), server.user(), server.password());
        let conninfo = format!(
            "host=127.0.0.1 port={port} user={user} password={password} dbname={DATABASE} sslmode=disable"
        );
        let schema = schema(seed);
        Native::start(&self.direct(End::Source)?, &self.direct(End::Target)?, &conninfo, &schema)
            .await
    }

    pub(super) fn proxy(&self, end: End) -> &Proxy {
        &self.host(end).proxy
    }

    pub(super) fn crash(&mut self, end: End) -> Result<()> {
        let server = &mut self.host_mut(end).server;
        block_in_place(|| {
            server.kill9()?;
            server.restart(Shutdown::Immediate)
        })?;
        Ok(())
    }

    pub(super) fn restart(&mut self, end: End) -> Result<()> {
        let server = &mut self.host_mut(end).server;
        Ok(block_in_place(|| server.restart(Shutdown::Fast))?)
    }

    /// Applies a function such as `pg_terminate_backend` to each of the worker's sessions; whether there was one.
    pub(super) async fn to_sessions(&self, end: End, function: &str) -> Result<bool> {
        let client = session(&self.direct(end)?).await?;
        let all =
            format!("SELECT {function}(pid) FROM ({ITS_SESSIONS} ('{OWN}', '{NATIVE}')) AS its");
        let sessions = client.query(&all, &[]).await?;
        client.close().await;
        Ok(!sessions.is_empty())
    }

    /// Makes the target a standby, which takes no write, for a while.
    pub(super) async fn read_only(&mut self, time: Duration) -> Result<()> {
        let signal = self.target.server.data_dir().join("data/standby.signal");
        std::fs::write(&signal, "").context("cannot make the target a standby")?;
        self.restart(End::Target)?;
        tokio::time::sleep(time).await;
        let client = session(&self.direct(End::Target)?).await?;
        let promoted: bool = client.query_one("SELECT pg_promote()", &[]).await?.get(0);
        ensure!(promoted, "the target was not promoted");
        client.close().await;
        Ok(())
    }

    /// Locks tables of the target for a while, if they are there and free soon.
    pub(super) async fn lock(&self, time: Duration) -> Result<bool> {
        let client = session(&self.direct(End::Target)?).await?;
        let lock = "SET lock_timeout = '5s'; BEGIN; LOCK TABLE public.heap, public.accounts";
        let locked = client.batch_execute(lock).await.is_ok();
        if locked {
            tokio::time::sleep(time).await;
        }
        client.close().await;
        Ok(locked)
    }

    /// Fills the target's disk for a while, if it has one of its own.
    pub(super) async fn fill_disk(&mut self, time: Duration) -> Result<bool> {
        let Some(disk) = &self.disk else { return Ok(false) };
        disk.fill()?;
        tokio::time::sleep(time).await;
        disk.free()?;
        // A server that cannot write its log panics, and then cannot start.
        if session(&self.direct(End::Target)?).await.is_err() {
            self.restart(End::Target)?;
        }
        Ok(true)
    }
}

const SESSIONS: &str = "
SELECT concat_ws(' ', pid, application_name, state, wait_event_type, wait_event, 'waits for', pg_blocking_pids(pid), (
    SELECT string_agg(concat(mode, ' ', relation::regclass, CASE WHEN NOT granted THEN ' wanted' END), ', ')
    FROM pg_locks l WHERE l.pid = a.pid AND relation >= 16384), left(query, 200))
FROM pg_stat_activity a WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// What the sessions of a server do, for whoever looks into a failure.
pub(super) async fn sessions(server: &ConnectOptions) -> String {
    let read = async {
        let client = session(server).await?;
        let rows = client.query(SESSIONS, &[]).await?;
        client.close().await;
        anyhow::Ok(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>().join("\n"))
    };
    read.await.unwrap_or_else(|error| format!("{error:#}"))
}

/// A session of the harness.
pub(super) async fn session(connect: &ConnectOptions) -> Result<SqlClient> {
    let client = SqlClient::connect(connect).await?;
    client.batch_execute("SET search_path = public").await?;
    Ok(client)
}

impl Host {
    async fn start(binaries: &Binaries, data: DataDirectory) -> Result<Self> {
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let mut options = ServerOptions { binaries: binaries.clone(), data, settings };
        options.settings.push(("fsync".to_owned(), "off".to_owned()));
        let server = block_in_place(|| Server::start(options))?;
        let proxy = Proxy::start(server.port()).await?;
        Ok(Self { server, proxy })
    }

    fn url(&self, port: u16) -> String {
        let (user, password) = (self.server.user(), self.server.password());
        format!("postgresql://{user}:{password}@127.0.0.1:{port}/{DATABASE}?sslmode=disable")
    }

    async fn renew(&self) -> Result<()> {
        let server: ConnectOptions = self.server.url("postgres").parse()?;
        let client = session(&server).await?;
        let statements = [
            "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE active",
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots",
            "DROP DATABASE IF EXISTS app WITH (FORCE)",
            "CREATE DATABASE app",
        ];
        for statement in statements {
            client.batch_execute(statement).await.with_context(|| statement.to_owned())?;
        }
        client.close().await;
        Ok(())
    }
}

/// What the names of their directories begin with; then come the process and the job.
const DISKS: &str = "sgstream-torture-";

/// A file system in memory, that can be filled.
struct Disk {
    mount: PathBuf,
}

impl Disk {
    /// Large enough for what a run writes.
    const SIZE: &str = "size=900m,mode=755";

    /// Nothing where that is not allowed.
    fn mount(job: u64) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !cfg!(target_os = "linux") {
            return None;
        }
        Self::unmount_stale();
        let mount = std::env::temp_dir().join(format!("{DISKS}{}-{job}", std::process::id()));
        let disk = Self { mount: mount.clone() };
        std::fs::create_dir_all(&mount).ok()?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", Self::SIZE, "torture"]).arg(&mount);
        command.output().is_ok_and(|output| output.status.success()).then_some(disk)
    }

    /// Those of runs that were killed: their names tell the processes.
    fn unmount_stale() {
        let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let process = name.strip_prefix(DISKS).and_then(|rest| rest.split('-').next());
            if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                drop(Self { mount: entry.path() });
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.mount.join("filler")
    }

    /// Takes what is left of it.
    fn fill(&self) -> Result<()> {
        let mut dd = Command::new("dd");
        dd.args(["if=/dev/zero", "bs=1M", "status=none"]);
        dd.arg(format!("of={}", self.filler().display()));
        let output = dd.output().context("`dd` cannot be run")?;
        ensure!(!output.status.success(), "the target's disk could not be filled");
        Ok(())
    }

    fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.filler())?)
    }

    fn unmount(&self) {
        // Lazily: sessions of a killed server may take a moment. It may not be mounted at all.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mount).output();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
        let _ = std::fs::remove_dir(&self.mount);
    }
}
