//! What an operator does wrong, or what happens to servers: the worker names it, with its remedy; and once exactly
//! that remedy was applied, the stream works, and nothing is lost or doubled.
//!
//! Those that are not here are where their cause is:
//!
//! | input | tests |
//! |---|---|
//! | source or target restarted, crashed, sessions killed | `restarts_and_killed_sessions_are_got_over`; both roads under load: `torture` |
//! | publication dropped | `a_publication_dropped_in_mid_stream_loses_nothing_unsaid` |
//! | slot dropped, lost, in use, read by another | `a_slot_in_use_…`, `a_lost_slot_…`, `a_slot_lost_while_the_target_stands_still_…`; `of_two_workers_…` in `cloudevent/trouble` |
//! | two workers | `a_worker_that_is_taken_over_…`, `a_worker_that_starts_again_…` in `local` |
//! | table dropped, renamed, altered in type in mid-stream | `mishaps` and `alter` in `stream-sinks/tests/stream` |
//! | target table altered, renamed; a constraint, trigger or type that refuses a row | `mishaps`, `divergence` there |
//! | target in another encoding | `a_target_in_another_encoding_…` in `mishaps`; a source in one: `a_latin1_source` in `types` |
//! | `pg_dump` missing, old, failing, cut off | `a_pg_dump_…`; `a_missing_old_or_failing_pg_dump_is_explained` in `stream-sinks/tests/schema` |
//! | `--data-dir` of another stream or process; offset file cut short, of zeros, of a newer version | `a_data_directory_…`, `a_damaged_position_file_…` in `cloudevent/trouble`; `a_file_of_a_newer_program_…` in stream-core |
//! | an idle stream, a hanging target, used up transaction ids | `long_life` in `stream-sinks/tests/stream`, `an_…` in `cloudevent/trouble`, `a_day_of_keepalives_…` in `stream-core/tests/pipeline` |

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by a panic, in its helpers too"
)]

use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stream_core::copy::CopyFormat;
use stream_core::lsn::Lsn;
use stream_core::postgres::PluginOptions;
use stream_core::postgres::replication::ReplicationStream;
use stream_core::postgres::{Session, SqlClient, Wire};
use stream_core::throwaway::testing::{self, TestDatabase};
use stream_core::throwaway::{Server, ServerOptions, Shutdown};
use tempfile::TempDir;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const TABLE: &str = "CREATE TABLE public.orders (id serial PRIMARY KEY, note text);
    INSERT INTO public.orders (note) SELECT 'n' || i FROM generate_series(1, 500) i";

/// A worker that runs; killed when the test fails.
struct Worker {
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
    /// What no line may hold.
    secrets: Vec<String>,
}

impl Worker {
    /// Starts `stream-worker local` in `directory`.
    fn start(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stream-worker"));
        command.arg("local").args(arguments).current_dir(directory);
        command.env("HOME", directory).env_remove("PGPASSWORD").env_remove("PGPASSFILE");
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
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
        Self { child, output, readers, secrets: Vec::new() }
    }

    fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until the output has `text` for the `times`th time, and gives all of it.
    fn says_again(&mut self, text: &str, times: usize) -> String {
        let start = Instant::now();
        loop {
            let output = self.output();
            if output.matches(text).count() >= times {
                return output;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended with {ended:?} before `{text}`: {output}");
            assert!(start.elapsed() < PATIENCE, "no `{text}` in {output}");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn says(&mut self, text: &str) -> String {
        self.says_again(text, 1)
    }

    /// Waits until the stream follows the log.
    fn streams(&mut self) -> String {
        self.says("phase=\"streaming\"")
    }

    /// Waits for the end, which has to have exit code `expected`; gives the output.
    fn ends(mut self, expected: i32) -> String {
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
        let output = self.output();
        assert_eq!(status.code(), Some(expected), "{output}");
        for secret in &self.secrets {
            assert!(!output.contains(secret), "a password in {output}");
        }
        output
    }

    /// Interrupts it, which is no failure; gives the output.
    fn stops(self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
        self.ends(0)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(url: &str) -> SqlClient {
    SqlClient::connect(&url.parse().unwrap()).await.unwrap()
}

async fn execute(url: &str, sql: &str) {
    let client = connect(url).await;
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("`{sql}`: {error:?}"));
    client.close().await;
}

/// One text from a database.
async fn text(url: &str, sql: &str) -> String {
    let client = connect(url).await;
    let text: Option<String> = client.query_one(sql, &[]).await.unwrap().get(0);
    client.close().await;
    text.unwrap_or_default()
}

/// The statement, or whatever else, that `output` has in backquotes behind `before`: what an operator would copy.
fn quoted<'a>(output: &'a str, before: &str) -> &'a str {
    let start = output.find(before).unwrap_or_else(|| panic!("no `{before}` in {output}"));
    let rest = &output[start + before.len()..];
    let (_, rest) = rest.split_once('`').unwrap();
    rest.split_once('`').unwrap().0
}

/// All statements that `output` says to run.
fn statements(output: &str) -> Vec<&str> {
    output.split("run `").skip(1).filter_map(|rest| rest.split('`').next()).collect()
}

/// A stream between two databases, whose addresses are in `SOURCE` and `TARGET`.
struct Stream {
    directory: TempDir,
    name: String,
    source: String,
    target: String,
    secrets: Vec<String>,
}

impl Stream {
    fn between(source: &TestDatabase<'_>, target: &TestDatabase<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let stream = Self {
            directory,
            name: source.name().replace('_', "-"),
            source: source.url(),
            target: target.url(),
            secrets: [source, target].map(|end| end.server().password().to_owned()).to_vec(),
        };
        stream.write("", "");
        stream
    }

    /// Writes the YAML with more entries of `sgCluster` of the source, and of `spec`.
    fn write(&self, source: &str, spec: &str) {
        let database = |url: &str| url.rsplit('/').next().unwrap().to_owned();
        let yaml = format!(
            "apiVersion: stackgres.io/v1alpha1\nkind: SGStream\nmetadata: {{name: {}}}\nspec:\n  source: {{type: \
             SGCluster, sgCluster: {{name: here, database: {}{source}}}}}\n  target: {{type: SGCluster, sgCluster: \
             {{name: there, database: {}}}}}\n  pods: {{persistentVolume: {{size: 1Gi}}}}\n{spec}",
            self.name,
            database(&self.source),
            database(&self.target)
        );
        std::fs::write(self.directory.path().join("stream.yaml"), yaml).unwrap();
    }

    fn start(&self) -> Worker {
        self.start_with(&self.source, &self.target, &[])
    }

    /// Starts a worker with other addresses and more arguments.
    fn start_with(&self, source: &str, target: &str, more: &[&str]) -> Worker {
        let arguments = ["-f", "stream.yaml", "--log-format", "text"];
        let clusters = ["--cluster", "here=env:SOURCE", "--cluster", "there=env:TARGET"];
        let variables = [("SOURCE", source), ("TARGET", target)];
        let arguments = [&arguments[..], &clusters, more].concat();
        let mut worker = Worker::start(self.directory.path(), &arguments, &variables);
        worker.secrets.clone_from(&self.secrets);
        worker
    }

    /// Completes the stream and finds both sides identical.
    async fn completes(&self) -> String {
        let output = self.start_with(&self.source, &self.target, &["--complete"]).ends(0);
        self.is_identical().await;
        output
    }

    async fn is_identical(&self) {
        let hash = hash("public.orders");
        assert_eq!(text(&self.source, &hash).await, text(&self.target, &hash).await);
    }

    /// Inserts a row at the source and sees both sides identical soon.
    async fn moves(&self, worker: &Worker) {
        execute(&self.source, "INSERT INTO public.orders (note) VALUES ('new')").await;
        let hash = hash("public.orders");
        let (start, sent) = (Instant::now(), text(&self.source, &hash).await);
        while text(&self.target, &hash).await != sent {
            assert!(start.elapsed() < PATIENCE, "a row does not arrive: {}", worker.output());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Nothing was made at the source, and no table at the target.
    async fn left_nothing(&self) {
        let kept = "SELECT concat(count(*), (SELECT count(*) FROM pg_publication)) \
                    FROM pg_replication_slots WHERE database = current_database()";
        assert_eq!(text(&self.source, kept).await, "00", "left at the source");
        let tables = "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'";
        assert_eq!(text(&self.target, tables).await, "0", "left at the target");
    }
}

/// A table's rows, in a form that does not depend on their order.
fn hash(table: &str) -> String {
    format!(
        "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {table} t"
    )
}

/// Two databases on the shared server, with a table in the first.
async fn databases() -> [TestDatabase<'static>; 2] {
    let server = testing::server(testing::oldest_major());
    on(server, server).await
}

async fn on<'a>(source: &'a Server, target: &'a Server) -> [TestDatabase<'a>; 2] {
    let source = TestDatabase::create(source).await.unwrap();
    let target = TestDatabase::create(target).await.unwrap();
    source.execute(TABLE).await.unwrap();
    [source, target]
}

/// The URL with another login.
fn with_login(url: &str, login: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    format!("{scheme}://{login}@{}", rest.rsplit_once('@').unwrap().1)
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_again() {
    let [source, target] = databases().await;
    let stream = Stream::between(&source, &target);
    let wrong = |url| with_login(url, "postgres:hunter2");
    for (source, target, end) in [
        (wrong(&stream.source), stream.target.clone(), "source"),
        (stream.source.clone(), wrong(&stream.target), "target"),
    ] {
        let mut worker = stream.start_with(&source, &target, &[]);
        worker.secrets.push("hunter2".to_owned());
        let output = worker.ends(2);
        assert!(output.contains(&format!("error: {end}: cannot log in to")), "{output}");
        assert!(output.contains("as `postgres`") && output.contains("check the password"));
        stream.left_nothing().await;
    }
    let none = stream.start_with(&with_login(&stream.source, "postgres"), &stream.target, &[]);
    assert!(none.ends(2).contains("`PGPASSWORD`"));
    stream.completes().await;
}

#[tokio::test]
async fn a_host_that_stays_silent_is_tried_again() {
    let [source, target] = databases().await;
    let stream = Stream::between(&source, &target);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("postgres://u@{}/x?connect_timeout=1", listener.local_addr().unwrap());
    let mut worker = stream.start_with(&silent, &stream.target, &[]);
    let output = worker.says("starts again");
    assert!(output.contains("no answer from `127.0.0.1") && output.contains("within 1 s"));
    worker.stops();
    stream.write("", "  maxRetries: 0\n");
    let output = stream.start_with(&silent, &stream.target, &[]).ends(1);
    assert!(output.contains("raise `connect_timeout`"), "{output}");
    stream.left_nothing().await;
    stream.completes().await;
}

#[tokio::test]
async fn a_role_that_lacks_everything_is_told_what_to_grant() {
    let [source, target] = databases().await;
    let stream = Stream::between(&source, &target);
    let role = format!("r_{}", source.name());
    let more =
        "CREATE TABLE public.other (a int); CREATE SCHEMA far; CREATE TABLE far.away (a int);";
    source.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter2';{more}")).await.unwrap();
    let url = with_login(&stream.source, &format!("{role}:hunter2"));
    let start = || {
        let mut worker = stream.start_with(&url, &stream.target, &[]);
        worker.secrets.push("hunter2".to_owned());
        worker
    };
    stream.write(", includes: ['public[.]orders']", "");
    for _ in 0..2 {
        let output = start().ends(2);
        stream.left_nothing().await;
        for statement in statements(&output) {
            source.execute(statement).await.unwrap();
        }
        if !output.contains("may not replicate") {
            break;
        }
    }
    let mut worker = start();
    let output = worker.says("has to be made by the owner");
    source.execute(quoted(&output, "run ")).await.unwrap();
    worker.streams();
    stream.moves(&worker).await;
    worker.stops();
    source
        .execute(&format!("REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}"))
        .await
        .unwrap();
    stream.completes().await;
    target.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn a_pattern_that_matches_nothing_is_said() {
    let [source, target] = databases().await;
    let stream = Stream::between(&source, &target);
    stream.write(", includes: ['public[.]order', 'shop']", "");
    let mut worker = stream.start();
    let output = worker.says("has no table to capture");
    assert!(output.contains("`includes[0]` = `public[.]order`"), "{output}");
    worker.stops();
    stream.left_nothing().await;
    stream.write(", includes: ['public[.]orders', 'shop']", "");
    let mut worker = stream.start();
    worker.streams();
    let output = worker.stops();
    assert!(output.contains("`includes[1]` = `shop`"), "{output}");
}

#[tokio::test]
async fn a_target_with_rows_is_refused_before_anything_is_made() {
    let [source, target] = databases().await;
    let stream = Stream::between(&source, &target);
    source.execute("CREATE TABLE public.second (a int PRIMARY KEY)").await.unwrap();
    let old = "CREATE TABLE public.orders (id serial PRIMARY KEY, note text);
               INSERT INTO public.orders VALUES (1, 'old')";
    target.execute(old).await.unwrap();
    let output = stream.start().ends(2);
    assert!(output.contains("the target is not empty: `public.orders`"), "{output}");
    let tables = "SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(text(&stream.target, tables).await, "orders", "half a schema was imported");
    let slots =
        "SELECT count(*)::text FROM pg_replication_slots WHERE database = current_database()";
    assert_eq!(text(&stream.source, slots).await, "0");
    target.execute(quoted(&output, "run ")).await.unwrap();
    stream.completes().await;
}

#[tokio::test]
async fn a_target_table_of_another_shape_is_refused_with_its_statements() {
    let [source, target] = databases().await;
    let stream = Stream::between(&source, &target);
    source.execute("CREATE TABLE public.second (a int PRIMARY KEY)").await.unwrap();
    target
        .execute("CREATE TABLE public.orders (id text PRIMARY KEY, must int NOT NULL)")
        .await
        .unwrap();
    let output = stream.start().ends(2);
    for problem in ["column `note` of", "column `id` of", "column `must` of"] {
        let line = output
            .lines()
            .find(|line| line.contains(problem))
            .unwrap_or_else(|| panic!("no {problem} in {output}"));
        target
            .execute(quoted(line, "run "))
            .await
            .unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    let tables = "SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(text(&stream.target, tables).await, "orders", "half a schema was imported");
    target.execute("ALTER TABLE public.orders DROP COLUMN must").await.unwrap();
    stream.completes().await;
}

#[tokio::test]
async fn a_pg_dump_older_than_the_source_is_refused() {
    let server = testing::server(18);
    let [source, target] = on(server, server).await;
    let stream = Stream::between(&source, &target);
    let old = testing::binaries(15).dir;
    let arguments = [
        "-f",
        "stream.yaml",
        "--log-format",
        "text",
        "--cluster",
        "here=env:SOURCE",
        "--cluster",
        "there=env:TARGET",
    ];
    let variables = [
        ("SOURCE", stream.source.as_str()),
        ("TARGET", &stream.target),
        ("PATH", old.to_str().unwrap()),
        ("STREAM_POSTGRES_DIRS", ""),
        ("STREAM_POSTGRES_CLIENTS", ""),
    ];
    let output = Worker::start(stream.directory.path(), &arguments, &variables).ends(2);
    assert!(output.contains("older than the source"), "{output}");
    stream.left_nothing().await;
    let client = testing::client("pg_dump", 18);
    let directory = client.path.parent().unwrap().to_str().unwrap();
    let output = stream
        .start_with(&stream.source, &stream.target, &["--complete", "--postgres-dir", directory])
        .ends(0);
    assert!(!output.contains("WARN"), "{output}");
    stream.is_identical().await;
}

#[tokio::test]
async fn a_pg_dump_that_fails_half_way_leaves_nothing_at_the_target() {
    let [source, target] = databases().await;
    let stream = Stream::between(&source, &target);
    stream.write("", "  maxRetries: 0\n");
    let real = testing::client("pg_dump", testing::oldest_major()).path;
    let program = stream.directory.path().join("pg_dump");
    // Half of the archive, and then an end that says so, one by a signal, and one that does not say so.
    for (end, said) in [
        ("echo 'connection lost' >&2; exit 1", "connection lost"),
        ("kill -9 $$", "signal: 9"),
        ("exit 0", "cannot be read at byte"),
    ] {
        let script = format!(
            "#!/bin/sh\ntest \"$1\" = --version && exec {0} --version\n{0} \"$@\" > whole || exit 7\n\
             head -c $(($(wc -c < whole) / 2)) whole\n{end}\n",
            real.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let arguments = ["--complete", "--postgres-dir", "."];
        let output = stream.start_with(&stream.source, &stream.target, &arguments).ends(1);
        assert!(output.contains(said) && output.contains("pg_dump"), "{output}");
        let tables = "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'";
        assert_eq!(text(&stream.target, tables).await, "0", "left at the target: {output}");
    }
    std::fs::remove_file(program).unwrap();
    stream.completes().await;
}

/// Where the stream's slot is named at the source.
const SLOT: &str =
    "SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()";

#[tokio::test]
async fn a_slot_in_use_is_waited_for_and_a_dropped_one_is_never_made_again() {
    let [source, target] = databases().await;
    let stream = Stream::between(&source, &target);
    let mut worker = stream.start();
    worker.streams();
    worker.stops();
    let slot = text(&stream.source, SLOT).await;
    let publication = text(&stream.source, "SELECT pubname::text FROM pg_publication").await;
    let wire = Wire::connect(&stream.source.parse().unwrap(), Session::Replication).await.unwrap();
    let other = ReplicationStream::start(
        wire,
        &slot,
        &publication,
        Lsn::default(),
        &PluginOptions::default(),
        CopyFormat::Text,
    )
    .await
    .unwrap();
    let mut worker = stream.start();
    worker.says("is in use by process");
    other.close().await;
    worker.streams();
    stream.moves(&worker).await;
    worker.stops();

    execute(&stream.source, &format!("INSERT INTO public.orders (note) VALUES ('gap'); SELECT pg_drop_replication_slot('{slot}')")).await;
    let output = stream.start().ends(2);
    assert!(output.contains(&format!("replication slot `{slot}` is gone")), "{output}");
    assert_eq!(
        text(
            &stream.source,
            "SELECT count(*)::text FROM pg_replication_slots WHERE database = current_database()"
        )
        .await,
        "0"
    );
    execute(&stream.target, quoted(&output, "run ")).await;
    stream.completes().await;
}

#[tokio::test]
async fn a_lost_slot_is_told_with_the_way_back() {
    let server = testing::private_server(
        15,
        &[("max_slot_wal_keep_size", "1MB"), ("max_wal_size", "32MB"), ("min_wal_size", "32MB")],
    );
    let [source, target] = on(&server, &server).await;
    let stream = Stream::between(&source, &target);
    let mut worker = stream.start();
    worker.streams();
    worker.stops();
    for _ in 0..3 {
        execute(&stream.source, "INSERT INTO public.orders (note) VALUES ('gap')").await;
        execute(&stream.source, "SELECT pg_switch_wal()").await;
        execute(&stream.source, "CHECKPOINT").await;
    }
    let output = stream.start().ends(2);
    assert!(output.contains("is lost"), "{output}");
    let [drop, anew] = statements(&output)[..] else { panic!("{output}") };
    execute(&stream.source, drop).await;
    execute(&stream.target, anew).await;
    stream.completes().await;
}

#[tokio::test]
async fn a_slot_lost_while_the_target_stands_still_is_told_with_the_way_back() {
    for major in testing::majors() {
        let settings =
            [("max_slot_wal_keep_size", "1MB"), ("max_wal_size", "32MB"), ("min_wal_size", "32MB")];
        let server = testing::private_server(major, &settings);
        let [source, target] = on(&server, &server).await;
        let stream = Stream::between(&source, &target);
        let mut worker = stream.start();
        worker.streams();
        let holder = connect(&stream.target).await;
        holder.batch_execute("BEGIN; LOCK TABLE public.orders").await.unwrap();
        let lost = "SELECT (wal_status = 'lost')::text FROM pg_replication_slots";
        let start = Instant::now();
        while text(&stream.source, lost).await != "true" {
            assert!(start.elapsed() < PATIENCE, "the slot is not lost: {}", worker.output());
            let wal = "INSERT INTO public.orders (note) VALUES ('gap'); SELECT pg_switch_wal()";
            execute(&stream.source, wal).await;
            execute(&stream.source, "CHECKPOINT").await;
        }
        holder.batch_execute("ROLLBACK").await.unwrap();
        holder.close().await;
        let output = worker.ends(2);
        assert!(output.contains("is lost"), "PostgreSQL {major}: {output}");
        assert!(output.contains("raise `max_slot_wal_keep_size`"), "{output}");
        let lines: String = output.lines().filter(|line| line.starts_with("error: ")).collect();
        let [drop, anew] = statements(&lines)[..] else { panic!("{output}") };
        execute(&stream.source, drop).await;
        execute(&stream.target, anew).await;
        stream.completes().await;
    }
}

#[tokio::test]
async fn a_publication_dropped_in_mid_stream_loses_nothing_unsaid() {
    for major in testing::majors() {
        let server = testing::server(major);
        let [source, target] = on(server, server).await;
        let stream = Stream::between(&source, &target);
        let mut worker = stream.start();
        worker.streams();
        stream.moves(&worker).await;
        let publication = text(&stream.source, "SELECT pubname::text FROM pg_publication").await;
        let gap = "INSERT INTO public.orders (note) VALUES ('gap')";
        execute(&stream.source, &format!("DROP PUBLICATION {publication}")).await;
        execute(&stream.source, gap).await;
        // Made again by the second start, which does not help.
        let outputs = [worker.ends(2), stream.start().ends(2)];
        for output in &outputs {
            assert!(
                output.contains(&format!("publication `{publication}` did not exist")),
                "{output}"
            );
        }
        // The server takes a moment to notice that its client is gone.
        let active = "SELECT bool_or(active)::text FROM pg_replication_slots \
                      WHERE database = current_database()";
        while text(&stream.source, active).await == "true" {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let [drop, anew] = statements(&outputs[1])[..] else { panic!("{outputs:?}") };
        execute(&stream.source, drop).await;
        execute(&stream.target, anew).await;
        stream.completes().await;
    }
}

#[tokio::test]
async fn a_target_role_is_told_what_it_lacks() {
    let [source, target] = databases().await;
    let stream = Stream::between(&source, &target);
    let role = format!("t_{}", source.name());
    let login = format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter2'");
    target.execute(&login).await.unwrap();
    target.execute("CREATE TABLE public.orders (id int PRIMARY KEY, note text)").await.unwrap();
    let url = with_login(&stream.target, &format!("{role}:hunter2"));
    for problem in ["may not create schema", "may not write 1 table(s)"] {
        let mut worker = stream.start_with(&stream.source, &url, &[]);
        worker.secrets.push("hunter2".to_owned());
        let output = worker.ends(2);
        assert!(output.contains(problem), "{output}");
        let slots =
            "SELECT count(*)::text FROM pg_replication_slots WHERE database = current_database()";
        assert_eq!(text(&stream.source, slots).await, "0");
        target.execute(statements(&output)[0]).await.unwrap();
    }
    let mut worker = stream.start_with(&stream.source, &url, &[]);
    worker.streams();
    stream.moves(&worker).await;
    worker.stops();
    let end =
        format!("REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}");
    target.execute(&end).await.unwrap();
}

#[tokio::test]
async fn passwords_are_in_no_argument_of_a_child() {
    let [source, target] = databases().await;
    let stream = Stream::between(&source, &target);
    let real = testing::client("pg_dump", testing::oldest_major()).path;
    let script = format!(
        "#!/bin/sh\ntest \"$1\" = --version || tr '\\0' '\\n' < /proc/$$/cmdline > seen\n\
         tr '\\0' '\\n' < /proc/$PPID/cmdline >> seen\nexec {} \"$@\"\n",
        real.display()
    );
    let program = stream.directory.path().join("pg_dump");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    stream
        .start_with(&stream.source, &stream.target, &["--complete", "--postgres-dir", "."])
        .ends(0);
    let seen = std::fs::read_to_string(stream.directory.path().join("seen")).unwrap();
    assert!(seen.contains("--schema-only") && seen.contains("--complete"), "{seen}");
    for secret in &stream.secrets {
        assert!(!seen.contains(secret), "{seen}");
    }
    stream.is_identical().await;
}

#[tokio::test]
async fn restarts_and_killed_sessions_are_got_over() {
    let major = testing::oldest_major();
    let (mut source_server, mut target_server) =
        (testing::private_server(major, &[]), testing::private_server(major, &[]));
    let (source_url, target_url) = (source_server.url("s"), target_server.url("t"));
    source_server.create_database("s").await.unwrap();
    target_server.create_database("t").await.unwrap();
    source_server.execute("s", TABLE).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let secrets = vec![source_server.password().to_owned(), target_server.password().to_owned()];
    let stream =
        Stream { directory, name: "s".to_owned(), source: source_url, target: target_url, secrets };
    stream.write("", "");
    source_server.stop(Shutdown::Fast).unwrap();
    let mut worker = stream.start();
    let output = worker.says_again("starts again", 2);
    assert!(output.contains("cannot reach `127.0.0.1"), "{output}");
    source_server.restart(Shutdown::Fast).unwrap();
    worker.streams();
    stream.moves(&worker).await;
    source_server.restart(Shutdown::Fast).unwrap();
    stream.moves(&worker).await;
    source_server.restart(Shutdown::Immediate).unwrap();
    stream.moves(&worker).await;
    target_server.restart(Shutdown::Fast).unwrap();
    stream.moves(&worker).await;
    target_server.restart(Shutdown::Immediate).unwrap();
    stream.moves(&worker).await;
    execute(&stream.source, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
        .await;
    stream.moves(&worker).await;
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 't' AND pid <> pg_backend_pid()";
    execute(&stream.target, others).await;
    stream.moves(&worker).await;
    worker.stops();
    stream.write("", "  maxRetries: 0\n");
    let mut worker = stream.start();
    worker.streams();
    execute(&stream.source, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
        .await;
    worker.ends(1);
    stream.completes().await;
}

#[tokio::test]
async fn settings_of_the_source_are_named_with_their_statements() {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let start = |settings: &[(&str, &str)]| {
        let mut options = ServerOptions::kept(testing::binaries(15), home.path().join("server"));
        options.settings =
            settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Server::start(options).unwrap()
    };
    let server = start(&[("wal_level", "replica"), ("max_replication_slots", "3")]);
    let target = TestDatabase::create(testing::server(15)).await.unwrap();
    server.create_database("s").await.unwrap();
    server.execute("s", TABLE).await.unwrap();
    server.execute("s", "SELECT pg_create_physical_replication_slot('old')").await.unwrap();
    let mut stream = Stream::between(&target, &target);
    stream.source = server.url("s");
    stream.secrets.push(server.password().to_owned());
    stream.write("", "");
    let output = stream.start().ends(2);
    assert!(output.contains("`wal_level` is `replica`"), "{output}");
    stream.left_nothing().await;
    drop(server);
    let server = start(&[("max_replication_slots", "3")]);
    stream.source = server.url("s");
    let output = stream.start().ends(2);
    assert!(output.contains("2 of 3 free") && output.contains("`old`"), "{output}");
    server.execute("s", "SELECT pg_drop_replication_slot('old')").await.unwrap();
    stream.completes().await;
}
