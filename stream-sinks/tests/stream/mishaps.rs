//! What people do to tables at either end while a stream runs: it is said with table, key and position, nothing after it is written, and
//! the stream goes on from there once it is mended.

use std::time::Duration;

use stream_core::lsn::Lsn;
use stream_core::pipeline::Outcome;
use stream_core::postgres::SqlClient;
use stream_core::postgres::publication::AutoCreate;
use stream_core::sql::Ident;
use stream_core::throwaway::testing::{self, TestDatabase};
use stream_core::throwaway::{Server, ServerOptions};
use stream_core::{Error, ErrorKind};

use crate::fixture::{Stream, database, databases, databases_of, execute, logged, rows, until};

#[track_caller]
fn assert_names(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
}

async fn assert_same(stream: &Stream, tables: &[&str]) {
    for table in tables {
        let sql = format!("SELECT * FROM {table}");
        assert_eq!(rows(&stream.target, &sql).await, rows(&stream.source, &sql).await, "{table}");
    }
}

const TABLES: &str = "CREATE TABLE t (id int PRIMARY KEY, n int, v text); INSERT INTO t SELECT i, i, 'v' FROM generate_series(1, 5) i;
    CREATE TABLE beside (id int PRIMARY KEY); INSERT INTO beside VALUES (1)";

#[tokio::test]
async fn a_target_that_is_the_source_is_refused_before_anything_is_written() {
    let (from, _) = databases(TABLES).await;
    let mut stream = Stream::new(&from, &from);
    // The same server by another name.
    stream.target.host =
        if stream.source.host == "127.0.0.1" { "localhost" } else { "127.0.0.1" }.to_owned();
    let error = stream.complete().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_names(&error, &["source and target are the same database", from.name()]);
    let made = rows(&stream.source, "SELECT FROM pg_namespace WHERE nspname = 'sgstream'").await;
    assert!(made.is_empty(), "schema `sgstream` was made");
}

#[tokio::test]
async fn a_target_of_one_stream_is_the_source_of_another() {
    for everything in [true, false] {
        let (first, second) = databases(TABLES).await;
        let third = TestDatabase::create(testing::server(testing::oldest_major())).await.unwrap();
        let upper = Stream::new(&first, &second);
        upper.copy_and_stop().await;
        let mut lower = Stream::new(&second, &third);
        if !everything {
            lower.publication = AutoCreate::AllTables;
        }
        lower.copy_and_stop().await;
        execute(&upper.source, "INSERT INTO t VALUES (6, 6, 'w')").await;
        assert_eq!(upper.complete().await.unwrap(), Outcome::Completed);
        assert_eq!(lower.complete().await.unwrap(), Outcome::Completed);
        assert_same(&lower, &["t", "beside"]).await;
        let kept = rows(&lower.target, "SELECT stream FROM sgstream.progress").await;
        assert_eq!(kept, [format!("({})", lower.name)]);
    }
}

#[tokio::test]
async fn a_table_dropped_in_mid_stream_keeps_its_last_rows_and_stops_nothing() {
    let changes = "INSERT INTO t VALUES (6, 6, 'last'); DELETE FROM t WHERE id = 1;
--
        DROP TABLE t; INSERT INTO beside VALUES (2);
--
        INSERT INTO beside VALUES (3);";
    for stopped in [false, true] {
        let (from, to) = databases(TABLES).await;
        let stream = Stream::new(&from, &to);
        let changes = execute(&stream.source, changes);
        let ended = stream.meet(changes, stopped).await;
        assert_eq!(ended.unwrap(), Outcome::Completed, "stopped: {stopped}");
        assert_same(&stream, &["beside"]).await;
        let kept = rows(&stream.target, "SELECT id FROM t").await;
        assert_eq!(kept, ["(2)", "(3)", "(4)", "(5)", "(6)"], "stopped: {stopped}");
    }
}

#[tokio::test]
async fn a_table_renamed_in_mid_stream_is_taken_up_once_the_old_one_makes_room() {
    let changes = "INSERT INTO t VALUES (6, 6, 'before');
--
        ALTER TABLE t RENAME TO renamed; INSERT INTO renamed VALUES (7, 7, 'after'); UPDATE renamed SET v = 'u' WHERE id = 1;
--
        DELETE FROM renamed WHERE id = 2; INSERT INTO beside VALUES (2);";
    for stopped in [false, true] {
        let (from, to) = databases(TABLES).await;
        let stream = Stream::new(&from, &to);
        let changes = execute(&stream.source, changes);
        let ended = stream.meet(changes, stopped).await;
        // The index kept its name at the source, where the table did not: at the target the old table has one of that name.
        let error = ended.unwrap_err();
        assert!(!error.is_retryable(), "{error:?}");
        assert_names(&error, &["`renamed t_pkey`", "\"t_pkey\" already exists"]);
        let remedy = error.to_string();
        let remedy = remedy.split('`').find(|part| part.starts_with("ALTER INDEX")).unwrap();
        execute(&stream.target, remedy).await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed, "stopped: {stopped}");
        assert_same(&stream, &["renamed", "beside"]).await;
        let kept = rows(&stream.target, "SELECT id FROM t").await;
        assert!(kept.len() >= 5, "the old table is nobody's to remove: {kept:?}");
    }
}

/// Whatever refuses a row: the same words, and the same way back.
#[tokio::test]
async fn a_row_that_the_target_refuses_is_named_and_the_stream_goes_on_when_it_is_mended() {
    for (breaks, mends, words) in [
        ("ALTER TABLE t ADD CONSTRAINT small CHECK (n < 10)", "ALTER TABLE t DROP CONSTRAINT small", "small"),
        ("ALTER TABLE t ALTER COLUMN v SET NOT NULL", "ALTER TABLE t ALTER COLUMN v DROP NOT NULL", "null value"),
        ("ALTER TABLE t ALTER COLUMN n TYPE smallint", "ALTER TABLE t ALTER COLUMN n TYPE int", "ALTER COLUMN \"n\" TYPE integer"),
        ("CREATE UNIQUE INDEX one ON t ((n / 100000)) WHERE n > 100000; INSERT INTO t VALUES (99, 100001, '')", "DROP INDEX one; DELETE FROM t WHERE id = 99", "unique constraint"),
        (
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF new.n > 10 THEN RAISE 'no such row here'; END IF; RETURN new; END$$;
             CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no(); ALTER TABLE t ENABLE ALWAYS TRIGGER no",
            "DROP TRIGGER no ON t",
            "no such row here",
        ),
        ("ALTER TABLE t ADD COLUMN must int NOT NULL DEFAULT 1; ALTER TABLE t ALTER COLUMN must DROP DEFAULT", "ALTER TABLE t DROP COLUMN must", "must"),
    ] {
        let (from, to) = databases(TABLES).await;
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        let changes = async {
            execute(&stream.target, breaks).await;
            let changes = "INSERT INTO beside VALUES (2);
--
                INSERT INTO beside VALUES (3); INSERT INTO t VALUES (6, 100002, NULL);
--
                INSERT INTO beside VALUES (4); UPDATE t SET v = 'later' WHERE id = 1;";
            execute(&stream.source, changes).await;
        };
        let error = stream.run_with(changes).await.unwrap_err();
        assert!(!error.is_retryable(), "{breaks}: {error:?}");
        assert_names(&error, &["`public.t`", words]);
        // A table that does not fit is refused as a whole, before any row.
        let as_a_whole = words.contains("ALTER COLUMN");
        if as_a_whole {
            assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        } else {
            assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
            assert_names(&error, &["row (id=6)", "at 0/", "nothing after it was written"]);
        }
        let after = "SELECT id FROM beside WHERE id > 2 UNION SELECT id FROM t WHERE v = 'later'";
        assert_eq!(rows(&stream.target, after).await.len(), 0, "{breaks}");
        // As long as it is not mended, the next start is told so too: at the row, or by its look at the tables before.
        assert_names(&stream.complete().await.unwrap_err(), &["`public.t`"]);
        execute(&stream.target, mends).await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed, "{breaks}");
        assert_same(&stream, &["t", "beside"]).await;
    }
}

/// Nobody refuses a row then: it is the transaction that is named. Those before it, in the same batch, are there.
#[tokio::test]
async fn a_transaction_that_the_target_refuses_at_its_commit() {
    let (from, to) = databases(TABLES).await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    let refuses = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF new.n > 10 THEN RAISE 'no such row here'; END IF; RETURN new; END$$;
        CREATE CONSTRAINT TRIGGER no AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no();
        ALTER TABLE t ENABLE ALWAYS TRIGGER no";
    execute(&stream.target, refuses).await;
    execute(
        &stream.source,
        "INSERT INTO beside VALUES (2);\n--\nINSERT INTO beside VALUES (3); INSERT INTO t VALUES (6, 100002, NULL);\n--\nINSERT INTO beside VALUES (4)",
    )
    .await;
    let error = stream.complete().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
    assert_names(&error, &["the transaction at 0/", "no such row here", "goes on from there"]);
    assert_eq!(rows(&stream.target, "SELECT id FROM beside WHERE id > 1").await, ["(2)"]);
    execute(&stream.target, "DROP TRIGGER no ON t").await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_same(&stream, &["t", "beside"]).await;
}

/// What is confirmed is forgotten by the source: the target has it on its disk.
#[tokio::test]
async fn a_target_that_does_not_wait_for_its_disk_is_made_to() {
    let (from, to) = databases(TABLES).await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    let target = Ident(to.name());
    to.execute(&format!(
        "ALTER DATABASE {target} SET synchronous_commit = off; CREATE TABLE seen (setting text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END$$;
         CREATE TRIGGER see AFTER INSERT ON beside FOR EACH ROW EXECUTE FUNCTION see(); ALTER TABLE beside ENABLE ALWAYS TRIGGER see;
         CREATE TRIGGER see AFTER UPDATE ON sgstream.progress FOR EACH ROW EXECUTE FUNCTION public.see()"
    ))
    .await
    .unwrap();
    execute(&stream.source, "INSERT INTO beside VALUES (2)").await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_eq!(rows(&stream.target, "SELECT DISTINCT setting FROM seen").await, ["(local)"]);
    assert_eq!(rows(&stream.target, "SELECT count(*) > 2 FROM seen").await, ["(t)"]);
}

/// A session that has no setting of its own takes up what the server's files say later.
#[tokio::test]
async fn a_target_that_is_told_not_to_wait_for_its_disk_any_more_waits_for_the_stream() {
    // Of its own: other streams would meet the setting too.
    let server =
        Server::start(ServerOptions::temporary(testing::binaries(testing::oldest_major())))
            .unwrap();
    let (from, to) = databases_of(&server, TABLES).await;
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    to.execute(
        "CREATE TABLE seen (setting text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END$$;
         CREATE TRIGGER see AFTER INSERT ON beside FOR EACH ROW EXECUTE FUNCTION see(); ALTER TABLE beside ENABLE ALWAYS TRIGGER see",
    )
    .await
    .unwrap();
    let setting = |change: &'static str| {
        let target = &stream.target;
        async move { execute(target, &format!("{change}\n--\nSELECT pg_reload_conf()")).await }
    };
    let arrives = |id: u32| {
        let (source, target) = (&stream.source, &stream.target);
        async move {
            execute(source, &format!("INSERT INTO beside VALUES ({id})")).await;
            let arrived = format!("SELECT max(id) = {id} FROM beside");
            until(target, &arrived, Duration::from_secs(60)).await;
        }
    };
    let work = async {
        arrives(2).await;
        setting("ALTER SYSTEM SET synchronous_commit = off").await;
        let off = "SELECT current_setting('synchronous_commit') = 'off'";
        until(&stream.target, off, Duration::from_secs(60)).await;
        for id in 3..8 {
            arrives(id).await;
        }
    };
    assert_eq!(stream.run_with(work).await.unwrap(), Outcome::Completed);
    assert_eq!(
        rows(&stream.target, "SELECT setting, count(*) FROM seen GROUP BY 1").await,
        ["(on,6)"]
    );
}

/// Nobody else would find out at night why nothing comes.
#[tokio::test]
async fn who_holds_a_lock_that_the_target_waits_for_is_said() {
    let (from, to) = databases(TABLES).await;
    let stream = Stream::new(&from, &to);
    let work = async {
        let holder = SqlClient::connect(&stream.target).await.unwrap();
        holder.batch_execute("BEGIN; LOCK TABLE public.beside").await.unwrap();
        execute(&stream.source, "INSERT INTO beside VALUES (2)").await;
        tokio::time::sleep(Duration::from_secs(12)).await;
        let pid = holder.process_id();
        holder.batch_execute("COMMIT").await.unwrap();
        holder.close().await;
        pid
    };
    let (holder, told) = tokio::sync::oneshot::channel();
    let work = async { holder.send(work.await).unwrap() };
    let (outcome, log) = Box::pin(logged(stream.run_with(work))).await;
    assert_eq!(outcome.unwrap(), Outcome::Completed);
    let process = format!(
        "waits for a lock that another session holds: the transaction of process {}",
        told.await.unwrap()
    );
    assert!(log.contains(&process), "{process} in {log}");
}

/// Transactions that share a batch share a target transaction, unless one of them is refused.
#[tokio::test]
async fn all_that_comes_before_a_refused_row_is_at_the_target() {
    let (from, to) = databases(TABLES).await;
    // Without a key, so that what is written twice is there twice.
    from.execute("CREATE TABLE bag (n int)").await.unwrap();
    let stream = Stream::new(&from, &to);
    stream.copy_and_stop().await;
    execute(&stream.target, "ALTER TABLE t ADD CONSTRAINT small CHECK (n < 10)").await;
    let changes = async {
        // The first two batches wait for the lock, the rest collects in the third.
        let holder = SqlClient::connect(&stream.target).await.unwrap();
        holder.batch_execute("BEGIN; LOCK TABLE public.beside").await.unwrap();
        for id in 2..=5 {
            execute(
                &stream.source,
                &format!("INSERT INTO beside VALUES ({id}); INSERT INTO bag VALUES ({id}); UPDATE t SET n = {id} WHERE id = 1"),
            )
            .await;
        }
        execute(
            &stream.source,
            "INSERT INTO beside VALUES (6); INSERT INTO t VALUES (6, 100, 'refused')",
        )
        .await;
        let refused: Lsn = rows(&stream.source, "SELECT pg_current_wal_lsn()").await[0]
            .trim_matches(['(', ')'])
            .parse()
            .unwrap();
        execute(&stream.source, "INSERT INTO beside VALUES (7)").await;
        let mut stats = stream.stats.subscribe();
        stats.wait_for(|stats| stats.received > refused).await.unwrap();
        holder.batch_execute("COMMIT").await.unwrap();
        holder.close().await;
        std::future::pending::<()>().await;
    };
    let error = stream.run_with(changes).await.unwrap_err();
    assert_names(&error, &["row (id=6)", "`public.t`", "small"]);
    let written =
        rows(&stream.target, "SELECT max(id), (SELECT n FROM t WHERE id = 1) FROM beside").await;
    assert_eq!(written, ["(5,5)"]);
    execute(&stream.target, "ALTER TABLE t DROP CONSTRAINT small").await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_same(&stream, &["t", "beside", "bag"]).await;
}

#[tokio::test]
async fn a_column_whose_type_changes_in_mid_stream_stops_at_the_row_that_does_not_fit() {
    let (from, to) = databases(TABLES).await;
    let stream = Stream::new(&from, &to);
    let changes = "INSERT INTO t VALUES (6, 6, 'before');
--
        ALTER TABLE t ALTER COLUMN n TYPE text; INSERT INTO t VALUES (7, '7', 'fits'); INSERT INTO beside VALUES (2);
--
        INSERT INTO t VALUES (8, 'eight', 'does not'); INSERT INTO beside VALUES (3);";
    let error = stream.run_with(execute(&stream.source, changes)).await.unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");
    assert_names(&error, &["`public.t`"]);
    assert_eq!(rows(&stream.target, "SELECT id FROM beside WHERE id = 3").await.len(), 0);
    execute(&stream.target, "ALTER TABLE t ALTER COLUMN n TYPE text").await;
    assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
    assert_same(&stream, &["t", "beside"]).await;
}

#[tokio::test]
async fn a_target_table_that_somebody_drops_or_renames_is_named_and_nothing_is_made_in_its_place() {
    for (breaks, mends) in [
        ("ALTER TABLE t RENAME TO other", "ALTER TABLE other RENAME TO t"),
        ("ALTER TABLE t RENAME COLUMN n TO m", "ALTER TABLE t RENAME COLUMN m TO n"),
    ] {
        let (from, to) = databases(TABLES).await;
        let stream = Stream::new(&from, &to);
        let changes = async {
            execute(&stream.target, breaks).await;
            execute(
                &stream.source,
                "INSERT INTO t VALUES (6, 6, 'x'); INSERT INTO beside VALUES (2)",
            )
            .await;
            std::future::pending::<()>().await;
        };
        let error = stream.run_with(changes).await.unwrap_err();
        assert!(!error.is_retryable(), "{error:?}");
        assert_names(&error, &["`public.t`"]);
        assert_eq!(rows(&stream.target, "SELECT id FROM beside WHERE id = 2").await.len(), 0);
        execute(&stream.target, mends).await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed, "{breaks}");
        assert_same(&stream, &["t", "beside"]).await;
    }
}

/// Made anew it would lack the rows that do not change.
#[tokio::test]
async fn a_copied_table_that_is_gone_at_the_target_is_not_made_without_its_rows() {
    for running in [true, false] {
        let (from, to) = databases(TABLES).await;
        let stream = Stream::new(&from, &to);
        stream.copy_and_stop().await;
        let changes = async {
            execute(&stream.target, "DROP TABLE t").await;
            execute(&stream.source, "INSERT INTO t VALUES (6, 6, 'x')").await;
            if running {
                std::future::pending::<()>().await;
            }
        };
        let error = stream.meet(changes, !running).await.unwrap_err();
        assert!(!error.is_retryable(), "{error:?}");
        assert_names(&error, &["`public.t` was copied and is not at the target any more"]);
        let text = error.to_string();
        let again = text.split('`').find(|part| part.starts_with("UPDATE sgstream")).unwrap();
        execute(&stream.target, again).await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed);
        assert_same(&stream, &["t"]).await;
    }
}

#[tokio::test]
async fn a_target_in_another_encoding_takes_what_it_can_hold_and_names_the_first_row_it_cannot() {
    let latin1 = "ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'";
    for major in testing::majors() {
        let server = testing::server(major);
        let (from, to) = (database(server, "").await, database(server, latin1).await);
        from.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'naïve café £ ÿ')").await.unwrap();
        let stream = Stream::new(&from, &to);
        let changes = "INSERT INTO t VALUES (2, 'Größe'); UPDATE t SET v = v || 'é' WHERE id = 1;
--
            INSERT INTO t VALUES (3, '日本'); INSERT INTO t VALUES (4, 'later');";
        let error = stream.run_with(execute(&stream.source, changes)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
        assert_names(&error, &["row (id=3)", "`public.t`", "LATIN1", "22P05", "at 0/"]);
        let all = "SELECT id, convert_to(v, 'UTF8') FROM t";
        assert_eq!(rows(&stream.target, all).await.len(), 2);
        // The value goes, later in the log: the row itself cannot come, so it is left out where it is not wanted.
        let error = stream.complete().await.unwrap_err();
        assert_names(&error, &["row (id=3)"]);
        let copied = database(server, latin1).await;
        let anew = Stream::new(&from, &copied);
        let error = anew.complete().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
        assert_names(&error, &["public.t", "LATIN1", "22P05"]);
    }
}
