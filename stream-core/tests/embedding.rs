//! The example of `docs/embedding.md` does what the page says.

#[expect(dead_code, reason = "the program's own `main` is not called here")]
#[path = "../examples/embed.rs"]
mod embed;

use stream_core::throwaway::testing::{self, TestDatabase};
use stream_core::{Control, Outcome};
use tokio::sync::mpsc;

const EXAMPLE: &str = include_str!("../examples/embed.rs");
const PAGE: &str = include_str!("../../docs/embedding.md");

#[test]
fn the_page_shows_the_example() {
    let shown = PAGE.split_once("```rust,no_run\n").and_then(|(_, rest)| rest.split_once("```\n"));
    assert_eq!(shown.map(|(code, _)| code), Some(EXAMPLE));
}

#[tokio::test]
async fn a_sink_of_ones_own_gets_the_rows_and_then_every_change() {
    for major in testing::majors() {
        let database = TestDatabase::create(testing::server(major)).await.unwrap();
        database
            .execute(
                "CREATE TABLE orders (id int PRIMARY KEY, customer text);
                 CREATE TABLE not_captured (id int PRIMARY KEY);
                 INSERT INTO orders VALUES (1, 'Ann'), (2, NULL);
                 INSERT INTO not_captured VALUES (1);",
            )
            .await
            .unwrap();
        let url = database.url();
        let (control, commands) = mpsc::channel(1);
        let (lines, mut written) = mpsc::unbounded_channel();
        let run = embed::stream(&url, move |line| lines.send(line).unwrap(), commands);
        let drive = async {
            let rows = [written.recv().await.unwrap(), written.recv().await.unwrap()];
            assert_eq!(rows, ["read 1 Ann", "read 2 Null"]);
            database
                .execute(
                    "UPDATE orders SET customer = 'Bea' WHERE id = 2;
                     INSERT INTO orders VALUES (3, 'Cid'); DELETE FROM orders WHERE id = 1;
                     INSERT INTO not_captured VALUES (2);",
                )
                .await
                .unwrap();
            control.send(Control::Complete).await.unwrap();
            let mut changes = Vec::new();
            while let Some(line) = written.recv().await {
                changes.push(line);
            }
            assert_eq!(changes, ["update 2 Bea", "insert 3 Cid", "delete 1 Null"]);
        };
        let (outcome, ()) = tokio::join!(run, drive);
        assert_eq!(outcome.unwrap(), Outcome::Completed);
        database
            .execute(
                "DO $$ BEGIN
                     ASSERT NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'embed');
                     ASSERT NOT EXISTS (SELECT FROM pg_publication);
                 END $$",
            )
            .await
            .unwrap();
    }
}
