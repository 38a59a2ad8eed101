//! Rows that are copied frozen, and where they must not be.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::time::Duration;

use stream_core::pipeline::Outcome;
use stream_core::postgres::{ConnectOptions, SqlClient};
use stream_core::throwaway::testing;

use crate::fixture::{Stream, databases, databases_of, execute, rows, until};

/// Longer than anything that is waited for takes.
const HANGS: Duration = Duration::from_secs(90);

const TABLE: &str = "CREATE TABLE t (id int, v text);
    INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 1000) i; CREATE INDEX ON t (id)";

/// Tables with rows that every later scan has to mark, of those with rows.
const MARKED: &str = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' \
                      AND relpages > 0 AND relallvisible < relpages ORDER BY 1";

#[tokio::test]
async fn rows_of_tables_that_the_stream_has_made() {
    for major in testing::majors() {
        let (from, to) = databases_of(
            testing::server(major),
            &format!(
                "{TABLE}; CREATE TABLE empty (id int PRIMARY KEY REFERENCES empty);
                 CREATE TABLE root (id int, PRIMARY KEY (id)) PARTITION BY LIST (id); CREATE TABLE one PARTITION OF root FOR VALUES IN (1);
                 CREATE TABLE two PARTITION OF root FOR VALUES IN (2); INSERT INTO root VALUES (1), (2);
                 CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
                 INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2)"
            ),
        )
        .await;
        // What is there before is nobody's to lock, even without a row.
        to.execute("CREATE TABLE there (id int PRIMARY KEY)").await.unwrap();
        from.execute("CREATE TABLE there (id int PRIMARY KEY); INSERT INTO there VALUES (1)")
            .await
            .unwrap();
        let stream = Stream::new(&from, &to);
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed, "PostgreSQL {major}");
        let marked = rows(&stream.target, MARKED).await;
        assert_eq!(marked, ["(there)"], "PostgreSQL {major}");
        for table in ["t", "empty", "root", "one", "parent", "child", "there"] {
            let all = format!("SELECT * FROM ONLY {table} ORDER BY 1");
            assert_eq!(rows(&stream.target, &all).await, rows(&stream.source, &all).await);
        }
    }
}

/// Who follows the target would be told that the table was emptied.
#[tokio::test]
async fn a_target_that_publishes_tells_nobody_of_an_emptied_table() {
    let (from, to) = databases(TABLE).await;
    to.execute("CREATE PUBLICATION onward FOR ALL TABLES").await.unwrap();
    let stream = Stream::new(&from, &to);
    stream.complete().await.unwrap();
    assert_eq!(rows(&stream.target, MARKED).await, ["(t)"]);
}

/// Makes an import take so long that somebody can queue up behind it.
const SLOW: &str = "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); END';
    CREATE EVENT TRIGGER slow ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION slow();
    ALTER EVENT TRIGGER slow ENABLE ALWAYS";

/// Keeps the stream from its first copied row; the target's tables are made.
async fn held(target: &ConnectOptions) -> SqlClient {
    let holder = SqlClient::connect(target).await.unwrap();
    let sleeps = "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity USING (pid) \
                  WHERE wait_event = 'PgSleep' AND l.relation = to_regclass('sgstream.progress')";
    until(target, sleeps, HANGS).await;
    // A lock that has no transaction id: the stream's slot would wait for one.
    holder.batch_execute("BEGIN; LOCK TABLE sgstream.progress IN EXCLUSIVE MODE").await.unwrap();
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity \
                 WHERE wait_event_type = 'Lock' AND datname = current_database()";
    until(target, waits, HANGS).await;
    assert_eq!(rows(target, "SELECT count(*) FROM t").await, ["(0)"]);
    holder
}

#[tokio::test]
async fn a_row_that_is_already_there_stays() {
    let (from, to) = databases(TABLE).await;
    to.execute(SLOW).await.unwrap();
    let stream = Stream::new(&from, &to);
    let work = async {
        let holder = held(&stream.target).await;
        execute(&stream.target, "INSERT INTO t VALUES (0)").await;
        holder.batch_execute("ROLLBACK").await.unwrap();
    };
    let (outcome, ()) = tokio::join!(stream.complete(), work);
    assert_eq!(outcome.unwrap(), Outcome::Completed);
    assert_eq!(rows(&stream.target, "SELECT count(*) FROM t").await, ["(1001)"]);
}

#[tokio::test]
async fn a_table_that_is_read_is_not_waited_for() {
    let (from, to) = databases(TABLE).await;
    to.execute(SLOW).await.unwrap();
    let stream = Stream::new(&from, &to);
    let work = async {
        let holder = held(&stream.target).await;
        let reader = SqlClient::connect(&stream.target).await.unwrap();
        reader.batch_execute("BEGIN; SELECT FROM public.t").await.unwrap();
        holder.batch_execute("ROLLBACK").await.unwrap();
        reader
    };
    let (outcome, reader) = tokio::join!(stream.complete(), work);
    assert_eq!(outcome.unwrap(), Outcome::Completed);
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(rows(&stream.target, "SELECT count(*) FROM t").await, ["(1000)"]);
}
