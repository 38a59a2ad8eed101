//! Tables of every shape by real servers: their keys, and the columns that the server computes.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use serde_json::Value;
use stream_core::throwaway::testing::{self, TestDatabase};
use stream_sinks::envelope::options::ValueOptions;

use crate::cases::tree;
use crate::server::{encode, stream};

/// The events of a snapshot and of a stream.
async fn events(major: u16, before: &str, changes: &[&str]) -> (Vec<Value>, Vec<Value>) {
    let database = TestDatabase::create(testing::server(major)).await.unwrap();
    let seen = Box::pin(stream(&database, before, changes)).await;
    let (copied, streamed) = encode(&seen, &ValueOptions::default());
    let trees = |events: &[Vec<u8>]| events.iter().map(|event| tree(event)).collect();
    (trees(&copied), trees(&streamed))
}

fn texts<'a>(events: &'a [Value], name: &str) -> Vec<&'a str> {
    events.iter().map(|event| event[name].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_unique_index_over_not_null_columns_is_the_key_of_a_table_without_primary_key() {
    for major in testing::majors() {
        let before = "CREATE TABLE t (n int NOT NULL, a text NOT NULL, b int NOT NULL, c int);
            CREATE UNIQUE INDEX a_expression ON t (lower(a)); CREATE UNIQUE INDEX b_part ON t (n) WHERE n > 0;
            CREATE UNIQUE INDEX c_nullable ON t (c); CREATE UNIQUE INDEX d_key ON t (b, a) INCLUDE (n);
            ALTER TABLE t ADD CONSTRAINT c_later UNIQUE (n) DEFERRABLE; CREATE UNIQUE INDEX e_other ON t (n);
            ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 'x', 2, NULL)";
        let changes = [
            "UPDATE t SET c = 7",
            "UPDATE t SET b = 3",
            "DELETE FROM t",
            "INSERT INTO t VALUES (5, 'y', 6, NULL)",
        ];
        let (copied, streamed) = events(major, before, &changes).await;
        assert_eq!(texts(&copied, "partitionkey"), ["public.t/2,x"], "{major}");
        let keys = texts(&streamed, "partitionkey");
        let (old, new) = ("public.t/2,x", "public.t/3,x");
        assert_eq!(keys, [old, old, new, new, "public.t/6,y"], "{major}");
        assert_eq!(texts(&streamed, "iodebeziumop"), ["u", "d", "c", "d", "c"], "{major}");
    }
}

#[tokio::test]
async fn generated_columns_are_in_snapshot_and_stream_or_in_neither() {
    const TABLE: &str =
        "CREATE TABLE t (id int PRIMARY KEY, s int GENERATED ALWAYS AS (id * 2) STORED, z text";
    const ROWS: &str = "INSERT INTO t (id, z) VALUES (1, 'x')";
    const MORE: &str = "INSERT INTO t (id, z) VALUES (2, 'x')";
    for major in testing::majors() {
        let shows = async |table: &str, publication: &str| {
            let name = "current_database()";
            let publish = match publication {
                "" => String::new(),
                how => format!(
                    "DO $$BEGIN EXECUTE format('CREATE PUBLICATION %I FOR TABLE ONLY t {how}', {name}); END$$;"
                ),
            };
            let before = format!("{table}; {publish} {ROWS}");
            let (copied, streamed) = events(major, &before, &[MORE]).await;
            let row = |events: &[Value]| events[0]["data"]["after"].as_object().unwrap().clone();
            let (copied, streamed) = (row(&copied), row(&streamed));
            let names: Vec<_> = copied.keys().cloned().collect();
            assert_eq!(
                names,
                streamed.keys().cloned().collect::<Vec<_>>(),
                "{major} {how}",
                how = publication
            );
            (names.join(" "), copied.get("s").cloned(), streamed.get("s").cloned())
        };
        let stored = format!("{TABLE})");
        assert_eq!(shows(&stored, "").await, ("id z".to_owned(), None, None));
        if major < 18 {
            continue;
        }
        let both = (Some(2.into()), Some(4.into()));
        let published = "WITH (publish_generated_columns = stored)";
        let (names, copied, streamed) = shows(&stored, published).await;
        assert_eq!((names.as_str(), (copied, streamed)), ("id s z", both.clone()));
        let (names, copied, streamed) = shows(&stored, "(id, s)").await;
        assert_eq!((names.as_str(), (copied, streamed)), ("id s", both.clone()));
        let computed = format!("{TABLE}, v int GENERATED ALWAYS AS (id * 3) VIRTUAL)");
        let (names, copied, streamed) = shows(&computed, published).await;
        assert_eq!((names.as_str(), (copied, streamed)), ("id s z", both));
        assert_eq!(shows(&stored, "(id, z)").await.0, "id z");
    }
}
