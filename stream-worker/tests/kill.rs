//! The worker killed again and again, at random moments of schema import, copy, index build and stream, while
//! sessions write to the source: nothing is lost, and nothing arrives twice.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by a panic, in its helpers too"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use stream_core::postgres::SqlClient;
use stream_core::throwaway::testing;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Gives the seed of a run that is to be repeated.
const SEED: &str = "STREAM_KILL_SEED";
/// How long any one thing may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Writers rest between transactions, so that a worker that is built for debugging keeps up with them.
const REST: Duration = Duration::from_millis(4);
const WRITERS: usize = 4;

/// What a worker is doing, as far as its databases tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Import,
    Copy,
    Index,
    Stream,
}

/// When to kill: so often, within so many milliseconds from when the work of the phase is seen.
const KILLS: [(Phase, usize, u64); 4] = [
    (Phase::Import, 5, 150),
    (Phase::Copy, 9, 600),
    (Phase::Index, 6, 150),
    (Phase::Stream, 10, 700),
];

const SCHEMA: &str = "
CREATE TABLE accounts (id int PRIMARY KEY, owner text NOT NULL, balance bigint NOT NULL, note text);
CREATE TABLE postings (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int NOT NULL REFERENCES accounts, amount int);
CREATE TABLE journal (writer int, n bigint, note text);
ALTER TABLE journal REPLICA IDENTITY FULL;
CREATE TABLE events (id bigint, kind text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
CREATE TABLE events_a PARTITION OF events FOR VALUES IN ('a');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE TABLE documents (id int PRIMARY KEY, title text, body text);
ALTER TABLE documents ALTER body SET STORAGE EXTERNAL;
CREATE TABLE staging (n int);
INSERT INTO accounts SELECT n, 'owner ' || n % 1000, 0, repeat('x', n % 50) FROM generate_series(1, 150000) n;
INSERT INTO postings (account, amount) SELECT 1 + n % 150000, 0 FROM generate_series(1, 100000) n;
INSERT INTO journal SELECT -1, n, 'old' FROM generate_series(1, 30000) n;
INSERT INTO events SELECT n, (ARRAY['a', 'b', 'c'])[1 + n % 3] FROM generate_series(1, 60000) n;
INSERT INTO documents SELECT n, 'title', repeat(md5(n::text), 200) FROM generate_series(1, 500) n;
-- Large enough to be copied in two parts, of which the first is done long before the second.
CREATE TABLE files (n int, body text);
ALTER TABLE files REPLICA IDENTITY FULL;
ALTER TABLE files ALTER body SET STORAGE EXTERNAL;
INSERT INTO files SELECT n, 'small' FROM generate_series(1, 20000) n;
INSERT INTO files SELECT n, repeat('large', 200000) FROM generate_series(20001, 20280) n;
CREATE INDEX ON accounts (owner, balance);
CREATE INDEX ON accounts (note);
CREATE INDEX ON postings (account);
CREATE INDEX ON events (kind);
";

/// What writer `{w}` does at its transaction number `{n}`: the first always, and one of the others.
const ALWAYS: &str = "INSERT INTO journal VALUES ({w}, {n}, 'new');
    UPDATE accounts SET balance = balance + {n} WHERE id = 1 + ({n} * 7919 + {w}) % 150000";
const WORK: [&str; 8] = [
    "INSERT INTO files VALUES ({n} * 4 + {w} + 1000000, 'new');
     INSERT INTO postings (account, amount) SELECT 1 + {n} % 1000, g FROM generate_series(1, 5) g",
    "DELETE FROM postings WHERE id = {n} * 4 + {w}",
    "UPDATE documents SET title = 'title {n}' WHERE id = 1 + ({n} * 4 + {w}) % 500",
    "UPDATE documents SET body = repeat(md5('{n}'), 150) WHERE id = 1 + ({n} * 4 + {w}) % 500",
    "INSERT INTO events VALUES (({n} * 4 + {w}) + 1000000, 'a');
     UPDATE events SET kind = 'moved' WHERE id = {n} * 4 + {w} AND kind = 'a'",
    "DELETE FROM journal WHERE writer = {w} AND n = {n} - 100;
     UPDATE journal SET note = 'changed' WHERE writer = {w} AND n = {n} - 50",
    "SAVEPOINT s; DELETE FROM accounts WHERE id > 149990 AND id NOT IN (SELECT account FROM postings); ROLLBACK TO s",
    "UPDATE accounts SET id = -id WHERE id = 140000 + ({n} * 4 + {w}) % 9000 AND id NOT IN (SELECT account FROM postings)",
];

/// Both ends of a stream, and where its files are.
struct Ends {
    directory: TempDir,
    source: String,
    target: String,
}

impl Ends {
    fn start(&self, more: &[&str]) -> Worker {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_stream-worker"))
            .args(["local", "-f", "stream.yaml"])
            .args(["--cluster", "here=env:SOURCE", "--cluster", "there=env:TARGET"])
            .args(more)
            .current_dir(self.directory.path())
            .env("SOURCE", &self.source)
            .env("TARGET", &self.target)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Worker(child)
    }

    fn log(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }

    fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap();
        let lines: Vec<_> = log.lines().collect();
        lines.get(lines.len().saturating_sub(30)..).unwrap().join("\n")
    }
}

/// A worker that runs; killed when the test fails.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sessions that look how far the worker is.
struct Eyes {
    source: SqlClient,
    target: SqlClient,
}

impl Eyes {
    /// The epoch and the phase of the worker that runs now, or ran last; and whether its target is at work.
    async fn look(&self) -> Option<(i64, Phase, bool)> {
        let there = "SELECT to_regclass('sgstream.pending') IS NOT NULL";
        if !self.target.query_one(there, &[]).await.unwrap().get::<_, bool>(0) {
            return None;
        }
        let progress = "SELECT epoch, to_regclass('public.journal') IS NOT NULL,
                   (SELECT count(*) > 0 AND bool_and(synced_at IS NOT NULL) FROM sgstream.table_sync),
                   (SELECT count(*) FROM sgstream.pending),
                   EXISTS (SELECT FROM pg_stat_progress_copy), EXISTS (SELECT FROM pg_stat_progress_create_index)
            FROM sgstream.progress";
        let row = self.target.query_opt(progress, &[]).await.unwrap()?;
        let active = "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE active)";
        let active: bool = self.source.query_one(active, &[]).await.unwrap().get(0);
        let (phase, works) = match (row.get(1), row.get(2), row.get::<_, i64>(3)) {
            (false, _, _) => (Phase::Import, true),
            (true, false, _) => (Phase::Copy, row.get(4)),
            (true, true, 1..) if !active => (Phase::Index, row.get(5)),
            (true, true, _) => (Phase::Stream, active),
        };
        Some((row.get(0), phase, works))
    }

    async fn close(self) {
        self.source.close().await;
        self.target.close().await;
    }
}

fn seed() -> u64 {
    std::env::var(SEED).ok().map_or_else(
        || {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos())
        },
        |seed| seed.parse().unwrap(),
    )
}

async fn write(url: String, writer: usize, stopped: watch::Receiver<bool>) {
    let client = SqlClient::connect(&url.parse().unwrap()).await.unwrap();
    client.batch_execute("SET search_path = public").await.unwrap();
    let mut n = 0_usize;
    while !*stopped.borrow() {
        let work = WORK.get((n + writer) % WORK.len()).unwrap();
        let sql = format!("BEGIN; {ALWAYS}; {work}; COMMIT")
            .replace("{w}", &writer.to_string())
            .replace("{n}", &n.to_string());
        client.batch_execute(&sql).await.unwrap();
        if writer == 0 && n.is_multiple_of(200) {
            let refill = "BEGIN; TRUNCATE staging; INSERT INTO staging SELECT generate_series(1, 300); COMMIT";
            client.batch_execute(refill).await.unwrap();
        }
        n += 1;
        tokio::time::sleep(REST).await;
    }
    client.close().await;
}

/// Every table's rows and the sum of their hashes.
async fn content(url: &str) -> BTreeMap<String, (i64, String)> {
    let client = SqlClient::connect(&url.parse().unwrap()).await.unwrap();
    let tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    let mut content = BTreeMap::new();
    for row in client.query(tables, &[]).await.unwrap() {
        let table: String = row.get(0);
        let sql = format!(
            "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM public.{table} t"
        );
        let row = client.query_one(&sql, &[]).await.unwrap();
        content.insert(table, (row.get(0), row.get(1)));
    }
    client.close().await;
    content
}

/// Waits until the worker is at work in the `wanted` phase or beyond, and a random time longer, and kills it; gives
/// its last phase.
async fn kill_in(ends: &Ends, eyes: &Eyes, wanted: Phase, wait: Duration) -> Option<Phase> {
    let before = eyes.look().await.map_or(0, |(epoch, _, _)| epoch);
    let mut worker = ends.start(&[]);
    let start = Instant::now();
    let mut reached = None;
    loop {
        if let Some(ended) = worker.0.try_wait().unwrap() {
            panic!("the worker ended by itself ({ended}):\n{}", ends.end_of_log());
        }
        let now = eyes.look().await.filter(|(epoch, _, _)| *epoch > before);
        let is_there =
            now.is_some_and(|(_, phase, works)| phase > wanted || phase == wanted && works);
        if reached.is_none() && is_there {
            reached = Some(Instant::now());
        }
        if reached.is_some_and(|reached| reached.elapsed() >= wait) {
            // It is SIGKILL.
            drop(worker);
            return now.map(|(_, phase, _)| phase);
        }
        assert!(start.elapsed() < PATIENCE, "never at {wanted:?}:\n{}", ends.end_of_log());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn complete(ends: &Ends) {
    let mut worker = ends.start(&["--complete"]);
    let start = Instant::now();
    let status = loop {
        if let Some(status) = worker.0.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            worker.0.kill().unwrap();
        }
        std::thread::sleep(LOOK_AGAIN);
    };
    assert!(status.success(), "{status}:\n{}", ends.end_of_log());
}

fn write_stream(directory: &Path) {
    let yaml = "apiVersion: stackgres.io/v1alpha1\nkind: SGStream\nmetadata: {name: killed}\nspec:\n  \
         source: {type: SGCluster, sgCluster: {name: here, database: app, \
         debeziumProperties: {snapshotMaxThreads: 2}}}\n  \
         target: {type: SGCluster, sgCluster: {name: there, database: app}}\n  \
         pods: {persistentVolume: {size: 1Gi}}\n";
    std::fs::write(directory.join("stream.yaml"), yaml).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_at_any_moment_loses_nothing_and_doubles_nothing() {
    let seed = seed();
    println!("{SEED}={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let major = testing::oldest_major();
    let (source, target) =
        (testing::private_server(major, &[]), testing::private_server(major, &[]));
    for server in [&source, &target] {
        server.create_database("app").await.unwrap();
    }
    source.execute("app", SCHEMA).await.unwrap();
    let ends = Ends {
        directory: tempfile::tempdir().unwrap(),
        source: source.url("app"),
        target: target.url("app"),
    };
    write_stream(ends.directory.path());
    let eyes = Eyes {
        source: SqlClient::connect(&ends.source.parse().unwrap()).await.unwrap(),
        target: SqlClient::connect(&ends.target.parse().unwrap()).await.unwrap(),
    };

    let (stop, stopped) = watch::channel(false);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(ends.source.clone(), writer, stopped.clone()));
    }
    let mut hits = BTreeMap::new();
    for (phase, times, span) in KILLS {
        for _ in 0..times {
            let wait = Duration::from_millis(random.u64(0..span));
            let hit = kill_in(&ends, &eyes, phase, wait).await;
            *hits.entry(hit).or_insert(0) += 1;
        }
    }
    println!("killed in {hits:?}");
    for (phase, _, _) in KILLS {
        assert!(hits.contains_key(&Some(phase)), "no kill in {phase:?}: {hits:?}");
    }
    stop.send_replace(true);
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    eyes.close().await;
    complete(&ends);

    let (expected, found) = (content(&ends.source).await, content(&ends.target).await);
    println!("{found:?}");
    let client = SqlClient::connect(&ends.target.parse().unwrap()).await.unwrap();
    let doubled = "SELECT (SELECT count(*) - count(DISTINCT (writer, n)) FROM public.journal)
        + (SELECT count(*) - count(DISTINCT n) FROM public.files)";
    let doubled: i64 = client.query_one(doubled, &[]).await.unwrap().get(0);
    client.close().await;
    assert_eq!(doubled, 0, "rows of tables without key arrived twice");
    assert_eq!(found, expected);
}
