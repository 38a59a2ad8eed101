//! `stream-worker local` between real servers.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stream_core::postgres::SqlClient;
use stream_core::throwaway::testing::{self, TestDatabase};
use tempfile::TempDir;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const COUNT: &str = "SELECT count(*) FROM public.orders";

/// A worker that runs; killed when the test fails.
struct Worker {
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Worker {
    /// Starts `stream-worker local` in `directory`.
    fn start(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stream-worker"));
        command.arg("local").args(arguments).current_dir(directory);
        command.env("HOME", directory).env_remove("PGPASSWORD").env_remove("PGPASSFILE");
        command.envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        let readers = streams
            .into_iter()
            .map(|stream| {
                let output = Arc::clone(&output);
                std::thread::spawn(move || {
                    for line in BufReader::new(stream).lines() {
                        *output.lock().unwrap() += &(line.unwrap() + "\n");
                    }
                })
            })
            .collect();
        Self { child, output, readers }
    }

    fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until the output has `text`, and gives all of it.
    fn says(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let output = self.output();
            if output.contains(text) {
                return output;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended with {ended:?} before `{text}`: {output}");
            assert!(start.elapsed() < PATIENCE, "no `{text}` in {output}");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until the stream follows the log.
    fn streams(&mut self) -> String {
        self.says("\"phase\":\"streaming\"")
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the end: exit code and output.
    fn ends(mut self) -> (Option<i32>, String) {
        drop(self.child.stdin.take());
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "does not end: {}", self.output());
            std::thread::sleep(LOOK_AGAIN);
        };
        for reader in std::mem::take(&mut self.readers) {
            reader.join().unwrap();
        }
        (status.code(), self.output())
    }

    /// Stops it by `signal`, which it has to end with `expected` after; gives the output.
    fn stops(self, signal: &str, expected: i32) -> String {
        self.signal(signal);
        let (code, output) = self.ends();
        assert_eq!(code, Some(expected), "{output}");
        output
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory that servers of another user can reach, as those of root's tests are.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

/// One number from a database.
async fn number(url: &str, sql: &str) -> i64 {
    let client = SqlClient::connect(&url.parse().unwrap()).await.unwrap();
    let number = client.query_one(sql, &[]).await.unwrap().get(0);
    client.close().await;
    number
}

/// Waits until a query gives `expected`.
async fn until(url: &str, sql: &str, expected: i64) {
    let start = Instant::now();
    while number(url, sql).await != expected {
        assert!(start.elapsed() < PATIENCE, "`{sql}` does not give {expected}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn execute(url: &str, sql: &str) {
    let client = SqlClient::connect(&url.parse().unwrap()).await.unwrap();
    client.batch_execute(sql).await.unwrap();
    client.close().await;
}

/// The URL that a worker told for a cluster.
fn url(output: &str, cluster: &str) -> String {
    let line = output.lines().find_map(|line| line.strip_prefix(&format!("{cluster}: "))).unwrap();
    line.split(' ').next().unwrap().to_owned()
}

/// What others may read of the environment of a throw-away cluster's server.
fn environment_of_server(directory: &Path, cluster: &str) -> String {
    let data = directory.join(format!("stream-data/default.{cluster}/data"));
    let pid = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
    let environment = std::fs::read(format!("/proc/{}/environ", pid.lines().next().unwrap()));
    String::from_utf8_lossy(&environment.unwrap()).into_owned()
}

/// A stream between two databases, with their addresses in `SOURCE` and `TARGET`.
struct Between<'a> {
    directory: TempDir,
    source: TestDatabase<'a>,
    target: TestDatabase<'a>,
}

impl Between<'_> {
    async fn new() -> Self {
        let server = testing::server(testing::oldest_major());
        let between = Self {
            directory: directory(),
            source: TestDatabase::create(server).await.unwrap(),
            target: TestDatabase::create(server).await.unwrap(),
        };
        let rows = "CREATE TABLE public.orders (id serial PRIMARY KEY, note text);
                    INSERT INTO public.orders (note) SELECT 'n' FROM generate_series(1, 1000)";
        between.source.execute(rows).await.unwrap();
        between
    }

    /// Writes the stream, with more entries for `metadata` and `debeziumProperties`.
    fn write(&self, metadata: &str, properties: &str) {
        let (source, target) = (self.source.name(), self.target.name());
        let name = source.replace('_', "-");
        let yaml = format!(
            "apiVersion: stackgres.io/v1alpha1\nkind: SGStream\nmetadata: {{name: {name}{metadata}}}\nspec:\n  \
             source: {{type: SGCluster, sgCluster: {{name: here, database: {source}, debeziumProperties: \
             {{{properties}}}}}}}\n  target: {{type: SGCluster, sgCluster: {{name: there, database: {target}}}}}\n  \
             pods: {{persistentVolume: {{size: 1Gi}}}}\n"
        );
        std::fs::write(self.directory.path().join("stream.yaml"), yaml).unwrap();
    }

    fn start(&self, more: &[&str]) -> Worker {
        let arguments =
            ["-f", "stream.yaml", "--cluster", "here=env:SOURCE", "--cluster", "there=env:TARGET"];
        let (source, target) = (self.source.url(), self.target.url());
        let variables = [("SOURCE", source.as_str()), ("TARGET", target.as_str())];
        Worker::start(self.directory.path(), &[&arguments, more].concat(), &variables)
    }

    /// Slots and publications that the source keeps for the stream.
    async fn kept(&self) -> i64 {
        let sql = format!(
            "SELECT (SELECT count(*) FROM pg_replication_slots WHERE database = '{}') + \
             (SELECT count(*) FROM pg_publication)",
            self.source.name()
        );
        number(&self.source.url(), &sql).await
    }

    async fn arrived(&self) -> i64 {
        number(&self.target.url(), COUNT).await
    }
}

#[tokio::test]
async fn the_first_manifests_run_unchanged_and_a_second_start_goes_on() {
    let directory = directory();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    let documents = ["source-cluster", "target-cluster", "migration-stream"]
        .map(|name| std::fs::read_to_string(examples.join(format!("{name}.yaml"))).unwrap());
    std::fs::write(directory.path().join("all.yaml"), documents.join("---\n")).unwrap();
    let init = "CREATE TABLE orders (id int PRIMARY KEY);
                INSERT INTO orders SELECT generate_series(1, 1000);";
    std::fs::write(directory.path().join("init.sql"), init).unwrap();
    let arguments = ["-f", "all.yaml", "--init", "source-cluster=init.sql"];

    let mut worker = Worker::start(directory.path(), &arguments, &[("OURS", "hunter2")]);
    let output = worker.streams();
    assert!(output.contains("\"rows\":1000,"), "{output}");
    assert!(!environment_of_server(directory.path(), "source-cluster").contains("hunter2"));
    let (source, target) = (url(&output, "source-cluster"), url(&output, "target-cluster"));
    assert!(source.ends_with("/myapp") && target.ends_with("/myapp"), "{output}");
    assert_eq!(number(&target, COUNT).await, 1000);
    execute(&source, "INSERT INTO public.orders VALUES (1001)").await;
    until(&target, COUNT, 1001).await;

    let (code, said) = Worker::start(directory.path(), &arguments, &[]).ends();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`stream-data` is in use") && said.contains("--data-dir"), "{said}");

    let output = worker.stops("INT", 0);
    assert!(output.contains("stopped at LSN ") && output.contains("go on with: "), "{output}");
    assert!(SqlClient::connect(&target.parse().unwrap()).await.is_err(), "the server still runs");

    let mut worker = Worker::start(directory.path(), &arguments, &[]);
    let output = worker.says("target-cluster: ");
    let (source, target) = (url(&output, "source-cluster"), url(&output, "target-cluster"));
    execute(&source, "INSERT INTO public.orders VALUES (1002)").await;
    until(&target, COUNT, 1002).await;
    let output = worker.stops("TERM", 143);
    assert!(!output.contains("copying tables"), "{output}");
}

#[tokio::test]
async fn a_stream_is_not_behind_from_the_beginning_of_the_log_when_it_begins() {
    let between = Between::new().await;
    between.write("", "");
    let mut worker = between.start(&[]);
    let output = worker.streams();
    let line = output.lines().find(|line| line.contains("\"phase\":\"streaming\"")).unwrap();
    let (_, lag) = line.split_once("\"lag_bytes\":").unwrap();
    let lag: u64 = lag.split(',').next().unwrap().parse().unwrap();
    // A new server's log begins beyond this.
    assert!(lag < 16 << 20, "{line}");
    let output = worker.stops("INT", 0);
    assert!(output.contains("stopped at LSN "), "{output}");
}

#[tokio::test]
async fn initial_only_completes_and_leaves_nothing_at_the_source() {
    let between = Between::new().await;
    between.write("", "snapshotMode: initial_only");
    let (code, output) = between.start(&[]).ends();
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains(" is complete"), "{output}");
    assert_eq!(between.arrived().await, 1000);
    assert_eq!(between.kept().await, 0);
    assert!(!output.contains(between.source.server().password()), "{output}");
}

#[tokio::test]
async fn complete_delivers_what_is_there_and_removes_slot_and_publication() {
    let tombstone = ", annotations: {debezium-signal.stackgres.io/tombstone: '{}'}";
    for (flag, metadata) in [(&["--complete"][..], ""), (&[][..], tombstone)] {
        let between = Between::new().await;
        between.write("", "");
        let mut worker = between.start(&[]);
        worker.streams();
        worker.stops("INT", 0);
        between.source.execute("INSERT INTO public.orders (note) VALUES ('late')").await.unwrap();
        between.write(metadata, "");
        let (code, output) = between.start(flag).ends();
        assert_eq!(code, Some(0), "{output}");
        assert_eq!(between.arrived().await, 1001);
        assert_eq!(between.kept().await, 0, "{output}");
        let next = "SELECT nextval('public.orders_id_seq')";
        assert_eq!(number(&between.target.url(), next).await, 1002);
    }
}

#[tokio::test]
async fn never_copies_nothing_and_always_copies_again() {
    let between = Between::new().await;
    between.write("", "snapshotMode: never");
    let (code, output) = between.start(&["--complete"]).ends();
    assert_eq!((code, between.arrived().await), (Some(0), 0), "{output}");

    let between = Between::new().await;
    between.write("", "snapshotMode: always");
    let mut worker = between.start(&[]);
    worker.streams();
    worker.stops("INT", 0);
    execute(&between.target.url(), "DELETE FROM public.orders").await;
    let (code, output) = between.start(&["--complete"]).ends();
    assert_eq!((code, between.arrived().await), (Some(0), 1000), "{output}");
}

#[tokio::test]
async fn a_worker_that_is_taken_over_ends_and_writes_nothing_more() {
    let between = Between::new().await;
    between.write("", "");
    let mut first = between.start(&[]);
    first.streams();
    let second = between.start(&[]);
    // Where the first finds out does not matter: at the row, or before at the position of an idle stream.
    until(&between.target.url(), "SELECT epoch FROM sgstream.progress", 2).await;
    between.source.execute("INSERT INTO public.orders (note) VALUES ('new')").await.unwrap();
    let (code, output) = first.ends();
    assert_eq!(code, Some(3), "{output}");
    assert!(output.contains("another worker has taken over"), "{output}");
    until(&between.target.url(), COUNT, 1001).await;
    second.stops("INT", 0);
}

#[tokio::test]
async fn a_worker_that_starts_again_does_not_take_its_stream_back_from_a_later_one() {
    let between = Between::new().await;
    between.write("", "");
    let mut first = between.start(&[]);
    first.streams();
    // As one that the network cuts off: nothing tells it that it was taken over but its own way back.
    first.signal("STOP");
    let ends = [between.source.url(), between.target.url()];
    let others =
        "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()";
    for url in &ends {
        execute(url, &format!("SELECT pg_terminate_backend(pid) {others}")).await;
        until(url, &format!("SELECT count(*) {others}"), 0).await;
    }
    let mut second = between.start(&[]);
    second.streams();
    first.signal("CONT");
    let (code, output) = first.ends();
    assert_eq!(code, Some(3), "{output}");
    assert!(output.contains("starts again"), "it was to try: {output}");
    assert!(output.contains("another worker has taken over"), "{output}");
    between.source.execute("INSERT INTO public.orders (note) VALUES ('new')").await.unwrap();
    until(&between.target.url(), COUNT, 1001).await;
    // The later one starts again by itself whenever its own connections break.
    let walsender = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots \
                     WHERE database = current_database()";
    execute(&between.source.url(), walsender).await;
    second.says("starts again");
    between.source.execute("INSERT INTO public.orders (note) VALUES ('new')").await.unwrap();
    until(&between.target.url(), COUNT, 1002).await;
    second.stops("INT", 0);
}

#[tokio::test]
async fn a_worker_whose_progress_was_removed_writes_nothing_beside_the_next() {
    let between = Between::new().await;
    between.write("", "");
    let mut first = between.start(&[]);
    first.streams();
    // Its row was deleted while it ran, and the next worker made one of its own: with the same epoch.
    execute(&between.target.url(), "UPDATE sgstream.progress SET owner = gen_random_uuid()").await;
    between.source.execute("INSERT INTO public.orders (note) VALUES ('new')").await.unwrap();
    let (code, output) = first.ends();
    assert_eq!(code, Some(3), "{output}");
    assert_eq!(between.arrived().await, 1000);
}

#[tokio::test]
async fn signals_end_a_wait_for_tables_and_a_wait_for_a_server() {
    let between = Between::new().await;
    between.source.execute("DROP TABLE public.orders").await.unwrap();
    between.write("", "");
    let mut worker = between.start(&[]);
    worker.says("has no table to capture");
    worker.stops("INT", 0);

    let directory = directory();
    std::fs::write(directory.path().join("s.yaml"), stream()).unwrap();
    let mut worker =
        Worker::start(directory.path(), &[&["-f", "s.yaml"], &NOBODY[..]].concat(), &[]);
    worker.says("starts again");
    worker.stops("TERM", 143);
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_loses_nothing() {
    let between = Between::new().await;
    between.write("", "");
    let mut worker = between.start(&[]);
    worker.streams();
    let lock = SqlClient::connect(&between.target.url().parse().unwrap()).await.unwrap();
    lock.batch_execute("BEGIN; LOCK TABLE public.orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    between.source.execute("INSERT INTO public.orders (note) VALUES ('new')").await.unwrap();
    let waiting = format!(
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database \
         WHERE NOT granted AND datname = '{}'",
        between.target.name()
    );
    until(&between.target.url(), &waiting, 1).await;
    worker.signal("INT");
    // Longer than what counts as one signal, shorter than a batch is waited for.
    std::thread::sleep(Duration::from_millis(500));
    assert!(worker.child.try_wait().unwrap().is_none(), "did not wait for the batch");
    let start = Instant::now();
    worker.stops("INT", 143);
    assert!(start.elapsed() < Duration::from_secs(5));
    lock.close().await;
    let (code, output) = between.start(&["--complete"]).ends();
    assert_eq!((code, between.arrived().await), (Some(0), 1001), "{output}");
}

#[tokio::test]
async fn addresses_come_from_files_and_passwords_from_the_password_file() {
    let between = Between::new().await;
    between.write("", "snapshotMode: initial_only");
    let server = between.source.server();
    let path = |name: &str| between.directory.path().join(name);
    std::fs::write(path("url"), between.source.url() + "\n").unwrap();
    let passwords = format!("127.0.0.1:{}:*:postgres:{}\n", server.port(), server.password());
    std::fs::write(path(".pgpass"), passwords).unwrap();
    let there = format!("there=postgres://127.0.0.1:{}", server.port());
    let arguments = ["-f", "stream.yaml", "--cluster", "here=@url", "--cluster", &there];
    let readable = PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(path(".pgpass"), readable).unwrap();
    let (code, output) = Worker::start(between.directory.path(), &arguments, &[]).ends();
    assert_eq!(code, Some(2), "{output}");
    assert!(output.contains("chmod 600"), "{output}");
    std::fs::set_permissions(path(".pgpass"), PermissionsExt::from_mode(0o600)).unwrap();
    let (code, output) = Worker::start(between.directory.path(), &arguments, &[]).ends();
    assert_eq!((code, between.arrived().await), (Some(0), 1000), "{output}");
    assert!(!output.contains(server.password()), "{output}");
}

#[test]
fn an_interrupt_ends_a_wait_for_the_standard_input() {
    let directory = directory();
    let worker = Worker::start(directory.path(), &["-f", "-"], &[]);
    let status = format!("/proc/{}/status", worker.child.id());
    // The bit of SIGINT among the signals that are caught.
    let listens = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).unwrap();
        u64::from_str_radix(caught, 16).unwrap() & 2 != 0
    };
    let start = Instant::now();
    while !listens() {
        assert!(start.elapsed() < PATIENCE, "does not listen for signals");
        std::thread::sleep(LOOK_AGAIN);
    }
    worker.signal("INT");
    let mut worker = worker;
    while worker.child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "does not end while its input is open");
        std::thread::sleep(LOOK_AGAIN);
    }
    assert_eq!(worker.ends().0, Some(0));
}

#[test]
fn a_stream_is_given_up_after_its_retries() {
    let directory = directory();
    let (code, output) = run(directory.path(), &(stream() + "  maxRetries: 1\n"), &NOBODY);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("failed after 1 retries"), "{output}");
    let (code, output) = run(directory.path(), &(stream() + "  paused: true\n"), &NOBODY);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("is paused"), "{output}");
}

/// Clusters `a` and `b` where nobody listens.
const NOBODY: [&str; 4] =
    ["--cluster", "a=postgres://127.0.0.1:1", "--cluster", "b=postgres://127.0.0.1:1"];

/// A stream from cluster `a` to cluster `b`, as the only document.
fn stream() -> String {
    "apiVersion: stackgres.io/v1alpha1\nkind: SGStream\nmetadata: {name: one}\nspec:\n  \
     source: {type: SGCluster, sgCluster: {name: a}}\n  target: {type: SGCluster, sgCluster: {name: b}}\n  \
     pods: {persistentVolume: {size: 1Gi}}\n"
        .to_owned()
}

/// Runs a worker with `yaml` as its standard input, to its end.
fn run(directory: &Path, yaml: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut worker = Worker::start(directory, &[&["-f", "-"], more].concat(), &[]);
    // A worker that refuses its arguments does not read.
    let _ = worker.child.stdin.take().unwrap().write_all(yaml.as_bytes());
    worker.ends()
}

#[test]
fn bad_input_is_named_with_a_remedy() {
    let directory = directory();
    let base = stream();
    let given = ["--cluster", "a=postgres://u:hunter2@h", "--cluster", "b=postgres://h"];
    let (only_a, only_b) = given.split_at(2);
    let changed = |from: &str, to: &str| base.replacen(from, to, 1);
    let source = |more: &str| changed("{name: a}", &format!("{{name: a, {more}}}"));
    let property = |property: &str| source(&format!("debeziumProperties: {{{property}}}"));
    let target = |block: &str| changed("{type: SGCluster, sgCluster: {name: b}}", block);
    let login = source("username: {name: s, key: u}, password: {name: s, key: p}");
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {u: ann}\n";
    let two = base.clone() + "---\n" + &changed("one", "two");
    let lambda = target("{type: PgLambda, pgLambda: {script: x}}");
    let cases: [(&str, &[&str], &[&str]); 21] = [
        (&login, &given, &["Secret `default/s`", "sgCluster.username"]),
        (&(login.clone() + secret), &given, &["no key `p`", "its keys are `u`"]),
        (&source("databse: x"), &given, &["sgCluster.databse", "`database`"]),
        (&two, &given, &["`default/one`", "`default/two`"]),
        ("---\n", &given, &["no document is an SGStream"]),
        (&base, only_b, &["SGCluster `a` is not known", "--cluster a="]),
        (&source("includes: ['ok', '(']"), &given, &["includes[1]", "`(`"]),
        (&base, &["-f", "no.yaml"], &["cannot read `no.yaml`"]),
        (&base, &["--cluster", "postgres://u:hunter2@h/d"], &["--cluster NAME="]),
        (&base, &["--cluster", "a=mysql://u:hunter2@h"], &["--cluster a", "`postgres://`"]),
        (&base, &["--cluster", "a=env:NOT_SET"], &["`NOT_SET`"]),
        (&base, &["--cluster", "a=@none"], &["cannot read `none`"]),
        (&base, &["--init", "a"], &["--init NAME="]),
        (&base, &[&given[..], &["--init", "a=x.sql"]].concat(), &["--init a", "no throw-away"]),
        (&lambda, only_a, &["`PgLambda` is not supported yet"]),
        (&property("snapshotMode: configuration_based"), &given, &["`configuration_based`"]),
        (
            &property("columnMaskHash: {SHA-256: {salt: [a]}}"),
            &given,
            &["columnMaskHash", "not supported yet"],
        ),
        (&property("skippedOperations: [t]"), &given, &["skippedOperations"]),
        ("a: [", &given, &["not valid YAML"]),
        (&base, &["--postgres-dir", "none"], &["--postgres-dir `none`"]),
        (&base, &["--unknown"], &["--unknown"]),
    ];
    for (yaml, arguments, expected) in cases {
        let (code, output) = run(directory.path(), yaml, arguments);
        assert_eq!(code, Some(2), "{arguments:?} {output}");
        for text in expected {
            assert!(output.contains(text), "no `{text}` in {output}");
        }
        assert!(!output.contains("hunter2"), "{output}");
    }
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 0, "bad input leaves no files");
}

#[test]
fn all_problems_are_told_at_once_and_one_warning_about_passwords() {
    let directory = directory();
    let yaml = stream()
        .replacen("{name: a}", "{name: a, includes: ['('], excludes: ['[']}", 1)
        .replacen("{name: b}", "{name: b, debeziumProperties: {insertMode: update}}", 1);
    let arguments = ["--cluster", "a=postgres://u:hunter2@h", "--cluster", "c=postgres://u:x@h"];
    let (code, output) = run(directory.path(), &yaml, &arguments);
    assert_eq!(code, Some(2), "{output}");
    for text in ["includes[0]", "excludes[0]", "insertMode", "`b` is not known"] {
        assert!(output.contains(text), "no `{text}` in {output}");
    }
    assert_eq!(output.matches("password in an argument").count(), 1, "{output}");
}

#[test]
fn a_file_that_does_not_run_leaves_nothing_and_the_users_of_secrets_log_in() {
    let directory = directory();
    let documents = ["a", "b"].map(|name| {
        format!(
            "---\napiVersion: stackgres.io/v1\nkind: SGCluster\nmetadata: {{name: {name}}}\nspec: {{postgres: \
             {{version: latest}}}}\n"
        )
    });
    let login = |name: &str| {
        format!("{{name: {name}, username: {{name: s, key: u}}, password: {{name: s, key: p}}}}")
    };
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {u: ann, p: \"it's $$\"}\n";
    let stream =
        stream().replacen("{name: a}", &login("a"), 1).replacen("{name: b}", &login("b"), 1);
    let yaml = stream + &documents.concat() + secret;
    let file = directory.path().join("init.sql");
    let arguments = ["--init", "a=init.sql", "--complete"];
    std::fs::write(&file, "CREATE TABLE t (a int PRIMARY KEY);\nINSERT INTO nowhere VALUES (1);")
        .unwrap();
    let (code, output) = run(directory.path(), &yaml, &arguments);
    assert_eq!(code, Some(2), "{output}");
    assert!(output.contains("--init a=init.sql") && output.contains("nowhere"), "{output}");
    std::fs::write(&file, "CREATE TABLE t (a int PRIMARY KEY)").unwrap();
    let (code, output) = run(directory.path(), &yaml, &arguments);
    assert_eq!(code, Some(0), "{output}");
}
