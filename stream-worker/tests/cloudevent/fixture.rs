//! A database, a worker, and the stream between it and an endpoint.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use stream_core::postgres::SqlClient;
use stream_core::throwaway::testing::{self, TestDatabase};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A worker that runs; killed when it is dropped.
pub(crate) struct Worker {
    child: Child,
    log: std::path::PathBuf,
}

impl Worker {
    pub(crate) fn start(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let log = directory.join("log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stream-worker"));
        command.arg("local").args(arguments).current_dir(directory).env("HOME", directory);
        command.env_remove("PGPASSWORD").envs(variables.iter().copied());
        command.stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log }
    }

    /// What all workers of the directory said.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the output has `text`.
    pub(crate) fn says(&mut self, text: &str) {
        let start = Instant::now();
        while !self.output().contains(text) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended with {ended:?} before `{text}`: {}", self.output());
            assert!(start.elapsed() < PATIENCE, "no `{text}` in {}", self.output());
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits for the end: exit code and output.
    pub(crate) fn ends(&mut self) -> (Option<i32>, String) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.output());
            }
            assert!(start.elapsed() < PATIENCE, "does not end: {}", self.output());
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Asks it to stop, which it has to do well.
    pub(crate) fn stops(mut self) -> String {
        self.signal("INT");
        let (code, output) = self.ends();
        assert_eq!(code, Some(0), "{output}");
        output
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// The most memory that it ever had, in MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        kib / 1024
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory that servers of another user can reach.
pub(crate) fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

/// A database of its own, with the stream's files.
pub(crate) struct Bench {
    pub(crate) directory: TempDir,
    pub(crate) source: TestDatabase<'static>,
}

impl Bench {
    pub(crate) async fn new(sql: &str) -> Self {
        Self::made("", sql).await
    }

    /// In a database made with these options.
    pub(crate) async fn made(options: &str, sql: &str) -> Self {
        let server = testing::server(testing::oldest_major());
        let source = TestDatabase::create(server).await.unwrap();
        let name = source.name();
        for statement in
            [format!("DROP DATABASE {name}"), format!("CREATE DATABASE {name} {options}")]
        {
            server.execute("postgres", &statement).await.unwrap();
        }
        source.execute(sql).await.unwrap();
        Self { directory: directory(), source }
    }

    /// The stream's name: that of its database, which no other test has.
    pub(crate) fn name(&self) -> String {
        self.source.name().replace('_', "-")
    }

    /// Writes the stream, with more of `http` and of `debeziumProperties`.
    pub(crate) fn write(&self, url: &str, http: &str, properties: &str) {
        let (name, database) = (self.name(), self.source.name());
        let yaml = format!(
            "apiVersion: stackgres.io/v1alpha1\nkind: SGStream\nmetadata: {{name: {name}}}\nspec:\n  source: {{type: \
             SGCluster, sgCluster: {{name: here, database: {database}, debeziumProperties: {{{properties}}}}}}}\n  target: \
             {{type: CloudEvent, cloudEvent: {{http: {{url: '{url}', retryBackoffDelay: 1{http}}}}}}}\n  pods: \
             {{persistentVolume: {{size: 1Gi}}}}\n"
        );
        std::fs::write(self.directory.path().join("stream.yaml"), yaml).unwrap();
    }

    /// Adds more to what was written.
    pub(crate) fn edit(&self, edit: impl Fn(String) -> String) {
        let path = self.directory.path().join("stream.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        // In its place at once: the worker may read it at any moment.
        let other = path.with_extension("new");
        std::fs::write(&other, edit(text)).unwrap();
        std::fs::rename(&other, &path).unwrap();
    }

    pub(crate) fn start(&self, more: &[&str]) -> Worker {
        self.start_as(&self.source.url(), more)
    }

    /// The same with another login at the source.
    pub(crate) fn start_as(&self, url: &str, more: &[&str]) -> Worker {
        let arguments = ["-f", "stream.yaml", "--cluster", "here=env:SOURCE"];
        let variables = [("SOURCE", url), ("EMPTY_TOKEN", "")];
        Worker::start(self.directory.path(), &[&arguments, more].concat(), &variables)
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let client = SqlClient::connect(&self.source.url().parse().unwrap()).await.unwrap();
        let number = client.query_one(sql, &[]).await.unwrap().get(0);
        client.close().await;
        number
    }

    /// Waits until a query gives `expected`.
    pub(crate) async fn until(&self, sql: &str, expected: i64) {
        let start = Instant::now();
        while self.number(sql).await != expected {
            assert!(start.elapsed() < PATIENCE, "`{sql}` does not give {expected}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// How many slots this database has.
    pub(crate) async fn slots(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()";
        self.number(sql).await
    }
}
