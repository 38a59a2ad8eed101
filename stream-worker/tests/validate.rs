//! `stream-worker validate`: everything that is wrong is told at once, and nothing is changed.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by a panic, in its helpers too"
)]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use stream_core::postgres::SqlClient;
use stream_core::throwaway::testing::{self, TestDatabase};
use stream_core::throwaway::{Server, ServerOptions};
use tempfile::TempDir;

/// What a run said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    /// Sees the exit code, and gives the standard output.
    #[track_caller]
    fn ends(self, code: i32) -> String {
        let Self { code: found, out, err } = self;
        assert_eq!(found, Some(code), "{out}{err}");
        out
    }
}

/// Runs `stream-worker validate` in `directory`; no output may hold one of `secrets`.
fn validate(
    directory: &TempDir,
    arguments: &[&str],
    variables: &[(&str, &str)],
    secrets: &[&str],
) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stream-worker"));
    command.arg("validate").args(arguments).current_dir(directory.path());
    command.env("HOME", directory.path()).env_remove("PGPASSWORD").env_remove("PGPASSFILE");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    for secret in secrets {
        assert!(!format!("{out}{err}").contains(secret), "a password in {out}{err}");
    }
    Said { code: output.status.code(), out, err }
}

/// A stream between two addresses.
struct Stream {
    directory: TempDir,
    source: String,
    target: String,
}

impl Stream {
    /// `more` are entries of the source's block.
    fn between(source: String, target: String, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let stream = Self { directory, source, target };
        stream.write(more);
        stream
    }

    fn write(&self, more: &str) {
        let database = |url: &str| url.rsplit('/').next().unwrap().to_owned();
        let yaml = format!(
            "apiVersion: stackgres.io/v1alpha1\nkind: SGStream\nmetadata: {{name: {}}}\nspec:\n  source: {{type: \
             SGCluster, sgCluster: {{name: here, database: {}{more}}}}}\n  target: {{type: SGCluster, sgCluster: \
             {{name: there, database: {}}}}}\n  pods: {{persistentVolume: {{size: 1Gi}}}}\n",
            database(&self.source).replace('_', "-"),
            database(&self.source),
            database(&self.target)
        );
        std::fs::write(self.directory.path().join("stream.yaml"), yaml).unwrap();
    }

    fn connects(&self) -> Said {
        let arguments = ["-f", "stream.yaml", "--connect"];
        let clusters = ["--cluster", "here=env:SOURCE", "--cluster", "there=env:TARGET"];
        let variables = [("SOURCE", self.source.as_str()), ("TARGET", self.target.as_str())];
        let arguments = [&arguments[..], &clusters].concat();
        validate(&self.directory, &arguments, &variables, &["hunter2"])
    }
}

/// The URL with another login.
fn with_login(url: &str, login: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    format!("{scheme}://{login}@{}", rest.rsplit_once('@').unwrap().1)
}

async fn execute(url: &str, sql: &str) {
    let client = SqlClient::connect(&url.parse().unwrap()).await.unwrap();
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("`{sql}`: {error:?}"));
    client.close().await;
}

/// One text from a database.
async fn text(url: &str, sql: &str) -> String {
    let client = SqlClient::connect(&url.parse().unwrap()).await.unwrap();
    let text: Option<String> = client.query_one(sql, &[]).await.unwrap().get(0);
    client.close().await;
    text.unwrap_or_default()
}

/// All that a stream would leave behind: slots, publications, schemas, relations, replica identities.
async fn traces(url: &str) -> String {
    let sql = "SELECT concat((SELECT json_agg(slot_name) FROM pg_replication_slots WHERE database = current_database()),
        (SELECT json_agg(pubname) FROM pg_publication), (SELECT json_agg(nspname ORDER BY 1) FROM pg_namespace WHERE nspname !~ '^pg_'),
        (SELECT json_agg(concat(oid, relname, relreplident) ORDER BY oid) FROM pg_class WHERE oid >= 16384))";
    text(url, sql).await
}

/// Sees that one line of `output` has all of `parts`.
#[track_caller]
fn tells(output: &str, parts: &[&str]) {
    let found = output.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(found, "no line with {parts:?} in\n{output}");
}

/// The statements that the lines with `beginning` say to run.
fn remedies(output: &str, beginning: &str) -> Vec<String> {
    let lines = output.lines().filter(|line| line.starts_with(beginning));
    lines
        .flat_map(|line| line.split("run `").skip(1))
        .filter_map(|rest| Some(rest.split('`').next()?.to_owned()))
        .collect()
}

#[tokio::test]
async fn what_would_be_captured_is_shown_and_both_ends_stay_as_they_are() {
    for major in testing::majors() {
        let source = TestDatabase::create(testing::server(major)).await.unwrap();
        let target = TestDatabase::create(testing::server(major)).await.unwrap();
        source
            .execute(
                "CREATE TABLE public.orders (id int PRIMARY KEY, note text, secret text);
                 INSERT INTO public.orders SELECT i, 'n' || i FROM generate_series(1, 1234) i;
                 ANALYZE public.orders;
                 CREATE TABLE public.events (at timestamptz, what text, of regclass);
                 CREATE TABLE public.days (day date, v int, PRIMARY KEY (day, v)) PARTITION BY RANGE (day);
                 CREATE TABLE public.days_2024 PARTITION OF public.days FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
                 CREATE UNLOGGED TABLE public.scratch (id int);
                 CREATE MATERIALIZED VIEW public.summary AS SELECT count(*) FROM public.orders;
                 SELECT lo_create(0)",
            )
            .await
            .unwrap();
        let more = r", excludes: ['public\.orders\.secret', 'public\.oders']";
        let stream = Stream::between(source.url(), target.url(), more);
        let before = [traces(&stream.source).await, traces(&stream.target).await];
        let said = stream.connects();
        assert!(said.err.contains("1 stream, nothing stands in its way"), "{}", said.err);
        let output = said.ends(0);
        tells(&output, &["public.orders ", "~1,234 ", "KiB", " id ", "2, without secret"]);
        tells(&output, &["public.days_2024 ", " day, v ", "all 2"]);
        tells(&output, &["public.events ", " none "]);
        tells(&output, &["would capture 3 table(s), about 1,234 rows", "copied first"]);
        for parts in [
            ["`public.scratch` is not captured", "`ALTER TABLE \"public\".\"scratch\" SET LOGGED`"],
            ["`public.summary` is not captured", "materialised view"],
            ["`excludes[1]` = `public\\.oders` matches no schema", "correct its spelling"],
            ["1 captured table(s) have no replica identity", "\"events\" REPLICA IDENTITY FULL`"],
            [
                "column `of` of `public.events` has type `regclass`",
                "at the target under the same name",
            ],
            ["large objects", "copy them by other means"],
        ] {
            tells(&output, &[&["warning: source: "][..], &parts].concat());
        }
        let after = [traces(&stream.source).await, traces(&stream.target).await];
        assert_eq!(before, after, "something was changed");
    }
}

/// What the next test copies, for a role that may do nothing.
const SCHEMA: &str = "CREATE SCHEMA far;
        CREATE TABLE far.orders (id int PRIMARY KEY, note text, price numeric(10,2));
        CREATE TABLE far.hidden (id int PRIMARY KEY); ALTER TABLE far.hidden ENABLE ROW LEVEL SECURITY;
        CREATE TABLE far.filled (id int PRIMARY KEY);
        CREATE ROLE reader LOGIN PASSWORD 'hunter2';
        SELECT pg_create_physical_replication_slot('old')";

/// What the next test is told about.
const IN_THE_WAY: [[&str; 2]; 12] = [
    ["error: source: `wal_level` is `replica`", "ALTER SYSTEM SET wal_level"],
    ["error: source: role `reader` may not replicate", "`ALTER ROLE \"reader\" REPLICATION`"],
    ["error: source: a new stream takes three replication slots", "not in use: `old`"],
    [
        "error: source: role `reader` may not read 3 captured table(s)",
        "GRANT USAGE ON SCHEMA \"far\"",
    ],
    ["error: source: row security would hide rows of 1 captured table(s)", "BYPASSRLS"],
    ["error: source: publication `", "run `CREATE PUBLICATION"],
    ["error: target: role `w_", "may not create schema `sgstream`"],
    ["error: target: role `w_", "may not write 1 table(s)"],
    ["error: target: column `note` of `far.orders` is not at the target", "ADD COLUMN"],
    [
        "error: target: column `price` of `far.orders` has type `numeric(10,2)`",
        "TYPE numeric(10,2)",
    ],
    ["error: target: column `needed` of `far.orders`", "DROP NOT NULL"],
    ["warning: target: role `w_", "GRANT SET ON PARAMETER session_replication_role"],
];

#[tokio::test]
async fn all_that_stands_in_the_way_is_told_at_once_and_its_remedies_clear_it() {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let start = |settings: &[(&str, &str)]| {
        let mut options = ServerOptions::kept(testing::binaries(15), home.path().join("server"));
        options.settings =
            settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Server::start(options).unwrap()
    };
    let server = start(&[("wal_level", "replica"), ("max_replication_slots", "3")]);
    server.create_database("s").await.unwrap();
    server.execute("s", SCHEMA).await.unwrap();
    let target = TestDatabase::create(testing::server(15)).await.unwrap();
    let role = format!("w_{}", target.name());
    let there = format!(
        "CREATE SCHEMA far; CREATE TABLE far.orders (id int PRIMARY KEY, price numeric(8,2), needed int NOT NULL);
         CREATE TABLE far.hidden (id int PRIMARY KEY); CREATE TABLE far.filled AS SELECT 1 AS id;
         CREATE ROLE {role} LOGIN PASSWORD 'hunter2'; GRANT USAGE ON SCHEMA far TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON far.filled, far.orders TO {role}"
    );
    target.execute(&there).await.unwrap();
    let url = with_login(&server.url("s"), "reader:hunter2");
    let mut stream =
        Stream::between(url, with_login(&target.url(), &format!("{role}:hunter2")), "");
    let output = stream.connects().ends(2);
    for parts in IN_THE_WAY {
        tells(&output, &parts);
    }

    let superuser = server.url("s");
    for statement in remedies(&output, "error: source: ") {
        if !statement.starts_with("ALTER SYSTEM") {
            execute(&superuser, &statement).await;
        }
    }
    for statement in remedies(&output, "error: target: ") {
        target.execute(&statement).await.unwrap();
    }
    drop(server);
    let server = start(&[("max_replication_slots", "4")]);
    stream.source = with_login(&server.url("s"), "reader:hunter2");
    stream.write("");
    let output = stream.connects().ends(2);
    tells(&output, &["error: target: the target is not empty: `far.filled` holds rows"]);
    assert_eq!(output.matches("error: ").count(), 1, "{output}");
    for statement in remedies(&output, "error: target: ") {
        target.execute(&statement).await.unwrap();
    }
    stream.connects().ends(0);
    let end =
        format!("REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}");
    target.execute(&end).await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_no_mistake_of_the_file() {
    let source = TestDatabase::create(testing::server(15)).await.unwrap();
    source.execute("CREATE TABLE public.orders (id int PRIMARY KEY)").await.unwrap();
    let nobody = "postgres://u@127.0.0.1:1/x".to_owned();
    let stream = Stream::between(source.url(), nobody, "");
    let output = stream.connects().ends(1);
    tells(&output, &["error: target: cannot reach `127.0.0.1:1", "check host and port"]);
    tells(&output, &["would capture 1 table(s)"]);
    let wrong = with_login(&source.url(), "postgres:hunter2");
    let output = Stream::between(wrong, source.url(), "").connects().ends(2);
    tells(&output, &["error: source: cannot log in to", "check the password"]);
}

#[tokio::test]
async fn a_stream_into_its_own_source_is_refused() {
    let source = TestDatabase::create(testing::server(15)).await.unwrap();
    source
        .execute(
            "CREATE TABLE public.orders (id int PRIMARY KEY); INSERT INTO public.orders VALUES (1)",
        )
        .await
        .unwrap();
    let output = Stream::between(source.url(), source.url(), "").connects().ends(2);
    tells(&output, &["error: target: source and target are the same database"]);
    // What the target holds is the source's own.
    assert!(!output.contains("TRUNCATE"), "{output}");
}

#[tokio::test]
async fn what_the_import_of_the_schema_would_meet_is_told() {
    let newest = testing::majors().into_iter().max().unwrap();
    let source = TestDatabase::create(testing::server(15)).await.unwrap();
    let target = TestDatabase::create(testing::server(newest)).await.unwrap();
    let owner = format!("o_{}", source.name());
    source
        .execute(&format!(
            "CREATE ROLE {owner}; CREATE TABLE public.a (id int PRIMARY KEY); CREATE TABLE public.b (a int REFERENCES \
             public.a, PRIMARY KEY (a)); ALTER TABLE public.b OWNER TO {owner}"
        ))
        .await
        .unwrap();
    let stream = Stream::between(source.url(), target.url(), ", includes: ['public.b']");
    let output = stream.connects().ends(0);
    tells(
        &output,
        &[
            "warning: target: FK CONSTRAINT `",
            "b_a_fkey",
            "is not imported",
            "`ALTER TABLE ONLY public.b ADD CONSTRAINT",
        ],
    );
    if newest != 15 {
        tells(&output, &[&format!("role `{owner}` does not exist at the target")]);
    }
    let clusters = ["--cluster", "there=env:TARGET", "--cluster", "hree=env:TARGET"];
    let arguments = [&["-f", "stream.yaml", "--connect"][..], &clusters].concat();
    let variables = [("TARGET", stream.target.as_str())];
    let output = validate(&stream.directory, &arguments, &variables, &[]).ends(2);
    tells(
        &output,
        &["spec.source.sgCluster.name: SGCluster `here` is not known", "--cluster here="],
    );
    tells(&output, &["warning: --cluster hree: no stream names a cluster so"]);
    source.execute(&format!("DROP TABLE public.b; DROP ROLE {owner}")).await.unwrap();
}

#[tokio::test]
async fn a_table_that_somebody_has_locked_is_named_and_not_waited_for() {
    let source = TestDatabase::create(testing::server(15)).await.unwrap();
    let target = TestDatabase::create(testing::server(15)).await.unwrap();
    let tables = "CREATE TABLE public.a (id int PRIMARY KEY); CREATE TABLE public.busy (id int)";
    source.execute(tables).await.unwrap();
    let other = SqlClient::connect(&source.url().parse().unwrap()).await.unwrap();
    other.batch_execute("BEGIN; LOCK TABLE public.busy").await.unwrap();
    let stream = Stream::between(source.url(), target.url(), ", includes: ['public.a']");
    let output = stream.connects().ends(1);
    assert!(output.contains("LOCK TABLE public.busy"), "{output}");
    other.close().await;
    stream.connects().ends(0);
}

#[tokio::test]
async fn a_slot_that_was_made_before_its_publication_is_in_the_way() {
    let source = TestDatabase::create(testing::server(15)).await.unwrap();
    let target = TestDatabase::create(testing::server(15)).await.unwrap();
    let name = source.name();
    source.execute("CREATE TABLE public.a (id int PRIMARY KEY)").await.unwrap();
    let slot = format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')");
    source.execute(&slot).await.unwrap();
    let more = format!(", debeziumProperties: {{slotName: {name}}}");
    let output = Stream::between(source.url(), target.url(), &more).connects().ends(2);
    let beginning = format!("error: source: publication `{name}` did not exist");
    tells(&output, &[&beginning, "run `SELECT pg_drop_replication_slot("]);
}

#[tokio::test]
async fn rules_of_events_that_lead_nowhere_are_warned_of() {
    let source = TestDatabase::create(testing::server(15)).await.unwrap();
    source.execute("CREATE TABLE public.u (id int PRIMARY KEY, g int, email text)").await.unwrap();
    let rules =
        r"{columnMaskWithLengthChars: ['5:public\.u\.emial'], messageKeyColumns: ['public.u:g']}";
    let more = format!(", debeziumProperties: {rules}");
    let stream = Stream::between(source.url(), source.url(), &more);
    let path = stream.directory.path().join("stream.yaml");
    let yaml = std::fs::read_to_string(&path).unwrap();
    let (before, after) = yaml.split_once("  target: ").unwrap();
    let pods = after.split_once("  pods: ").unwrap().1;
    let target = "{type: CloudEvent, cloudEvent: {http: {url: 'http://127.0.0.1:1'}}}";
    std::fs::write(&path, format!("{before}  target: {target}\n  pods: {pods}")).unwrap();
    let arguments = ["-f", "stream.yaml", "--connect", "--cluster", "here=env:SOURCE"];
    let output = validate(&stream.directory, &arguments, &[("SOURCE", &stream.source)], &[]);
    let output = output.ends(0);
    tells(&output, &["warning: source: `columnMaskWithLengthChars[0]` = `public\\.u\\.emial`"]);
    tells(&output, &["`g` for table `public.u`", "`ALTER TABLE \"public\".\"u\" REPLICA IDENTITY"]);
}

#[test]
fn a_file_with_ten_mistakes_gives_ten_lines_each_with_its_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let yaml = "\
apiVersion: stackgres.io/v1alpha1
kind: SGStream
metadata: {name: Orders}
spec:
  source:
    type: SGCluster
    sgCluster:
      databse: shop
      name: here
      username: {name: login, key: user}
      includes: ['public[.']
      debeziumProperties: {snapshotMode: initail, converters: {a: {b: c}}}
  target:
    type: CloudEvent
    cloudEvent: {http: {url: e.example.com, maxInFlight: 0}}
  maxRetries: '3'
  pods:
    persistentVolume: {size: 1GB}
";
    std::fs::write(directory.path().join("stream.yaml"), yaml).unwrap();
    let said = validate(&directory, &["-f", "stream.yaml"], &[], &[]);
    assert!(said.err.contains("10 problems to solve first"), "{}", said.err);
    let output = said.ends(2);
    assert_eq!(output.lines().count(), 10, "{output}");
    for (line, path, remedy) in [
        (3, "metadata.name", "lower-case letters"),
        (8, "spec.source.sgCluster.databse", "did you mean `database`?"),
        (7, "spec.source.sgCluster.password", "set together (or both omitted)"),
        (11, "spec.source.sgCluster.includes[0]", "cannot be used"),
        (12, "spec.source.sgCluster.debeziumProperties.snapshotMode", "did you mean `initial`?"),
        (12, "spec.source.sgCluster.debeziumProperties.converters", "remove it"),
        (15, "spec.target.cloudEvent.http.url", "absolute http:// or https:// URL"),
        (15, "spec.target.cloudEvent.http.maxInFlight", "1"),
        (16, "spec.maxRetries", "remove the quotes"),
        (18, "spec.pods.persistentVolume.size", "a number in Mi, Gi or Ti, as 1Gi"),
    ] {
        tells(&output, &[&format!("stream.yaml:{line}: {path}: "), remedy]);
    }
}

#[test]
fn a_field_that_nothing_reads_yet_is_warned_of_when_it_is_set() {
    let directory = tempfile::tempdir().unwrap();
    let stream = |target: &str, more: &str| {
        let yaml = format!(
            "apiVersion: stackgres.io/v1alpha1\nkind: SGStream\nmetadata: {{name: orders}}\nspec:\n  source: {{type: SGCluster, \
             sgCluster: {{name: here}}}}\n  target: {{type: SGCluster, sgCluster: {{name: there{target}}}}}\n  pods: \
             {{persistentVolume: {{size: 1Gi}}}}\n{more}"
        );
        std::fs::write(directory.path().join("stream.yaml"), yaml).unwrap();
        validate(&directory, &["-f", "stream.yaml"], &[], &[]).ends(0)
    };
    let output = stream(
        ", skipDropIndexesAndConstraints: true, skipDropPrimaryKeys: true, skipRestoreIndexesAfterSnapshot: true, \
         ddlImportRoleSkipFilter: x",
        "  reclaimPolicy: Delete\n",
    );
    assert_eq!(output.lines().count(), 5, "{output}");
    for field in [
        "target.sgCluster.skipDropIndexesAndConstraints",
        "target.sgCluster.skipDropPrimaryKeys",
        "target.sgCluster.skipRestoreIndexesAfterSnapshot",
        "target.sgCluster.ddlImportRoleSkipFilter",
        "reclaimPolicy",
    ] {
        tells(&output, &[&format!("warning: spec.{field}: no effect: not implemented yet: ")]);
    }
    assert_eq!(stream(", skipDropPrimaryKeys: false", "  reclaimPolicy: Retain\n"), "");
}

#[test]
fn a_property_without_which_other_data_would_arrive_is_no_matter_of_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let yaml = "\
apiVersion: stackgres.io/v1alpha1
kind: SGStream
metadata: {name: orders}
spec:
  source: {type: SGCluster, sgCluster: {name: here, debeziumProperties: {fieldNameAdjustmentMode: avro}}}
  target: {type: SGCluster, sgCluster: {name: there}}
  pods: {persistentVolume: {size: 1Gi}}
  debeziumEngineProperties: {transforms: {mask: {type: org.apache.kafka.connect.transforms.MaskField$Value}}}
";
    std::fs::write(directory.path().join("stream.yaml"), yaml).unwrap();
    let servers = ["here", "there"].map(|name| format!("{name}=postgres://u@127.0.0.1:1/"));
    let [here, there] = &servers;
    let connect = ["-f", "stream.yaml", "--connect", "--cluster", here, "--cluster", there];
    let output = validate(&directory, &connect, &[], &[]).ends(2);
    for path in [
        "spec.source.sgCluster.debeziumProperties.fieldNameAdjustmentMode",
        "spec.debeziumEngineProperties.transforms",
    ] {
        tells(&output, &[&format!("{path}: not supported yet, and without it other data")]);
        assert_eq!(output.matches(path).count(), 1, "{output}");
    }
}

#[test]
fn a_stream_is_shown_as_it_would_run_and_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let yaml = "\
apiVersion: stackgres.io/v1alpha1
kind: SGStream
metadata: {name: orders, namespace: shop}
spec:
  source:
    type: SGCluster
    sgCluster: {name: here, debeziumProperties: {maxQueueSize: 5}}
  target:
    type: CloudEvent
    cloudEvent: {http: {url: 'http://e', headers: {Authorization: hunter2}}}
  pods: {persistentVolume: {size: 1Gi}}
";
    std::fs::write(directory.path().join("stream.yaml"), yaml).unwrap();
    let output =
        validate(&directory, &["-f", "stream.yaml", "--effective"], &[], &["hunter2"]).ends(0);
    assert!(output.starts_with("---\napiVersion: ") && !output.contains("warning"), "{output}");
    for parts in [
        &["      database: postgres"][..],
        &["slotName: shop_orders", "# honoured"],
        &["maxQueueSize: 5", "# ignored: "],
        &["maxRetries: -1"],
        &["Authorization: \"[redacted]\""],
    ] {
        tells(&output, parts);
    }
}

#[test]
fn files_that_cannot_be_read_or_hold_no_stream_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let said = validate(&directory, &["-f", "nothing.yaml"], &[], &[]);
    assert!(said.err.contains("cannot read `nothing.yaml`"), "{}", said.err);
    said.ends(2);
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
    std::fs::write(directory.path().join("secret.yaml"), secret).unwrap();
    let said = validate(&directory, &["-f", "secret.yaml"], &[], &[]);
    assert!(said.err.contains("no document is an SGStream"), "{}", said.err);
    said.ends(2);
}
