//! Imports a schema with one of everything from one server into another.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use stream_core::relation::TableName;
use stream_core::throwaway::Server;
use stream_core::throwaway::testing;
use stream_sinks::postgres::schema::{
    Import, PgDump, Phase, SchemaError, Statement, Wanted, plan_import, rounds, run_pre_data,
    run_statement,
};
use tokio_postgres::{Client, Config, NoTls};

const RICH: &str = include_str!("fixtures/rich_schema.sql");

/// A server of a test's own: roles and event triggers belong to all of its databases.
struct Side(Server);

impl Side {
    fn start() -> Self {
        let settings = [("deadlock_timeout", "100ms")];
        Self(testing::private_server(testing::oldest_major(), &settings))
    }

    fn environment(&self) -> Vec<(String, OsString)> {
        let port = self.0.port().to_string();
        [
            ("PGHOST", "127.0.0.1"),
            ("PGPORT", &port),
            ("PGUSER", self.0.user()),
            ("PGPASSWORD", self.0.password()),
            ("PGDATABASE", "postgres"),
        ]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .to_vec()
    }

    async fn connect(&self) -> (Client, tokio::task::JoinSet<()>) {
        let config: Config = self.0.url("postgres").parse().unwrap();
        let (client, connection) = config.connect(NoTls).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { connection.await.unwrap() });
        (client, tasks)
    }

    async fn run(&self, sql: &str) {
        let (client, _tasks) = self.connect().await;
        client.batch_execute(sql).await.unwrap();
    }

    /// One value, as text.
    async fn value(&self, sql: &str) -> String {
        let (client, _tasks) = self.connect().await;
        client.query_one(&format!("SELECT ({sql})::text"), &[]).await.unwrap().get(0)
    }

    /// The schema as `pg_dump` writes it, without what differs from run to run.
    fn schema(&self) -> Vec<String> {
        let output = Command::new(programs(self.0.major()).join("pg_dump"))
            .envs(self.environment())
            .args(["--schema-only", "--no-publications"])
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
            .map(str::to_owned)
            .collect()
    }
}

/// Where a `pg_dump` is that reads servers of this version.
fn programs(at_least_major: u16) -> PathBuf {
    let program = testing::client("pg_dump", at_least_major).path;
    program.parent().unwrap().to_owned()
}

async fn pg_dump(source: &Side) -> PgDump {
    let major = source.0.major();
    PgDump::find(&[programs(major)], u32::from(major)).await.unwrap()
}

async fn plan(source: &Side, target: &Side, wanted: &Wanted) -> Import {
    let pg_dump = pg_dump(source).await;
    let (client, _tasks) = target.connect().await;
    plan_import(&pg_dump, &source.environment(), &client, wanted).await.unwrap()
}

/// Runs an import; `rows` are written between its halves. Answers with the warnings.
async fn run(target: &Side, import: &Import, rows: &str) -> Vec<String> {
    let (mut client, _tasks) = target.connect().await;
    let transaction = client.transaction().await.unwrap();
    let mut warnings = run_pre_data(&transaction, import).await.unwrap();
    transaction.commit().await.unwrap();
    client.batch_execute(rows).await.unwrap();
    for round in rounds(&import.post_data) {
        let mut tasks = tokio::task::JoinSet::new();
        for statement in round {
            let (mut client, connection) = target.connect().await;
            let statement: Statement = statement.clone();
            tasks.spawn(async move {
                let _connection = connection;
                let transaction = client.transaction().await.unwrap();
                let warning = run_statement(&transaction, &statement).await.unwrap();
                transaction.commit().await.unwrap();
                warning
            });
            // More at a time than a server has connections would test nothing.
            if tasks.len() >= 20 {
                warnings.extend(tasks.join_next().await.unwrap().unwrap());
            }
        }
        while let Some(warning) = tasks.join_next().await {
            warnings.extend(warning.unwrap());
        }
    }
    warnings
}

async fn all_tables(server: &Side) -> BTreeSet<TableName> {
    let (client, _tasks) = server.connect().await;
    let sql =
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|information_)'";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_schema_comes_over_and_once_only() {
    let (source, target) = (Side::start(), Side::start());
    source.run(RICH).await;
    target.run("CREATE ROLE stream_owner").await;
    let mut wanted = Wanted { tables: all_tables(&source).await, everything: true };
    let import = plan(&source, &target, &wanted).await;
    assert_eq!(import.left_out, []);
    assert_eq!(import.warnings, Vec::<String>::new());
    let rows = "
        INSERT INTO app.customers (id, email, score) OVERRIDING SYSTEM VALUE VALUES (1, 'a@b', 3);
        INSERT INTO app.orders (id, customer, room) VALUES (1, 1, 1), (2, 1, 2);
        INSERT INTO app.events VALUES (1, '2024-02-02', 'a', 1), (2, '2025-02-02', 'b', 1);
    ";
    let warnings = run(&target, &import, rows).await;
    // Two grants on the table and its column, and one default privilege.
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    assert!(
        warnings.iter().all(|warning| warning.contains("stream_missing_role")),
        "{warnings:#?}"
    );
    assert_eq!(target.value("SELECT total FROM app.summary_two").await, "2");
    assert_eq!(target.value("SELECT n FROM app.grouped").await, "2");

    target.run("CREATE ROLE stream_missing_role").await;
    for statement in import.post_data.iter().filter(|each| each.phase == Phase::Privilege) {
        target.run(&statement.sql).await;
    }
    assert_same(&source, &target);

    // Again: nothing is made a second time, and a new partition finds its place.
    source
        .run(
            "CREATE TABLE app.events_2026 PARTITION OF app.events
                 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
             CREATE INDEX own_index ON app.events_2026 (kind, at);",
        )
        .await;
    wanted.tables = all_tables(&source).await;
    let again = plan(&source, &target, &wanted).await;
    assert_eq!(run(&target, &again, "").await, Vec::<String>::new());
    assert_same(&source, &target);
    let made: BTreeSet<_> = again.pre_data.iter().map(|each| &*each.kind).collect();
    assert_eq!(made, BTreeSet::from(["OPERATOR", "TABLE", "TABLE ATTACH"]));
}

fn assert_same(source: &Side, target: &Side) {
    let (source, target) = (source.schema(), target.schema());
    let lines: BTreeSet<&String> = target.iter().collect();
    let missing: Vec<_> = source.iter().filter(|line| !lines.contains(line)).collect();
    let lines: BTreeSet<&String> = source.iter().collect();
    let added: Vec<_> = target.iter().filter(|line| !lines.contains(line)).collect();
    assert!(missing.is_empty() && added.is_empty(), "missing {missing:#?}\nadded {added:#?}");
    assert_eq!(source, target, "the order differs");
}

#[tokio::test(flavor = "multi_thread")]
async fn captured_tables_come_with_what_they_need_and_no_more() {
    let (source, target) = (Side::start(), Side::start());
    source.run(RICH).await;
    let odd = TableName::new("odd schema.\"x", "odd table.\"y\nz");
    let app =
        ["customers", "links", "sequenced", "events", "events_2024_a", "events_2025", "child"];
    let mut tables: BTreeSet<_> = app.iter().map(|name| TableName::new("app", *name)).collect();
    tables.insert(odd.clone());
    let import = plan(&source, &target, &Wanted { tables, everything: false }).await;

    let left_out: Vec<_> = import
        .left_out
        .iter()
        .map(|each| (&*each.kind, each.table.as_ref().unwrap().to_string(), &*each.name))
        .collect();
    assert_eq!(left_out, [("FK CONSTRAINT", "app.links".to_owned(), "links links_other_fkey")]);
    let foreign_key = import.left_out.first().unwrap();
    assert_eq!(foreign_key.reason, "it needs table `app.uncaptured`, which is not imported");
    assert_eq!(
        foreign_key.statement.as_deref(),
        Some(
            "ALTER TABLE ONLY app.links\n    ADD CONSTRAINT links_other_fkey FOREIGN KEY (other) \
             REFERENCES app.uncaptured(id);"
        )
    );
    run(&target, &import, "").await;

    let made = all_tables(&target).await;
    let mut expected: BTreeSet<_> = app.iter().map(|name| TableName::new("app", *name)).collect();
    // The parents of partitions and heirs that were asked for.
    expected.extend([odd, TableName::new("app", "parent"), TableName::new("app", "events_2024")]);
    assert_eq!(made, expected);
    let functions = "SELECT string_agg(proname, ',' ORDER BY proname) FROM pg_proc
                     WHERE pronamespace = 'app'::regnamespace AND proname !~ 'span'";
    assert_eq!(target.value(functions).await, "double,next_code,touch");
    let relations = "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class
                     WHERE relnamespace = 'app'::regnamespace AND relkind NOT IN ('r', 'p', 'i', 'I')";
    assert_eq!(target.value(relations).await, "customers_id_seq,pair,used_seq");
    let rest =
        "SELECT concat_ws(' ', (SELECT count(*) FROM pg_policy), (SELECT count(*) FROM pg_trigger
                WHERE NOT tgisinternal), (SELECT string_agg(extname, ',') FROM pg_extension),
                (SELECT count(*) FROM pg_event_trigger), (SELECT string_agg(indexrelid::regclass::text, ',')
                FROM pg_index WHERE NOT indisvalid), obj_description('app.customers'::regclass))";
    // The trigger of the root is counted at its three partitions too. No index is invalid.
    assert_eq!(target.value(rest).await, "1 5 plpgsql,citext 0 who's who; -- really");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_everything_what_hangs_on_other_tables_is_named() {
    let (source, target) = (Side::start(), Side::start());
    source.run(RICH).await;
    // Nothing that hangs on this one is missed: it is as somebody made it.
    target.run("CREATE SCHEMA app; CREATE TABLE app.links (id integer)").await;
    target.run("CREATE TABLE app.parent (id bigint, mine text)").await;
    let mut tables = all_tables(&source).await;
    for name in ["uncaptured", "scratch", "orders"] {
        assert!(tables.remove(&TableName::new("app", name)));
    }
    let import = plan(&source, &target, &Wanted { tables, everything: true }).await;
    let left_out: Vec<_> = import.left_out.iter().map(|each| &*each.name).collect();
    assert_eq!(
        left_out,
        [
            "summary",
            "summary_two",
            "grouped",
            "uncaptured_view",
            "view_on_view",
            "items items_order_id_fkey",
        ]
    );
    assert!(import.pre_data.iter().all(|each| each.name != "parent"));
    assert_eq!(
        import.warnings,
        [
            "role `stream_owner` does not exist at the target: what it owns on the source belongs to `postgres`"
        ]
    );
    run(&target, &import, "").await;
    assert_eq!(target.value("to_regclass('app.orders_id_seq') IS NULL").await, "true");
    assert_eq!(target.value("to_regclass('app.customer_view') IS NOT NULL").await, "true");
    // The table that was there is as it was.
    assert_eq!(
        target.value("SELECT count(*) FROM pg_index WHERE indrelid = 'app.parent'::regclass").await,
        "0"
    );
    assert_eq!(target.value("SELECT count(*) FROM pg_event_trigger").await, "1");
}

#[tokio::test]
async fn a_missing_old_or_failing_pg_dump_is_explained() {
    let none = PgDump::find(&["/nowhere".into()], 15).await.unwrap_err();
    assert!(matches!(none, SchemaError::NoPgDump { .. }), "{none}");

    let directory = tempfile::tempdir().unwrap();
    let old = fake(directory.path(), "echo 'pg_dump (PostgreSQL) 9.6.24'");
    let error = PgDump::find(std::slice::from_ref(&old), 15).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("version 15") && text.contains("pg_dump` (version 9)"), "{text}");
    let fits = testing::client("pg_dump", 15);
    let found = PgDump::find(&[old, programs(15)], 15).await.unwrap();
    assert_eq!((found.major(), found.path()), (u32::from(fits.major), &*fits.path));

    let directory = tempfile::tempdir().unwrap();
    let script = "[ \"$1\" = --version ] && echo 'pg_dump (PostgreSQL) 99.1' && exit
        echo \"no, $PGPASSWORD$HOME\" >&2; exit 3";
    let failing = PgDump::find(&[fake(directory.path(), script)], 15).await.unwrap();
    let server = Side::start();
    let (client, _tasks) = server.connect().await;
    let environment = [("PGPASSWORD".to_owned(), OsString::from("thanks"))];
    let error = plan_import(&failing, &environment, &client, &Wanted::default()).await.unwrap_err();
    // The child sees what it is given, and nothing of ours.
    assert!(error.to_string().ends_with("last words: no, thanks"), "{error}");
    assert!(error.is_retryable());
}

/// Debian's `pg_dump` in the `PATH` is a script that takes longer to start than the dump itself.
#[tokio::test]
async fn a_wrapper_comes_after_the_program_itself() {
    let directory = tempfile::tempdir().unwrap();
    let wrapper = fake(directory.path(), "echo 'pg_dump (PostgreSQL) 15.1'");
    let script = directory.path().join("pg_wrapper");
    std::fs::rename(wrapper.join("pg_dump"), &script).unwrap();
    std::os::unix::fs::symlink(&script, wrapper.join("pg_dump")).unwrap();
    let other = tempfile::tempdir().unwrap();
    let plain = fake(other.path(), "echo 'pg_dump (PostgreSQL) 15.1'");
    let program = PgDump::find(&[wrapper.clone(), plain.clone()], 15).await.unwrap();
    assert_eq!(program.path(), plain.join("pg_dump"));
    let alone = PgDump::find(std::slice::from_ref(&wrapper), 15).await.unwrap();
    assert_eq!(alone.path(), wrapper.join("pg_dump"));
}

/// A program named `pg_dump` that runs a script.
fn fake(directory: &Path, script: &str) -> PathBuf {
    let path = directory.join("pg_dump");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    directory.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_gone_and_a_refused_statement_are_errors() {
    let (source, target) = (Side::start(), Side::start());
    source.run("CREATE TABLE t (id integer); CREATE VIEW v AS SELECT 1 AS one").await;
    let pg_dump = pg_dump(&source).await;
    let (mut client, _tasks) = target.connect().await;
    let gone = TableName::new("public", "gone");
    let wanted = Wanted { tables: BTreeSet::from([gone]), everything: true };
    let error = plan_import(&pg_dump, &source.environment(), &client, &wanted).await.unwrap_err();
    assert!(error.to_string().contains("`public.gone`"), "{error}");

    let wanted = Wanted { tables: all_tables(&source).await, everything: true };
    let import = plan(&source, &target, &wanted).await;
    target.run("CREATE VIEW v AS SELECT 2 AS two").await;
    let transaction = client.transaction().await.unwrap();
    let error = run_pre_data(&transaction, &import).await.unwrap_err();
    assert!(
        error.to_string().starts_with("VIEW `v` cannot be made at the target: relation"),
        "{error}"
    );
    assert!(!error.is_retryable());
}
