//! The catalogue, the publication, the slot and the preflight against a real server.

#![expect(clippy::unwrap_used, reason = "the helpers of the tests fail as the tests do")]

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use stream_core::copy::{CopyFormat, Range};
use stream_core::filter::TableFilter;
use stream_core::lsn::Lsn;
use stream_core::postgres::blocker::blockers;
use stream_core::postgres::capture::{Captured, CapturedTable, capture, measure};
use stream_core::postgres::catalog::{Generated, Identity, TableKind, read_tables};
use stream_core::postgres::preflight::{SourceProblem, check, identity_sql};
use stream_core::postgres::publication::{self, AutoCreate, PublicationError, Rule};
use stream_core::postgres::slot::{self, Expected, SlotProblem, SlotType};
use stream_core::relation::{ReplicaIdentity, TableName};
use stream_core::snapshot::plan::{copy_sql, plan};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

/// A server of the test's own, shared by the tests that run at the same time.
struct Server {
    directory: tempfile::TempDir,
    port: u16,
}

impl Server {
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server =
                Arc::new(Self::start(&["wal_level=logical", "max_prepared_transactions=5"]));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    fn start(settings: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("catalog-").tempdir_in("/tmp").unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(directory.path()));
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let data = directory.path().join("data");
        run(program("initdb").args(["-N", "-A", "trust", "-U", "postgres", "-D"]).arg(&data));
        let mut options = format!(
            "-p {port} -c fsync=off -c listen_addresses=127.0.0.1 -c unix_socket_directories={}",
            directory.path().display()
        );
        settings.iter().for_each(|setting| options.push_str(&format!(" -c {setting}")));
        let server = Self { directory, port };
        run(program("pg_ctl")
            .arg("-D")
            .arg(&data)
            .args(["-w", "-l", "/dev/null", "-o", &options])
            .arg("start"));
        server
    }

    async fn connect(&self, database: &str, user: &str, options: &str) -> Session {
        let config = format!(
            "host=127.0.0.1 port={} dbname={database} user={user} options='{options}'",
            self.port
        );
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _ended = connection.await;
        });
        Session { client, _driver: driver }
    }

    /// A database of this name with the tables of `sql`, and a session as the stream has it.
    async fn database(&self, name: &str, sql: &str) -> Session {
        let admin = self.connect("postgres", "postgres", "").await;
        admin.client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        self.connect(name, "postgres", "").await.client.batch_execute(sql).await.unwrap();
        self.stream(name, "postgres").await
    }

    async fn stream(&self, database: &str, user: &str) -> Session {
        self.connect(database, user, "-c search_path=pg_catalog -c row_security=off").await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.directory.path().join("data");
        let _stopped =
            program("pg_ctl").arg("-D").arg(data).args(["-m", "immediate", "stop"]).output();
    }
}

struct Session {
    client: Client,
    _driver: JoinSet<()>,
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A PostgreSQL program, run as a user who may start a server.
fn program(name: &str) -> Command {
    let path = format!("/usr/lib/postgresql/15/bin/{name}");
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
    command
}

fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
}

async fn captured(client: &Client, includes: &[&str], excludes: &[&str]) -> Captured {
    let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let filter = TableFilter::new(&owned(includes), &owned(excludes)).unwrap();
    capture(&read_tables(client).await.unwrap(), &filter)
}

fn shown(tables: &[CapturedTable]) -> Vec<String> {
    tables.iter().map(|table| table.name.to_string()).collect()
}

fn published(captured: &Captured) -> Vec<String> {
    captured.published().iter().map(ToString::to_string).collect()
}

fn find<'a>(captured: &'a Captured, name: &str) -> &'a CapturedTable {
    captured.all().find(|table| table.name.to_string() == name).unwrap()
}

const PARTITIONS: &str = "
    CREATE SCHEMA parts;
    CREATE TABLE orders (id int, at int, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE parts.orders_1 PARTITION OF orders FOR VALUES FROM (0) TO (10);
    CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM (10) TO (20) PARTITION BY LIST (at);
    CREATE TABLE parts.orders_2a PARTITION OF orders_2 FOR VALUES IN (11);
    CREATE UNLOGGED TABLE orders_2u PARTITION OF orders_2 FOR VALUES IN (12);
    CREATE TABLE nothing (id int) PARTITION BY LIST (id);
    CREATE TABLE plain (id int PRIMARY KEY);
    CREATE TABLE plain_child () INHERITS (plain);";

const KINDS: &str = r#"
    CREATE SCHEMA "S p";
    CREATE DOMAIN "S p".amount AS numeric(10,2);
    CREATE TABLE "S p"."a""b.c" (
        dropped int, "select" text NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY,
        n int GENERATED BY DEFAULT AS IDENTITY, twice int GENERATED ALWAYS AS (n * 2) STORED,
        price "S p".amount, tags varchar(10)[],
        PRIMARY KEY (id, "select") INCLUDE (price));
    ALTER TABLE "S p"."a""b.c" DROP COLUMN dropped;
    CREATE TABLE no_columns ();
    CREATE TABLE no_key (x int);
    CREATE TABLE full_identity (x int, y int GENERATED ALWAYS AS (x) STORED);
    ALTER TABLE full_identity REPLICA IDENTITY FULL;
    CREATE TABLE by_index (id int PRIMARY KEY, code text NOT NULL UNIQUE);
    ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_code_key;
    CREATE TABLE nothing (id int PRIMARY KEY);
    ALTER TABLE nothing REPLICA IDENTITY NOTHING;
    CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE);
    CREATE UNLOGGED TABLE unlogged (x int);
    CREATE MATERIALIZED VIEW seen AS SELECT 1 AS x;
    CREATE VIEW just_a_view AS SELECT 1 AS x;
    CREATE FOREIGN DATA WRAPPER nowhere;
    CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere;
    CREATE FOREIGN TABLE far (x int) SERVER elsewhere;
    CREATE TABLE owned_by_extension (x int);
    ALTER EXTENSION plpgsql ADD TABLE owned_by_extension;
    SELECT lo_create(0);"#;

#[tokio::test]
async fn every_table_is_captured_or_left_out_with_a_reason() {
    let server = Server::shared();
    let session = server.database("kinds", KINDS).await;
    // The same temporary table in two sessions is named once.
    let mut others = Vec::new();
    for _ in 0..2 {
        let other = server.connect("kinds", "postgres", "").await;
        other.client.batch_execute("CREATE TEMPORARY TABLE passing (x int)").await.unwrap();
        others.push(other);
    }
    let all = captured(&session.client, &[], &[]).await;
    assert_eq!(
        shown(&all.tables),
        [
            "S p.a\"b.c",
            "public.by_index",
            "public.deferred",
            "public.full_identity",
            "public.no_columns",
            "public.no_key",
            "public.nothing",
        ]
    );
    assert!(all.partitioned.is_empty() && all.unmatched.is_empty() && all.has_large_objects);
    let left_out: Vec<_> = all.left_out.iter().map(ToString::to_string).collect();
    assert_eq!(
        left_out,
        [
            "table `pg_temp.passing` is not captured: a temporary table has no changes in the log",
            "table `public.far` is not captured: the rows of a foreign table live on another server",
            "table `public.owned_by_extension` is not captured: it belongs to extension \"plpgsql\"",
            "table `public.seen` is not captured: a materialised view is computed from other \
             tables, not logged",
            "table `public.unlogged` is not captured: an unlogged table has no changes in the log; \
             to capture it: `ALTER TABLE \"public\".\"unlogged\" SET LOGGED`",
        ]
    );
}

#[tokio::test]
async fn columns_keys_and_identities_are_described() {
    let server = Server::shared();
    let session = server.database("described", KINDS).await;
    let all = captured(&session.client, &[], &[]).await;
    let table = find(&all, "S p.a\"b.c");
    let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["select", "id", "n", "price", "tags"]);
    assert_eq!(table.primary_key, ["id", "select"]);
    assert_eq!(table.identity_columns, ["select", "id"]);
    let column = |name: &str| table.columns.iter().find(|column| column.name == name).unwrap();
    assert_eq!(column("select").number, 2);
    assert_eq!(column("id").identity, Some(Identity::Always));
    assert_eq!(column("n").identity, Some(Identity::ByDefault));
    assert_eq!(column("price").type_name, "\"S p\".amount");
    assert_eq!(column("tags").type_name, "character varying(10)[]");
    assert!(column("select").not_null && !column("price").not_null);
    assert!(table.readable && table.schema_usable && table.by_ctid && table.owned);

    assert_eq!(find(&all, "public.by_index").identity_columns, ["code"]);
    assert_eq!(find(&all, "public.full_identity").identity_columns, ["x"]);
    let without: Vec<_> = all.without_identity().map(identity_sql).collect();
    assert_eq!(
        without,
        [
            "ALTER TABLE \"public\".\"deferred\" REPLICA IDENTITY FULL",
            "ALTER TABLE \"public\".\"no_columns\" REPLICA IDENTITY FULL",
            "ALTER TABLE \"public\".\"no_key\" REPLICA IDENTITY FULL",
            "ALTER TABLE \"public\".\"nothing\" REPLICA IDENTITY DEFAULT",
        ]
    );

    let catalog = read_tables(&session.client).await.unwrap();
    let described = catalog.tables.iter().find(|one| one.id == table.id).unwrap();
    assert_eq!(described.kind, TableKind::Ordinary);
    assert_eq!(described.replica_identity, ReplicaIdentity::Default);
    let twice = described.columns.iter().find(|column| column.name == "twice").unwrap();
    assert_eq!(twice.generated, Some(Generated::Stored));
}

#[tokio::test]
async fn a_filter_on_columns_says_what_it_breaks() {
    let server = Server::shared();
    let session = server.database("filtered", KINDS).await;
    let some = captured(
        &session.client,
        &["public\\.by_index\\..*", "nowhere"],
        &[".*\\.id", "public.f.*"],
    )
    .await;
    let table = find(&some, "public.by_index");
    assert_eq!(table.columns.len(), 1);
    assert!(table.primary_key.is_empty() && !table.all_columns);
    assert_eq!(table.missing_key_columns, ["id"]);
    assert_eq!(some.unmatched.len(), 1);
}

#[tokio::test]
async fn a_partition_is_captured_once_under_the_uppermost_captured_name() {
    let server = Server::shared();
    let session = server.database("partitions", PARTITIONS).await;
    let all = captured(&session.client, &[], &[]).await;
    assert_eq!(
        shown(&all.tables),
        ["parts.orders_1", "parts.orders_2a", "public.plain", "public.plain_child"]
    );
    assert_eq!(shown(&all.partitioned), ["public.nothing", "public.orders", "public.orders_2"]);
    assert_eq!(
        published(&all),
        ["public.nothing", "public.orders", "public.plain", "public.plain_child"]
    );
    let leaf = find(&all, "parts.orders_2a");
    assert_eq!(
        leaf.ancestors,
        [TableName::new("public", "orders_2"), TableName::new("public", "orders")]
    );
    assert_eq!(leaf.root(), Some(&TableName::new("public", "orders")));
    assert!(find(&all, "public.plain_child").ancestors.is_empty());
    assert_eq!(shown(&all.tables).len() + 1, all.tables.len() + all.left_out.len());

    let by_root = captured(&session.client, &["public.orders"], &["parts.orders_1"]).await;
    assert_eq!(shown(&by_root.tables), ["parts.orders_2a"]);
    assert_eq!(published(&by_root), ["public.orders"]);
    let by_leaf = captured(&session.client, &["parts"], &[]).await;
    assert_eq!(published(&by_leaf), ["parts.orders_1", "parts.orders_2a"]);
    let middle = captured(&session.client, &["public.orders_2"], &[]).await;
    assert_eq!(published(&middle), ["public.orders_2"]);
}

#[tokio::test]
async fn a_publication_is_made_extended_and_dropped() {
    let server = Server::shared();
    let session = server.database("publications", PARTITIONS).await;
    let client = &session.client;
    let some = captured(client, &["public.plain"], &[]).await;
    let disabled = publication::ensure(client, "p \"q", &some, false, AutoCreate::Disabled).await;
    let Err(PublicationError::Missing { sql, .. }) = disabled else { panic!("{disabled:?}") };
    assert_eq!(
        sql,
        "CREATE PUBLICATION \"p \"\"q\" FOR TABLE ONLY \"public\".\"plain\" \
         WITH (publish_via_partition_root = false)"
    );
    let made =
        publication::ensure(client, "p \"q", &some, false, AutoCreate::Filtered).await.unwrap();
    assert!(made.created && made.added.is_empty() && made.missing.is_empty());
    assert!(!made.publication.via_partition_root && made.publication.operations.truncate);
    assert_eq!(made.publication.tables.len(), 1);

    let all = captured(client, &[], &[]).await;
    let left =
        publication::ensure(client, "p \"q", &all, false, AutoCreate::NoTables).await.unwrap();
    assert_eq!(left.missing.len(), 3);
    let more =
        publication::ensure(client, "p \"q", &all, true, AutoCreate::Filtered).await.unwrap();
    let added: Vec<_> = more.added.iter().map(ToString::to_string).collect();
    assert_eq!(added, ["public.nothing", "public.orders", "public.plain_child"]);
    assert!(!more.created && more.missing.is_empty());
    let again =
        publication::ensure(client, "p \"q", &all, true, AutoCreate::Filtered).await.unwrap();
    assert!(!again.created && again.added.is_empty() && again.missing.is_empty());

    let whole =
        publication::ensure(client, "all", &all, true, AutoCreate::AllTables).await.unwrap();
    assert!(whole.created && whole.publication.all_tables && whole.publication.via_partition_root);
    let nothing = Captured::default();
    let empty = publication::ensure(client, "none", &nothing, false, AutoCreate::Filtered).await;
    assert!(empty.unwrap().publication.tables.is_empty());
    for name in ["p \"q", "all", "none", "none"] {
        publication::drop(client, name).await.unwrap();
        assert_eq!(publication::read(client, name).await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_users_own_publication_is_honoured_whole() {
    let server = Server::shared();
    let session = server.database("honoured", PARTITIONS).await;
    let client = &session.client;
    client
        .batch_execute(
            "CREATE PUBLICATION by_root FOR TABLE public.orders (id, at) WHERE (at < 5)
                WITH (publish_via_partition_root, publish = 'insert');
             CREATE PUBLICATION by_leaf FOR TABLE public.orders, parts.orders_1 WHERE (at > 3);
             CREATE PUBLICATION by_schema FOR TABLES IN SCHEMA public;
             CREATE TABLE public.no_key (x int);",
        )
        .await
        .unwrap();
    let all = captured(client, &[], &[]).await;
    let read = async |name| publication::read(client, name).await.unwrap().unwrap();
    let (one, two) = (find(&all, "parts.orders_1"), find(&all, "parts.orders_2a"));

    let by_root = read("by_root").await;
    let columns = ["id".to_owned(), "at".to_owned()];
    let rule = Rule { row_filter: Some("(at < 5)"), columns: Some(&columns) };
    assert_eq!((by_root.rule(one), by_root.rule(two)), (Some(rule), Some(rule)));
    assert_eq!(by_root.rule(find(&all, "public.plain")), None);
    assert!(by_root.operations.insert && !by_root.operations.update);
    assert_eq!(check(client, &all, "s", Some(&by_root)).await.unwrap(), []);
    let refused = check(client, &all, "s", None).await.unwrap();
    assert!(matches!(&refused[..], [SourceProblem::NoReplicaIdentity { .. }]), "{refused:?}");

    let by_leaf = read("by_leaf").await;
    assert_eq!(by_leaf.rule(one).unwrap().row_filter, Some("(at > 3)"));
    assert_eq!(by_leaf.rule(two), Some(Rule::default()));

    let by_schema = read("by_schema").await;
    assert_eq!(by_schema.schemas, ["public"]);
    assert!(all.all().all(|table| by_schema.rule(table) == Some(Rule::default())));
    let kept = publication::ensure(client, "by_schema", &all, false, AutoCreate::Filtered).await;
    assert!(kept.unwrap().added.is_empty());
}

#[tokio::test]
async fn a_role_without_rights_is_told_every_statement_to_run() {
    let server = Server::shared();
    let session = server
        .database(
            "rights",
            "CREATE ROLE \"Reader\" LOGIN;
             CREATE SCHEMA shut;
             CREATE TABLE shut.t (id int PRIMARY KEY);
             CREATE TABLE readable (id int PRIMARY KEY);
             CREATE TABLE in_part (id int PRIMARY KEY, secret text);
             CREATE TABLE locked (id int PRIMARY KEY);
             CREATE TABLE policed (id int PRIMARY KEY);
             ALTER TABLE policed ENABLE ROW LEVEL SECURITY;
             CREATE TABLE no_key (id int);
             GRANT SELECT ON readable, policed, no_key TO \"Reader\";
             GRANT SELECT (id) ON in_part TO \"Reader\";",
        )
        .await;
    let reader = server.stream("rights", "Reader").await;
    let client = &reader.client;
    let some = captured(client, &[], &["public.in_part.secret"]).await;
    let table = find(&some, "public.in_part");
    assert!(table.readable && !table.by_ctid);
    let problems = check(client, &some, "s", None).await.unwrap();
    let sql: Vec<_> = problems
        .iter()
        .map(|problem| match problem {
            SourceProblem::NoReplicationRight { sql, .. }
            | SourceProblem::NotReadable { sql, .. }
            | SourceProblem::RowSecurity { sql, .. }
            | SourceProblem::NoReplicaIdentity { sql, .. } => sql.as_str(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(
        sql,
        [
            "ALTER ROLE \"Reader\" REPLICATION",
            "GRANT USAGE ON SCHEMA \"shut\" TO \"Reader\"; \
             GRANT SELECT ON \"public\".\"locked\", \"shut\".\"t\" TO \"Reader\"",
            "ALTER ROLE \"Reader\" BYPASSRLS",
            "ALTER TABLE \"public\".\"no_key\" REPLICA IDENTITY FULL",
        ]
    );
    let blocking: Vec<_> = problems.iter().map(SourceProblem::is_blocking).collect();
    assert_eq!(blocking, [true, true, true, false]);

    let refused = publication::ensure(client, "p", &some, false, AutoCreate::Filtered).await;
    let Err(PublicationError::NeedsOwner { sql: for_owner, .. }) = refused else {
        panic!("{refused:?}")
    };
    session.client.batch_execute(&for_owner).await.unwrap();
    session.client.batch_execute(&sql.join(";")).await.unwrap();
    let some = captured(client, &[], &["public.in_part.secret"]).await;
    assert_eq!(check(client, &some, "s", None).await.unwrap(), []);
    let found = publication::ensure(client, "p", &some, false, AutoCreate::Filtered).await.unwrap();
    assert!(!found.created && found.missing.is_empty());
}

#[tokio::test]
async fn a_server_without_logical_wal_or_room_is_named() {
    let server =
        Server::start(&["wal_level=replica", "max_replication_slots=1", "max_wal_senders=0"]);
    let session = server.stream("postgres", "postgres").await;
    let before = check(&session.client, &Captured::default(), "s", None).await.unwrap();
    assert_eq!(
        before,
        [
            SourceProblem::WalLevel { value: "replica".to_owned() },
            SourceProblem::NoFreeSender { max: 0 },
        ]
    );
    assert!(before[0].to_string().contains("`ALTER SYSTEM SET wal_level = 'logical'`"));
    let sql = "SELECT pg_create_physical_replication_slot('left_behind')";
    session.client.batch_execute(sql).await.unwrap();
    let full = check(&session.client, &Captured::default(), "s", None).await.unwrap();
    let inactive = vec!["left_behind".to_owned()];
    assert_eq!(full[1], SourceProblem::NoFreeSlot { max: 1, inactive });
    assert!(full[1].to_string().contains("not in use: `left_behind`"), "{}", full[1]);
    let own = check(&session.client, &Captured::default(), "left_behind", None).await.unwrap();
    assert_eq!(own.len(), 2);
}

#[tokio::test]
async fn a_slot_is_read_judged_and_dropped() {
    let server = Server::shared();
    let session = server.database("slots", "").await;
    let client = &session.client;
    assert_eq!(slot::state(client, "read_slot").await.unwrap(), None);
    assert!(!slot::drop(client, "read_slot").await.unwrap());
    let sql = "SELECT pg_create_logical_replication_slot('read_slot', 'pgoutput')";
    client.batch_execute(sql).await.unwrap();
    let state = slot::state(client, "read_slot").await.unwrap().unwrap();
    assert_eq!((state.slot_type, state.temporary), (SlotType::Logical, false));
    assert_eq!(state.database.as_deref(), Some("slots"));
    assert!(state.restart_lsn < state.confirmed_flush && state.active_pid.is_none());

    let position = slot::server_position(client).await.unwrap();
    let expected = Expected {
        slot: "read_slot",
        database: "slots",
        stored: state.confirmed_flush,
        server: position,
    };
    slot::judge(Some(&state), &expected).unwrap();
    let ahead = Expected { stored: Some(Lsn::new(u64::MAX)), ..expected };
    let problem = slot::judge(Some(&state), &ahead).unwrap_err();
    assert!(matches!(problem, SlotProblem::ServerBehind { .. }));

    client.batch_execute(&slot::drop_sql("read_slot")).await.unwrap();
    let problem = slot::judge(None, &expected).unwrap_err();
    assert!(matches!(problem, SlotProblem::Dropped { .. }));
}

#[tokio::test]
async fn transactions_that_hold_up_a_slot_are_named_without_their_queries() {
    let server = Server::shared();
    let session = server.database("held_up", "CREATE TABLE t (x int)").await;
    let client = &session.client;
    let writer = server.connect("held_up", "postgres", "-c application_name=importer").await;
    let sql = "BEGIN; INSERT INTO public.t VALUES (1)";
    writer.client.batch_execute(sql).await.unwrap();
    let reader = server.connect("held_up", "postgres", "").await;
    reader.client.batch_execute("BEGIN; SELECT * FROM public.t").await.unwrap();
    let prepared = server.connect("held_up", "postgres", "").await;
    let sql = "BEGIN; INSERT INTO public.t VALUES (2); PREPARE TRANSACTION 'left'";
    prepared.client.batch_execute(sql).await.unwrap();

    // An ordinary session creates a slot, and waits, as a walsender does.
    let creator = server.connect("held_up", "postgres", "").await;
    let pid: i32 = creator.client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let sql = "SELECT pg_create_logical_replication_slot('held_up', 'pgoutput')";
    let create = creator.client.batch_execute(sql);
    let watch = async {
        loop {
            let found = blockers(client, pid).await.unwrap();
            let of = |who: &str| found.iter().any(|one| one.to_string().contains(who));
            if of("importer") && of("`left`") {
                break found;
            }
            tokio::task::yield_now().await;
        }
    };
    let release = async {
        let blockers = tokio::time::timeout(Duration::from_secs(30), watch).await.unwrap();
        writer.client.batch_execute("COMMIT").await.unwrap();
        prepared.client.batch_execute("COMMIT PREPARED 'left'").await.unwrap();
        blockers
    };
    let (created, blockers) = tokio::join!(create, release);
    created.unwrap();
    let ours: Vec<_> =
        blockers.iter().filter(|one| one.database.as_deref() == Some("held_up")).collect();
    assert_eq!(ours.len(), 2, "{blockers:?}");
    assert!(ours.iter().all(|one| one.age.is_some() && one.user.as_deref() == Some("postgres")));
    assert!(ours[1].to_string().starts_with("prepared transaction `left`, user `postgres`"));
    assert!(slot::drop(client, "held_up").await.unwrap());
}

#[tokio::test]
async fn chunks_copy_every_row_once() {
    let server = Server::shared();
    let session = server
        .database(
            "chunks",
            "CREATE TABLE large (id int, pad text, twice int GENERATED ALWAYS AS (id * 2) STORED);
             CREATE TABLE child () INHERITS (large);
             INSERT INTO large SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i;
             INSERT INTO child VALUES (0, 'of the child');
             CREATE TABLE no_columns ();
             INSERT INTO no_columns DEFAULT VALUES;
             CREATE TABLE computed (x int GENERATED ALWAYS AS (1) STORED);
             INSERT INTO computed DEFAULT VALUES;",
        )
        .await;
    let client = &session.client;
    let mut all = captured(client, &[], &[]).await;
    assert!(all.tables.iter().all(|table| table.bytes == 0));
    measure(client, &mut all).await.unwrap();
    let extents: Vec<_> = all.tables.iter().map(CapturedTable::extent).collect();
    let chunks = plan(&extents, 2, 100_000);
    assert!(chunks[0].of > 5 && chunks[0].table.name == "large");

    let mut rows = std::collections::BTreeMap::<_, usize>::new();
    for chunk in &chunks {
        let table = find(&all, &chunk.table.to_string());
        let columns: Vec<_> = table.columns.iter().map(|column| &column.name).collect();
        let text = copy(client, &copy_sql(chunk, &columns, CopyFormat::Text, None)).await;
        *rows.entry(chunk.table.name.clone()).or_default() +=
            text.iter().filter(|&&byte| byte == b'\n').count();
        let binary =
            copy(client, &copy_sql(chunk, &columns, CopyFormat::Binary, Some("true"))).await;
        assert!(binary.starts_with(b"PGCOPY\n"));
        if chunk.range == Range::Whole && columns.is_empty() {
            assert_eq!(text, b"\n");
        }
    }
    let expected = [("child", 1), ("computed", 1), ("large", 5000), ("no_columns", 1)];
    assert!(rows.iter().map(|(name, count)| (name.as_str(), *count)).eq(expected), "{rows:?}");
}

async fn copy(client: &Client, sql: &str) -> Vec<u8> {
    use futures_util::TryStreamExt;
    let stream = client.copy_out(sql).await.unwrap();
    stream
        .try_fold(Vec::new(), async |mut all, part| {
            all.extend_from_slice(&part);
            Ok(all)
        })
        .await
        .unwrap()
}
