//! Streams between two databases, and compares them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use stream_core::Error;
use stream_core::checkpoint::Checkpoint;
use stream_core::filter::TableFilter;
use stream_core::pipeline::{Control, Outcome, Pipeline};
use stream_core::postgres::publication::AutoCreate;
use stream_core::postgres::{
    ConnectOptions, PluginOptions, PostgresSource, PostgresSourceOptions, SnapshotMode, SqlClient,
    Streaming,
};
use stream_core::relation::TableName;
use stream_core::source::Source as _;
use stream_core::sql::{Ident, list};
use stream_core::stats::{Phase, Stats};
use stream_core::throwaway::Server;
use stream_core::throwaway::testing::{self, TestDatabase};
use stream_sinks::postgres::{
    Claim, ImportOptions, PostgresSink, PostgresSinkOptions, TargetStore,
};
use tokio::sync::{mpsc, watch};

/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(240);
/// Small, so that tables of tests are cut too.
const CHUNK_BYTES: u64 = 256 << 10;
/// How often a stream starts again after a failure that may pass.
const ATTEMPTS: usize = 10;

/// A stream between two databases.
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) source: ConnectOptions,
    pub(crate) target: ConnectOptions,
    pub(crate) mode: SnapshotMode,
    pub(crate) failover: bool,
    pub(crate) publication: AutoCreate,
    pub(crate) via_root: bool,
    pub(crate) includes: Vec<String>,
    pub(crate) excludes: Vec<String>,
    /// Whether the schema is imported.
    pub(crate) import: bool,
    pub(crate) plugin: PluginOptions,
    pub(crate) batch_bytes: usize,
    pub(crate) chunk_bytes: u64,
    pub(crate) look_interval: Duration,
    pub(crate) stats: Stats,
}

pub(crate) type StreamPipeline = Pipeline<PostgresSource, PostgresSink, TargetStore>;

impl Stream {
    pub(crate) fn new(source: &TestDatabase<'_>, target: &TestDatabase<'_>) -> Self {
        Self {
            name: source.name().to_owned(),
            source: source.url().parse().unwrap(),
            target: target.url().parse().unwrap(),
            mode: SnapshotMode::Initial,
            failover: false,
            publication: AutoCreate::Filtered,
            via_root: false,
            includes: Vec::new(),
            excludes: Vec::new(),
            import: true,
            plugin: PluginOptions::default(),
            batch_bytes: 4 << 20,
            chunk_bytes: CHUNK_BYTES,
            look_interval: Duration::from_millis(500),
            stats: Stats::default(),
        }
    }

    pub(crate) fn source_options(&self) -> PostgresSourceOptions {
        PostgresSourceOptions {
            connect: self.source.clone(),
            slot: self.name.clone(),
            failover: self.failover,
            publication: self.name.clone(),
            auto_create: self.publication,
            via_partition_root: self.via_root,
            remove_publication: true,
            remove_slot: true,
            filter: TableFilter::new(&self.includes, &self.excludes).unwrap(),
            snapshot: self.mode,
            plugin: self.plugin.clone(),
            readers: 2,
            chunk_bytes: self.chunk_bytes,
            confirm_interval: Duration::from_secs(10),
            finds_last_table: false,
            generated_columns: false,
            look_interval: self.look_interval,
        }
    }

    pub(crate) fn sink_options(&self) -> PostgresSinkOptions {
        let program = testing::client("pg_dump", 18).path;
        let import = ImportOptions {
            program_directories: vec![program.parent().unwrap().to_owned()],
            everything: self.includes.is_empty() && self.excludes.is_empty(),
        };
        PostgresSinkOptions {
            target: self.target.clone(),
            source: self.source.clone(),
            stream: self.name.clone(),
            import: self.import.then_some(import),
            index_jobs: 2,
        }
    }

    pub(crate) async fn pipeline(&self) -> Result<StreamPipeline, Error> {
        self.pipeline_of(&mut Claim::default()).await
    }

    /// A pipeline of the process that has this claim.
    async fn pipeline_of(&self, claim: &mut Claim) -> Result<StreamPipeline, Error> {
        let (sink, store) = PostgresSink::connect(self.sink_options(), claim).await?;
        let mut pipeline = Pipeline::new(PostgresSource::new(self.source_options()), sink, store);
        pipeline.batch_bytes = self.batch_bytes;
        pipeline.stats = self.stats.clone();
        Ok(pipeline)
    }

    /// Runs once, told to end in this way as soon as `work` is done, which begins in `phase`.
    pub(crate) async fn run_once(
        &self,
        phase: Phase,
        work: impl Future<Output = ()>,
        how: Control,
    ) -> Result<Outcome, Error> {
        self.stats.update(|stats| stats.phase = Phase::Starting);
        let mut seen = self.stats.subscribe();
        let (control, commands) = mpsc::channel(1);
        let run = async { Box::pin(self.pipeline().await?.run(commands)).await };
        let drive = async {
            seen.wait_for(|stats| stats.phase == phase).await.unwrap();
            work.await;
            let _ = control.send(how).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            outcome = run => outcome,
            () = drive => unreachable!(),
            () = tokio::time::sleep(PATIENCE) => panic!("the stream hangs: {:?}", seen.borrow()),
        }
    }

    /// Runs `work` while it streams, and completes; starts again after failures that may pass.
    pub(crate) async fn run_with(&self, work: impl Future<Output = ()>) -> Result<Outcome, Error> {
        let (finished, mut is_finished) = watch::channel(false);
        // Of an earlier run it may be another.
        self.stats.update(|stats| stats.phase = Phase::Starting);
        let mut seen = self.stats.subscribe();
        let work = async {
            seen.wait_for(|stats| stats.phase == Phase::Streaming).await.unwrap();
            work.await;
            finished.send(true).unwrap();
            std::future::pending::<()>().await;
        };
        let run = async {
            let mut attempts = 0..ATTEMPTS;
            let mut claim = Claim::default();
            loop {
                let (control, commands) = mpsc::channel(1);
                let ended = {
                    let run =
                        async { Box::pin(self.pipeline_of(&mut claim).await?.run(commands)).await };
                    let end = async {
                        is_finished.wait_for(|finished| *finished).await.unwrap();
                        let _ = control.send(Control::Complete).await;
                        std::future::pending::<()>().await;
                    };
                    tokio::select! { ended = run => ended, () = end => unreachable!() }
                };
                match ended {
                    Err(error) if error.is_retryable() && attempts.next().is_some() => {
                        eprintln!("starting again: {error}");
                    }
                    ended => return ended,
                }
            }
        };
        tokio::select! {
            outcome = run => outcome,
            () = work => unreachable!(),
            () = tokio::time::sleep(PATIENCE) => panic!("the stream hangs: {:?}", self.stats.subscribe().borrow()),
        }
    }

    /// Copies, meets `changes` while it streams or while it is `stopped`, and completes.
    pub(crate) async fn meet(
        &self,
        changes: impl Future<Output = ()>,
        stopped: bool,
    ) -> Result<Outcome, Error> {
        if !stopped {
            return Box::pin(self.run_with(changes)).await;
        }
        self.copy_and_stop().await;
        changes.await;
        self.complete().await
    }

    /// Delivers all that the source holds now, and ends.
    pub(crate) async fn complete(&self) -> Result<Outcome, Error> {
        self.run_with(async {}).await
    }

    /// Copies, and stops as soon as it streams.
    pub(crate) async fn copy_and_stop(&self) {
        let outcome = self.run_once(Phase::Streaming, async {}, Control::Stop).await;
        assert_eq!(outcome.unwrap(), Outcome::Stopped);
    }
}

/// Runs statements over a session of their own; a line `--` alone separates transactions.
pub(crate) async fn execute(options: &ConnectOptions, sql: &str) {
    let client = session(options).await;
    for part in sql.split("\n--\n") {
        if let Err(error) = client.batch_execute(part).await {
            panic!("{error}: {:?} in\n{part}", error.as_db_error());
        }
    }
    client.close().await;
}

/// A session that finds the tables of `public`.
pub(crate) async fn session(options: &ConnectOptions) -> SqlClient {
    let client = SqlClient::connect(options).await.unwrap();
    client.batch_execute("SET search_path = public").await.unwrap();
    client
}

/// What is logged while `work` is done. All of a stream is in the thread of its test.
pub(crate) async fn logged<T>(work: impl Future<Output = T>) -> (T, String) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let writer = Arc::new(log.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer);
    let listening = tracing::subscriber::set_default(subscriber.finish());
    let done = work.await;
    drop(listening);
    (done, std::fs::read_to_string(log.path()).unwrap())
}

/// Both ends give the same rows to a query.
pub(crate) async fn assert_same_rows(stream: &Stream, sql: &str) {
    assert_eq!(rows(&stream.target, sql).await, rows(&stream.source, sql).await, "{sql}");
}

/// A source that has looked, of a stream that has nothing yet.
pub(crate) async fn looked(options: PostgresSourceOptions) -> PostgresSource {
    let mut source = PostgresSource::new(options);
    source.inspect(&Checkpoint::default(), &Stats::default()).await.unwrap();
    source
}

/// All rows of a query, as text, sorted.
pub(crate) async fn rows(options: &ConnectOptions, sql: &str) -> Vec<String> {
    let client = session(options).await;
    let sql = format!("SELECT \"the row\"::text FROM ({sql}) \"the row\" ORDER BY 1");
    let rows = client.query(&sql, &[]).await;
    let rows = rows.unwrap_or_else(|error| panic!("{:?} in {sql}", error.as_db_error()));
    client.close().await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// The tables with rows of a database, each with its columns by name.
async fn tables(options: &ConnectOptions) -> BTreeMap<TableName, BTreeSet<String>> {
    let client = SqlClient::connect(options).await.unwrap();
    let sql = "SELECT n.nspname, c.relname, array(
                   SELECT attname::text FROM pg_attribute
                    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND n.nspname <> 'sgstream'
                  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";
    let rows = client.query(sql, &[]).await.unwrap();
    client.close().await;
    rows.iter()
        .map(|row| {
            let columns: Vec<String> = row.get(2);
            let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
            (name, columns.into_iter().collect())
        })
        .collect()
}

/// What a catalogue says of tables, columns, constraints, indexes and sequences.
const FACTS: &str = "
SELECT 'column', a.attrelid::regclass::text, a.attname::text, format_type(a.atttypid, a.atttypmod) || ' '
       || a.attnotnull::text || ' ' || a.attidentity::text || ' ' || a.attgenerated::text || ' '
       || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relkind IN ('r', 'p', 'v') AND a.attnum > 0 AND NOT a.attisdropped
   AND c.relnamespace IN (SELECT oid FROM spaces)
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) || ' ' || convalidated
  FROM pg_constraint WHERE contype <> 'n' AND connamespace IN (SELECT oid FROM spaces)
UNION ALL
SELECT 'index', c.oid::regclass::text, '', pg_get_indexdef(c.oid) || ' ' || i.indisvalid
  FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid WHERE c.relnamespace IN (SELECT oid FROM spaces)
UNION ALL
SELECT 'trigger', tgrelid::regclass::text, tgname::text, tgenabled::text
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE NOT tgisinternal AND c.relnamespace IN (SELECT oid FROM spaces)
UNION ALL
SELECT 'partition', c.oid::regclass::text, '', pg_get_expr(c.relpartbound, c.oid)
  FROM pg_class c WHERE c.relispartition AND c.relkind IN ('r', 'p') AND c.relnamespace IN (SELECT oid FROM spaces)";

/// Facts that differ are printed; sequences with their values.
pub(crate) async fn facts(options: &ConnectOptions) -> Vec<String> {
    let spaces = "WITH spaces AS (SELECT oid FROM pg_namespace WHERE nspname <> 'sgstream'
                  AND nspname !~ '^pg_' AND nspname <> 'information_schema')";
    let mut facts = rows(options, &format!("{spaces} {FACTS}")).await;
    let client = SqlClient::connect(options).await.unwrap();
    let sequences = client
        .query(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE relkind = 'S' AND nspname <> 'sgstream'",
            &[],
        )
        .await
        .unwrap();
    client.close().await;
    for row in sequences {
        let name: String = row.get(0);
        let state = rows(options, &format!("SELECT last_value, is_called FROM {name}")).await;
        facts.push(format!("(sequence,{name},{})", state.concat()));
    }
    facts.sort();
    facts
}

fn differences(source: &[String], target: &[String]) -> Option<String> {
    if source == target {
        return None;
    }
    let mut counts: BTreeMap<&String, i64> = BTreeMap::new();
    source.iter().for_each(|row| *counts.entry(row).or_default() += 1);
    target.iter().for_each(|row| *counts.entry(row).or_default() -= 1);
    let shown = |wanted: fn(i64) -> bool| -> Vec<String> {
        let found = counts.iter().filter(|(_, count)| wanted(**count));
        found.take(5).map(|(row, _)| row.chars().take(300).collect()).collect()
    };
    Some(format!(
        "{} rows, {} at the target\n  only at the source: {:#?}\n  only at the target: {:#?}",
        source.len(),
        target.len(),
        shown(|count| count > 0),
        shown(|count| count < 0)
    ))
}

/// A shape: what is there, what happens, what is expected.
pub(crate) struct Check<'a> {
    pub(crate) schema: &'a str,
    pub(crate) changes: &'a str,
    /// What is at the target beforehand; `None`: nothing, the schema is imported.
    pub(crate) target: Option<&'a str>,
    /// Runs at the target together with `changes` at the source, before them.
    pub(crate) target_changes: &'a str,
    /// How the source database is made: `ENCODING LATIN1 …`.
    pub(crate) database: &'a str,
    pub(crate) includes: &'a [&'a str],
    pub(crate) excludes: &'a [&'a str],
    pub(crate) publication: AutoCreate,
    pub(crate) via_root: bool,
    /// Tables that are compared; empty: all.
    pub(crate) compared: &'a [&'a str],
    /// Whether columns, constraints, indexes and sequences are compared too.
    pub(crate) facts: bool,
    /// Queries whose answers at the target are known: `(query, rows)`.
    pub(crate) expect: &'a [(&'a str, &'a [&'a str])],
    /// Whether only one run is made, of the oldest server: for what is slow.
    pub(crate) once: bool,
}

impl<'a> Check<'a> {
    pub(crate) const fn new(schema: &'a str, changes: &'a str) -> Self {
        Self {
            schema,
            changes,
            target: None,
            target_changes: "",
            database: "",
            includes: &[],
            excludes: &[],
            publication: AutoCreate::Filtered,
            via_root: false,
            compared: &[],
            facts: true,
            expect: &[],
            once: false,
        }
    }
}

/// How the changes meet the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Road {
    /// They come while it streams.
    Live,
    /// They come while it is stopped, and all at once; values in text form.
    BacklogOfText,
    /// They come while it streams, in batches of one change.
    TinyBatches,
    /// They are sent one by one before their transactions end.
    InProgress,
}

/// [`run`] with nothing special.
pub(crate) async fn check(schema: &str, changes: &str) {
    run(&Check::new(schema, changes)).await;
}

/// Streams the snapshot and then the changes, on several roads and between several servers, and compares
/// everything.
pub(crate) async fn run(check: &Check<'_>) {
    let majors = testing::majors();
    let (oldest, newest) = (*majors.first().unwrap(), *majors.last().unwrap());
    let mut roads = vec![
        (oldest, oldest, Road::Live),
        (newest, newest, Road::BacklogOfText),
        (oldest, newest, Road::TinyBatches),
        (newest, newest, Road::InProgress),
    ];
    if check.once {
        roads.truncate(1);
    }
    let mut problems = Vec::new();
    for (from, to, road) in roads {
        if let Some(problem) = run_on(check, testing::server(from), testing::server(to), road).await
        {
            problems.push(format!("from {from} to {to}, {road:?}:\n{problem}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Two databases, the first with `schema`.
pub(crate) async fn databases(schema: &str) -> (TestDatabase<'static>, TestDatabase<'static>) {
    databases_of(testing::server(testing::oldest_major()), schema).await
}

/// Two databases of `server`, the first with `schema`.
pub(crate) async fn databases_of<'a>(
    server: &'a Server,
    schema: &str,
) -> (TestDatabase<'a>, TestDatabase<'a>) {
    let (from, to) =
        (TestDatabase::create(server).await.unwrap(), TestDatabase::create(server).await.unwrap());
    from.execute(schema).await.unwrap();
    (from, to)
}

/// A database made as `options` say, dropped at its end.
pub(crate) async fn database<'a>(server: &'a Server, options: &str) -> TestDatabase<'a> {
    let database = TestDatabase::create(server).await.unwrap();
    if !options.is_empty() {
        let name = Ident(database.name());
        server.execute("postgres", &format!("DROP DATABASE {name}")).await.unwrap();
        server.execute("postgres", &format!("CREATE DATABASE {name} {options}")).await.unwrap();
    }
    database
}

async fn run_on(check: &Check<'_>, from: &Server, to: &Server, road: Road) -> Option<String> {
    let (from, to) = (database(from, check.database).await, database(to, "").await);
    let mut stream = Stream::new(&from, &to);
    execute(&stream.source, check.schema).await;
    if road == Road::BacklogOfText {
        // A type that has no binary form of its own meaning.
        execute(&stream.source, "CREATE TABLE public.text_road (r regclass)").await;
    }
    if let Some(target) = check.target {
        stream.import = false;
        execute(&stream.target, target).await;
        if road == Road::BacklogOfText {
            execute(&stream.target, "CREATE TABLE public.text_road (r regclass)").await;
        }
    }
    stream.includes = check.includes.iter().map(|&one| one.to_owned()).collect();
    stream.excludes = check.excludes.iter().map(|&one| one.to_owned()).collect();
    if road == Road::BacklogOfText && !stream.includes.is_empty() {
        stream.includes.push(r"public\.text_road".to_owned());
    }
    stream.publication = check.publication;
    stream.via_root = check.via_root;
    if road == Road::TinyBatches {
        stream.batch_bytes = 1;
    }
    let spool = tempfile::tempdir().unwrap();
    if road == Road::InProgress {
        let options =
            "logical_decoding_work_mem = '64kB'; debug_logical_replication_streaming = immediate";
        for option in options.split("; ") {
            let sql = format!("ALTER DATABASE {} SET {option}", Ident(from.name()));
            execute(&stream.source, &sql).await;
        }
        let directory = spool.path().to_owned();
        stream.plugin.streaming = Streaming::InProgress { directory, parallel: false };
    }
    let changes = async {
        execute(&stream.target, check.target_changes).await;
        execute(&stream.source, check.changes).await;
    };
    let outcome = stream.meet(changes, road == Road::BacklogOfText).await;
    match outcome {
        Ok(Outcome::Completed) => compare(check, &stream).await,
        other => Some(format!("{other:?}")),
    }
}

async fn compare(check: &Check<'_>, stream: &Stream) -> Option<String> {
    let (source, target) = (tables(&stream.source).await, tables(&stream.target).await);
    let mut problems = Vec::new();
    for (name, columns) in &source {
        let wanted = check.compared.is_empty() || check.compared.contains(&&*name.to_string());
        if !wanted {
            continue;
        }
        let Some(there) = target.get(name) else {
            problems.push(format!("{name} is not at the target"));
            continue;
        };
        let columns = list(columns.intersection(there).map(|column| Ident(column)));
        let sql = format!("SELECT {columns} FROM {}", name.quoted());
        let found =
            differences(&rows(&stream.source, &sql).await, &rows(&stream.target, &sql).await);
        problems.extend(found.map(|found| format!("{name} differs: {found}")));
    }
    if check.facts && check.target.is_none() {
        let found = differences(&facts(&stream.source).await, &facts(&stream.target).await);
        problems.extend(found.map(|found| format!("the catalogue differs: {found}")));
    }
    for (sql, expected) in check.expect {
        let found = rows(&stream.target, sql).await;
        if found != *expected {
            problems.push(format!("{sql}: {found:?}, expected {expected:?}"));
        }
    }
    (!problems.is_empty()).then(|| problems.join("\n"))
}

/// Waits until a question, which may fail at first, is answered with yes.
pub(crate) async fn until(options: &ConnectOptions, question: &str, patience: Duration) {
    let client = session(options).await;
    let asked = async {
        while !client.query_one(question, &[]).await.is_ok_and(|row| row.get(0)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(patience, asked).await.is_ok(), "never came true: {question}");
}
