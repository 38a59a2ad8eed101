//! A publication that is altered while a stream uses it, or while the stream is stopped.

use std::time::Duration;

use stream_core::pipeline::{Control, Outcome};
use stream_core::postgres::SnapshotMode;
use stream_core::postgres::publication::AutoCreate;
use stream_core::sql::Ident;
use stream_core::stats::Phase;
use stream_core::throwaway::testing;

use crate::fixture::{Stream, assert_same_rows, databases_of, execute, logged, rows, until};

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v bigint); INSERT INTO t SELECT i, i FROM generate_series(1, 10) i;
    CREATE TABLE beside (id int PRIMARY KEY); INSERT INTO beside VALUES (1);";
const CHANGES: &str = "INSERT INTO t SELECT i, i FROM generate_series(11, 20) i; DELETE FROM t WHERE id = 1; UPDATE t SET v = 0 WHERE id = 2";
const ROWS: &str = "SELECT * FROM t";
const PATIENCE: Duration = Duration::from_secs(60);
/// Each leaves something out, with what the error says of it.
const LESS: [(&str, &str); 3] = [
    ("SET (publish = 'insert')", "`delete`, `truncate`, `update`"),
    ("SET TABLE beside, t WHERE (id < 5)", "rows or columns of `public.t`"),
    ("SET TABLE beside, t (id)", "rows or columns of `public.t`"),
];
const TOGGLES: [[&str; 2]; 4] = [
    ["SET (publish = 'insert')", "SET (publish = 'insert, update, delete, truncate')"],
    ["DROP TABLE t", "ADD TABLE t"],
    ["SET TABLE beside, t WHERE (id < 5)", "SET TABLE beside, t"],
    ["SET TABLE beside, t (id)", "SET TABLE beside, t"],
];

/// Something is altered, `CHANGES` are made, and something else is.
fn altered(stream: &Stream, alterations: [&str; 2]) -> String {
    let publication = Ident(&stream.name);
    let [before, after] = alterations.map(|alteration| match alteration {
        "" => String::new(),
        alteration => format!("ALTER PUBLICATION {publication} {alteration}"),
    });
    // The server itself refuses changes of columns that are not published.
    format!("{before}\n--\n{CHANGES}\n--\n{after}")
}

/// The statement between quotation marks that begins so.
fn statement<'a>(error: &'a str, begin: &str) -> &'a str {
    error.split('`').find(|part| part.starts_with(begin)).unwrap_or_default()
}

#[tokio::test]
async fn a_publication_that_leaves_something_out_ends_the_stream_and_put_back_has_the_table_copied_again()
 {
    for (alteration, said) in LESS {
        for stopped in [false, true] {
            let (from, to) = databases_of(testing::server(18), SCHEMA).await;
            let stream = Stream::new(&from, &to);
            let changes = altered(&stream, [alteration, ""]);
            let changes = async { execute(&stream.source, &changes).await };
            let error = stream.meet(changes, stopped).await.unwrap_err().to_string();
            assert!(error.contains(said), "{alteration}: {error}");
            let put_back = statement(&error, "ALTER PUBLICATION");
            execute(&stream.source, put_back).await;
            assert_eq!(stream.complete().await.unwrap(), Outcome::Completed, "{alteration}");
            assert_same_rows(&stream, ROWS).await;
        }
    }
}

#[tokio::test]
async fn what_is_published_now_is_copied_where_that_is_wanted() {
    for (alteration, expected) in [
        ("SET (publish = 'insert')", "SELECT * FROM t"),
        ("SET TABLE beside, t WHERE (id < 5)", "SELECT * FROM t WHERE id < 5"),
    ] {
        let (from, to) = databases_of(testing::server(15), SCHEMA).await;
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        execute(&stream.source, &altered(&stream, [alteration, ""])).await;
        let error = stream.complete().await.unwrap_err().to_string();
        execute(&stream.target, statement(&error, "UPDATE")).await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed, "{alteration}");
        assert_eq!(rows(&stream.target, ROWS).await, rows(&stream.source, expected).await);
    }
}

#[tokio::test]
async fn a_publication_that_was_another_for_a_while_has_the_table_copied_again() {
    for toggle in TOGGLES {
        for stopped in [false, true] {
            let (from, to) = databases_of(testing::server(15), SCHEMA).await;
            let stream = Stream::new(&from, &to);
            let changes = altered(&stream, toggle);
            let changes = async { execute(&stream.source, &changes).await };
            assert_eq!(stream.meet(changes, stopped).await.unwrap(), Outcome::Completed);
            assert_same_rows(&stream, ROWS).await;
        }
    }
}

#[tokio::test]
async fn a_table_that_is_taken_out_of_the_publication_is_taken_up_again() {
    let (from, to) = databases_of(testing::server(18), SCHEMA).await;
    let stream = Stream::new(&from, &to);
    let changes = altered(&stream, ["DROP TABLE t", ""]);
    let work = async {
        execute(&stream.source, &changes).await;
        // By the look from time to time.
        until(&stream.target, "SELECT count(*) = 19 FROM t", Duration::from_secs(20)).await;
    };
    assert_eq!(stream.run_with(work).await.unwrap(), Outcome::Completed);
    assert_same_rows(&stream, ROWS).await;
}

#[tokio::test]
async fn a_schema_that_was_out_of_the_publication_for_a_while_is_copied_again() {
    for stopped in [false, true] {
        let (from, to) = databases_of(testing::server(15), SCHEMA).await;
        let mut stream = Stream::new(&from, &to);
        stream.publication = AutoCreate::Disabled;
        let publication = Ident(&stream.name);
        let create = format!("CREATE PUBLICATION {publication} FOR TABLES IN SCHEMA public");
        execute(&stream.source, &create).await;
        let toggle = ["DROP TABLES IN SCHEMA public", "ADD TABLES IN SCHEMA public"];
        let changes = altered(&stream, toggle);
        let changes = async { execute(&stream.source, &changes).await };
        assert_eq!(stream.meet(changes, stopped).await.unwrap(), Outcome::Completed);
        assert_same_rows(&stream, ROWS).await;
    }
}

/// The server refuses UPDATE and DELETE of the new table otherwise.
#[tokio::test]
async fn what_the_stream_itself_alters_has_no_table_copied_again() {
    let (from, to) = databases_of(testing::server(18), SCHEMA).await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    execute(&stream.target, "INSERT INTO beside VALUES (-1)").await;
    let new = "CREATE TABLE new (v int, g int GENERATED ALWAYS AS (v * 2) STORED); INSERT INTO new VALUES (1)";
    execute(&stream.source, new).await;
    for _ in 0..2 {
        let published = async {
            until(&stream.target, "SELECT count(*) = 1 FROM new", Duration::from_secs(20)).await;
        };
        let run = stream.run_once(Phase::Streaming, published, Control::Stop).await;
        assert_eq!(run.unwrap(), Outcome::Stopped);
    }
    let generated = format!(
        "SELECT pubgencols FROM pg_publication WHERE pubname = {}",
        stream_core::sql::Literal(&stream.name)
    );
    assert_eq!(rows(&stream.source, &generated).await, ["(s)"]);
    let (outcome, said) = logged(stream.complete()).await;
    assert_eq!(outcome.unwrap(), Outcome::Completed);
    assert!(!said.contains("copying anew"), "{said}");
    assert_eq!(rows(&stream.target, "SELECT * FROM beside").await, ["(-1)", "(1)"]);
}

/// The stream asks an owner that it is not for just that.
#[tokio::test]
async fn generated_columns_that_the_owner_has_published_copy_nothing_again() {
    let (from, to) = databases_of(testing::server(18), SCHEMA).await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    execute(&stream.target, "INSERT INTO t VALUES (-1, 0)").await;
    let name = Ident(&stream.name);
    let alter = format!("ALTER PUBLICATION {name} SET (publish_generated_columns = stored)");
    execute(&stream.source, &alter).await;
    // Noted as well: another start does not take it for a change.
    for _ in 0..2 {
        stream.copy_and_stop().await;
    }
    execute(&stream.source, CHANGES).await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_eq!(rows(&stream.target, "SELECT id FROM t WHERE id < 0").await, ["(-1)"]);
}

#[tokio::test]
async fn a_stream_of_an_older_version_notes_the_publication_and_goes_on() {
    let (from, to) = databases_of(testing::server(15), SCHEMA).await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    execute(
        &stream.target,
        "ALTER TABLE sgstream.table_sync DROP COLUMN published_as; INSERT INTO t VALUES (-1)",
    )
    .await;
    stream.copy_and_stop().await;
    assert_eq!(rows(&stream.target, "SELECT id FROM t WHERE id < 0").await, ["(-1)"]);
    execute(&stream.source, &altered(&stream, TOGGLES[0])).await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_same_rows(&stream, ROWS).await;
}

const UNLOGGED: &str = "ALTER TABLE t SET UNLOGGED";
const LOGGED: &str = "ALTER TABLE t SET LOGGED";

/// A publication of all tables lets it be; and drops it from the log.
#[tokio::test]
async fn a_table_that_is_unlogged_for_a_while_is_copied_again_once_it_is_logged() {
    for stopped in [false, true] {
        let (from, to) = databases_of(testing::server(18), SCHEMA).await;
        let mut stream = Stream::new(&from, &to);
        stream.publication = AutoCreate::AllTables;
        stream.copy_and_stop().await;
        let beside = "SELECT count(*) = 2 FROM beside";
        let work = async {
            execute(&stream.source, &format!("{UNLOGGED};\n--\n{CHANGES}")).await;
            if stopped {
                stream.copy_and_stop().await;
            } else {
                let noted =
                    "SELECT synced_at IS NULL FROM sgstream.table_sync WHERE table_name = 't'";
                until(&stream.target, noted, PATIENCE).await;
            }
            execute(&stream.source, "INSERT INTO beside VALUES (2)").await;
            if !stopped {
                until(&stream.target, beside, PATIENCE).await;
            }
            execute(&stream.source, LOGGED).await;
        };
        let (outcome, said) = logged(Box::pin(stream.meet(work, stopped))).await;
        assert_eq!(outcome.unwrap(), Outcome::Completed);
        assert!(said.contains("table `public.t` is unlogged at the source"), "{said}");
        assert!(!said.contains("drop it there"), "{said}");
        assert_same_rows(&stream, ROWS).await;
    }
}

/// It is found before the stream completes, and rows that are not the stream's own are not copied over.
#[tokio::test]
async fn a_table_that_is_unlogged_ends_a_stream_that_copies_nothing() {
    let (from, to) = databases_of(testing::server(18), SCHEMA).await;
    to.execute(SCHEMA).await.unwrap();
    let mut stream = Stream::new(&from, &to);
    stream.publication = AutoCreate::AllTables;
    stream.mode = SnapshotMode::Never;
    stream.import = false;
    let error = stream.run_with(execute(&stream.source, UNLOGGED)).await.unwrap_err();
    assert!(error.to_string().contains("`public.t` is unlogged at the source"), "{error}");
    stream.mode = SnapshotMode::Initial;
    let ((), said) = logged(stream.copy_and_stop()).await;
    assert!(said.contains("SET LOGGED"), "{said}");
    execute(&stream.source, &format!("{CHANGES};\n--\n{LOGGED}")).await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_same_rows(&stream, ROWS).await;
}
