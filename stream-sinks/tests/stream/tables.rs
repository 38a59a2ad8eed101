//! Shapes of tables: partitions, inheritance, truncates, names, sequences.

use stream_core::ErrorKind;
use stream_core::pipeline::Outcome;
use stream_core::throwaway::testing;

use crate::fixture::{Check, Stream, check, databases_of, execute, rows, run};

#[tokio::test]
async fn a_table_that_a_crash_of_the_target_empties_is_refused() {
    for major in testing::majors() {
        let (from, to) = databases_of(
            testing::server(major),
            "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE kept (id int PRIMARY KEY);
             INSERT INTO t VALUES (1); INSERT INTO p VALUES (1)",
        )
        .await;
        to.execute(
            "CREATE UNLOGGED TABLE t (id int PRIMARY KEY); CREATE TABLE kept (id int PRIMARY KEY); CREATE UNLOGGED TABLE beside (id int);
             CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9) PARTITION BY RANGE (id);
             CREATE UNLOGGED TABLE \"P 2\" PARTITION OF p1 FOR VALUES FROM (0) TO (5); CREATE TABLE p3 PARTITION OF p1 DEFAULT",
        )
        .await
        .unwrap();
        let mut stream = Stream::new(&from, &to);
        stream.import = false;
        let error = stream.complete().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        let text = error.to_string();
        assert!(text.contains("`public.P 2`, `public.t`"), "{text}");
        let remedy = text.split('`').find(|quoted| quoted.starts_with("ALTER")).unwrap();
        execute(&stream.target, remedy).await;
        assert_eq!(stream.complete().await.unwrap(), Outcome::Completed, "PostgreSQL {major}");
        let all = "SELECT id FROM t UNION ALL SELECT id FROM p";
        assert_eq!(rows(&stream.target, all).await, ["(1)", "(1)"]);
    }
}

#[tokio::test]
async fn nested_partitions() {
    check(
        "CREATE TABLE m (id int, region text, at date, v text, PRIMARY KEY (id, region, at)) PARTITION BY LIST (region);
         CREATE TABLE m_eu PARTITION OF m FOR VALUES IN ('eu') PARTITION BY RANGE (at);
         CREATE TABLE m_eu_1 PARTITION OF m_eu FOR VALUES FROM ('2024-01-01') TO ('2024-02-01'); CREATE TABLE m_eu_2 PARTITION OF m_eu FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
         CREATE TABLE m_us (v text, at date NOT NULL, gone int, region text NOT NULL, id int NOT NULL); ALTER TABLE m_us DROP COLUMN gone; ALTER TABLE m ATTACH PARTITION m_us FOR VALUES IN ('us');
         CREATE TABLE m_rest PARTITION OF m DEFAULT;
         CREATE TABLE h (id int PRIMARY KEY, v text) PARTITION BY HASH (id); CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO m SELECT i, (ARRAY['eu', 'us', 'xx'])[1 + i % 3], '2024-01-01'::date + i % 50, 'v' FROM generate_series(1, 100) i; INSERT INTO h SELECT i, 'v' FROM generate_series(1, 50) i;",
        "INSERT INTO m SELECT i, (ARRAY['eu', 'us', 'xx'])[1 + i % 3], '2024-01-01'::date + i % 50, 'w' FROM generate_series(101, 200) i;
         UPDATE m SET region = 'us' WHERE id = 3; UPDATE m SET at = '2024-02-02' WHERE region = 'eu' AND at = '2024-01-04'; UPDATE m SET v = 'u' WHERE id % 7 = 0; DELETE FROM m WHERE id % 11 = 0;
         UPDATE m_us SET id = id + 1000 WHERE id < 20; UPDATE h SET id = id + 100; DELETE FROM h WHERE id = 120;
--
         TRUNCATE m_eu_1;
--
         TRUNCATE m_eu; INSERT INTO m VALUES (1, 'eu', '2024-01-05', 'after');",
    )
    .await;
}

#[tokio::test]
async fn partitions_into_a_target_with_others() {
    run(&Check {
        target: Some(
            "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE m_low PARTITION OF m FOR VALUES FROM (0) TO (50); CREATE TABLE m_high PARTITION OF m FOR VALUES FROM (50) TO (100000);
             CREATE TABLE flat (id int PRIMARY KEY, v text);
             CREATE TABLE k (n int, v text) PARTITION BY LIST (n); CREATE TABLE k_all PARTITION OF k DEFAULT;",
        ),
        compared: &["public.m", "public.flat", "public.k"],
        ..Check::new(
            "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY HASH (id); CREATE TABLE m0 PARTITION OF m FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE m1 PARTITION OF m FOR VALUES WITH (MODULUS 2, REMAINDER 1);
             CREATE TABLE flat (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE flat_1 PARTITION OF flat FOR VALUES FROM (0) TO (1000);
             CREATE TABLE k (n int, v text) PARTITION BY LIST (n); CREATE TABLE k1 PARTITION OF k FOR VALUES IN (1); CREATE TABLE k2 PARTITION OF k FOR VALUES IN (2);
             INSERT INTO k SELECT 1 + i % 2, 'v' FROM generate_series(1, 20) i;
             INSERT INTO m SELECT i, 'v' FROM generate_series(1, 90) i; INSERT INTO flat SELECT i, 'v' FROM generate_series(1, 90) i;",
            "INSERT INTO m SELECT i, 'w' FROM generate_series(100, 200) i; UPDATE m SET id = id + 1000 WHERE id % 2 = 0; UPDATE m SET v = 'u' WHERE id % 3 = 0; DELETE FROM m WHERE id % 5 = 0;
             UPDATE flat SET id = id + 100 WHERE id < 5; INSERT INTO flat SELECT i, 'w' FROM generate_series(200, 250) i; DELETE FROM flat WHERE id = 9;
             DELETE FROM k WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM k WHERE n = 1 LIMIT 1); UPDATE k SET n = 2 WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM k WHERE n = 1 LIMIT 1);
--
             TRUNCATE k; INSERT INTO k VALUES (1, 'x');
--
             TRUNCATE m; INSERT INTO m VALUES (1, 'x');",
        )
    })
    .await;
}

#[tokio::test]
async fn truncates() {
    run(&Check {
        // The stream does not carry what a sequence does; the end sets it.
        ..Check::new(
            "CREATE TABLE a (id serial PRIMARY KEY, v text); CREATE TABLE b (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a_id int REFERENCES a); CREATE TABLE c (id int PRIMARY KEY); CREATE TABLE kept (id int PRIMARY KEY);
             CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (100);
             CREATE TABLE parent (id int); CREATE TABLE child (x int) INHERITS (parent); INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 2);
             INSERT INTO a (v) SELECT 'v' FROM generate_series(1, 20); INSERT INTO b (a_id) SELECT i FROM generate_series(1, 20) i; INSERT INTO c SELECT generate_series(1, 20); INSERT INTO kept SELECT generate_series(1, 20); INSERT INTO p SELECT generate_series(1, 20);",
            "INSERT INTO c VALUES (100); TRUNCATE a, b RESTART IDENTITY; INSERT INTO a (v) VALUES ('new'); INSERT INTO b (a_id) VALUES (1);
             TRUNCATE c; INSERT INTO c VALUES (5);
--
             TRUNCATE a CASCADE; INSERT INTO a (v) SELECT 'x' FROM generate_series(1, 30); INSERT INTO b (a_id) SELECT max(id) FROM a;
             TRUNCATE p; INSERT INTO p VALUES (15);
--
             TRUNCATE ONLY parent; INSERT INTO parent VALUES (7);
--
             BEGIN; TRUNCATE kept; ROLLBACK;",
        )
    })
    .await;
}

#[tokio::test]
async fn savepoints_messages_and_empty_transactions() {
    run(&Check { facts: false, ..Check::new(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 50) i; CREATE TABLE e (id int PRIMARY KEY); CREATE UNLOGGED TABLE lost (a int);",
        "BEGIN; INSERT INTO t VALUES (100, 'kept'); SAVEPOINT a; INSERT INTO t SELECT i, 'gone' FROM generate_series(200, 260) i; UPDATE t SET v = 'gone'; ROLLBACK TO a; UPDATE t SET v = 'u' WHERE id = 1;
         SAVEPOINT b; DELETE FROM t WHERE id = 2; RELEASE b; SELECT pg_logical_emit_message(true, 'p', 'inside'); COMMIT;
--
         SELECT pg_logical_emit_message(false, 'p', 'outside'); SELECT pg_logical_emit_message(true, 'p', repeat('x', 1000000));
--
         BEGIN; DELETE FROM t; ROLLBACK;
--
         INSERT INTO lost VALUES (1); CREATE TEMP TABLE tmp AS SELECT 1; UPDATE t SET v = v;
--
         BEGIN; DECLARE c CURSOR FOR SELECT * FROM t; SELECT txid_current(); COMMIT;",
    )})
    .await;
}

#[tokio::test]
async fn odd_names() {
    let long = "x".repeat(63);
    check(
        &format!(
            "CREATE SCHEMA \"Odd \"\"Schema\"\" é\"; CREATE SCHEMA \"select\";
             CREATE TABLE \"Odd \"\"Schema\"\" é\".\"Table; DROP\" (\"Id\" int PRIMARY KEY, \"user\" text, \"a.b\" text, \"$1\" text, \"%s\" text, \"tab\t\" text, \"\\\" text);
             CREATE TABLE \"select\".\"table\" (\"order\" int, \"group\" int, \"ünï\" text, PRIMARY KEY (\"group\", \"order\")); CREATE TABLE public.{long} ({long} int PRIMARY KEY, v text);
             CREATE TABLE \"public\".\"public.x\" (\"'q'\" int PRIMARY KEY, oid2 int, \"ctid \" int); CREATE TABLE \"日本語\" (\"列\" int PRIMARY KEY);
             INSERT INTO \"Odd \"\"Schema\"\" é\".\"Table; DROP\" SELECT i, 'u', 'ab', '1', 's', 't', 'b' FROM generate_series(1, 20) i; INSERT INTO \"select\".\"table\" SELECT i, i, 'x' FROM generate_series(1, 20) i;
             INSERT INTO {long} SELECT i, 'v' FROM generate_series(1, 20) i; INSERT INTO \"public.x\" SELECT i, i, i FROM generate_series(1, 20) i; INSERT INTO \"日本語\" SELECT generate_series(1, 20);"
        ),
        &format!(
            "INSERT INTO \"Odd \"\"Schema\"\" é\".\"Table; DROP\" SELECT i, 'u', 'ab', '1', 's', 't', 'b' FROM generate_series(21, 60) i; UPDATE \"Odd \"\"Schema\"\" é\".\"Table; DROP\" SET \"user\" = 'x', \"$1\" = NULL WHERE \"Id\" < 5; DELETE FROM \"Odd \"\"Schema\"\" é\".\"Table; DROP\" WHERE \"Id\" = 9;
             UPDATE \"select\".\"table\" SET \"order\" = -\"order\", \"ünï\" = 'y' WHERE \"group\" < 5; UPDATE {long} SET v = 'u' WHERE {long} = 3; DELETE FROM {long} WHERE {long} = 4; UPDATE \"public.x\" SET \"'q'\" = -1 WHERE \"'q'\" = 1;
             INSERT INTO \"日本語\" SELECT generate_series(21, 60); TRUNCATE \"select\".\"table\"; INSERT INTO \"select\".\"table\" VALUES (1, 2, 'z');"
        ),
    )
    .await;
}

#[tokio::test]
async fn inheritance_empty_tables_and_tables_without_columns() {
    check(
        "CREATE TABLE base (id int PRIMARY KEY, v text); CREATE TABLE derived (w text, PRIMARY KEY (id)) INHERITS (base); CREATE TABLE twice () INHERITS (base, derived); ALTER TABLE twice ADD PRIMARY KEY (id);
         CREATE TABLE empty (id int PRIMARY KEY); CREATE TABLE nothing (); CREATE TABLE only_generated (g int GENERATED ALWAYS AS (1) STORED);
         INSERT INTO base SELECT i, 'b' FROM generate_series(1, 20) i; INSERT INTO derived SELECT i, 'd', 'w' FROM generate_series(1, 20) i; INSERT INTO twice SELECT i, 't', 'w' FROM generate_series(1, 20) i;
         INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES; INSERT INTO only_generated DEFAULT VALUES;",
        "INSERT INTO base SELECT i, 'b' FROM generate_series(21, 60) i; UPDATE base SET v = 'u' WHERE id < 5; DELETE FROM ONLY base WHERE id = 7; DELETE FROM derived WHERE id = 8; UPDATE ONLY base SET id = id + 100 WHERE id = 10; INSERT INTO twice VALUES (99, 'n', 'n');
         INSERT INTO nothing SELECT FROM generate_series(1, 40); INSERT INTO only_generated SELECT FROM generate_series(1, 3); DELETE FROM nothing WHERE ctid = (SELECT min(ctid) FROM nothing);
         INSERT INTO nothing DEFAULT VALUES;",
    )
    .await;
}

#[tokio::test]
async fn many_columns() {
    let list = |each: &dyn Fn(usize) -> String| (1..=1599).map(each).collect::<Vec<_>>().join(", ");
    let columns = list(&|n| format!("c{n} int2"));
    let values = list(&|n| if n % 7 == 0 { "NULL".to_owned() } else { (n % 100).to_string() });
    check(
        &format!("CREATE TABLE many (id int2 PRIMARY KEY, {columns}); INSERT INTO many SELECT i, {values} FROM generate_series(1, 20) i;"),
        &format!("INSERT INTO many SELECT i, {values} FROM generate_series(21, 50) i; INSERT INTO many SELECT 60, {values}; UPDATE many SET c1 = 5, c1599 = NULL WHERE id < 10; DELETE FROM many WHERE id = 11;"),
    )
    .await;
}

#[tokio::test]
async fn foreign_keys_triggers_and_sequences() {
    check(
        "CREATE TABLE log (n int); CREATE TABLE customers (id serial PRIMARY KEY, code text UNIQUE, boss int REFERENCES customers);
         CREATE TABLE orders (id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customers ON DELETE CASCADE ON UPDATE CASCADE, code text REFERENCES customers (code) DEFERRABLE INITIALLY DEFERRED);
         CREATE TABLE ring_a (id int PRIMARY KEY, b int); CREATE TABLE ring_b (id int PRIMARY KEY, a int REFERENCES ring_a DEFERRABLE); ALTER TABLE ring_a ADD FOREIGN KEY (b) REFERENCES ring_b DEFERRABLE;
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.log VALUES (1); RETURN NEW; END'; CREATE TRIGGER note AFTER INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION note();
         CREATE SEQUENCE down INCREMENT -3 START 100 MINVALUE -1000 MAXVALUE 100; CREATE SEQUENCE cached CACHE 50; CREATE SEQUENCE fresh START 42; CREATE SEQUENCE small AS smallint MAXVALUE 5 CYCLE; CREATE SEQUENCE owned OWNED BY customers.code;
         CREATE VIEW v AS SELECT code FROM customers; CREATE INDEX part ON customers (lower(code)) WHERE boss IS NULL; ALTER TABLE customers ADD CHECK (id > 0) NOT VALID;
         INSERT INTO customers (code, boss) SELECT 'c' || i, nullif(i / 2, 0) FROM generate_series(1, 20) i; INSERT INTO orders (customer, code) SELECT i, 'c' || i FROM generate_series(1, 20) i;
         SELECT nextval('down'), nextval('cached'), nextval('small'), nextval('owned');",
        "INSERT INTO customers (code, boss) VALUES ('new', 21); UPDATE customers SET id = 500 WHERE id = 20; DELETE FROM customers WHERE id = 19; INSERT INTO orders (customer) SELECT 1 FROM generate_series(1, 30);
         BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO ring_a VALUES (1, 1); INSERT INTO ring_b VALUES (1, 1); COMMIT;
--
         SELECT nextval('down') FROM generate_series(1, 5); SELECT nextval('cached'); SELECT nextval('small') FROM generate_series(1, 7); SELECT setval('owned', 777, false);",
    )
    .await;
}
