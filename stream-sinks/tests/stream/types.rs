//! Values of all types, by the binary and the text road.

use stream_core::ErrorKind;
use stream_core::throwaway::testing;

use crate::fixture::{self, Check, Stream, check, database, execute, run};

const ROWS: &str = "
INSERT INTO plain VALUES
 (n + 1, true, 'a', 'ab', 'abc  ', 'x', '\\x00ff', 1, 2, 3, 1.10, 1e20, 1.5, '$-1,234.56', B'101', B'1',
  '2024-02-29', '12:34:56.789', '24:00:00-03:30', '2024-02-29 12:34:56', '2024-02-29 12:34:56+02', '-1 year 2 mons -3 days 04:05:06.7',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"b\": 1,  \"a\": [1, null]}', '{\"b\": 1, \"a\": [1, null]}', '<a>é</a>', '10.1.2.3/24', '10.1.0.0/16', '08:00:2b:01:02:03',
  '08:00:2b:01:02:03:04:05', '(1,2)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '((0,0),(1,1),(1,0))', '((0,0),(1,1),(1,0))', '<(0,0),5>',
  'a fat:1A cat:2 ''it''''s''', 'fat & !cat:*A', '0/16B3748', '10:20:10,14,15', '$.a[*] ? (@ > 1)',
  '[1,5)', '{[1,3),[5,7)}', '(,2024-01-01)', '[2024-01-01,)', '[1.5,2.5]', '[2024-01-01 00:00+00,infinity]',
  '{1,NULL,3}', '[0:1]={a,\"b,\\\"c\\\"\"}', '{{1,2},{3,4}}', '{}', '{2024-01-01,infinity}', '\\x', 12, 'public', 'tab\tnewline\n\\N back\\slash \\.'),
 (n + 2, false, '', '', '', '', '', -32768, -2147483648, -9223372036854775808, 'NaN', 'NaN', 'NaN', '$0', B'000', B'',
  'infinity', '00:00', '00:00+14', 'infinity', '-infinity', '178000000 years', NULL, 'null', 'null', '', '::1', '::/0', NULL, NULL, '(-0,NaN)', NULL,
  '((1,2))', NULL, NULL, NULL, NULL, '', '', 'FFFFFFFF/FFFFFFFF', NULL, '$', 'empty', '{}', 'empty', '(,)', '(,)', 'empty',
  '{NULL}', '{\"NULL\",\"\",\" \"}', NULL, NULL, '{}', '\\xdeadbeef', 0, '', '\\N'),
 (n + 3, NULL, 'ü', 'ü€𝄞', '𝄞', '\"', '\\x5c4e', 32767, 2147483647, 9223372036854775807, 99999999.99, 'Infinity', '-Infinity', '-$92,233,720,368,547,758.08', B'111', B'0101010101',
  '0044-03-15 BC', '23:59:59.999999', '23:59:59.999999+15:59', '0044-03-15 10:00:00 BC', '4714-11-24 00:00:00+00 BC', '-178000000 years', NULL, '\"x\"', '1.0', 'text only', '0.0.0.0/0', '1.2.3.4', NULL, NULL, '(1e300,Infinity)', NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (n + 4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '-infinity', NULL, NULL, '-infinity', 'infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);";

/// The rows under other keys, with escapes understood.
fn rows(first: u32) -> String {
    ROWS.replace("n + ", &format!("{first} + ")).replace("(n", "(0").replace("'tab\t", "E'tab\t")
}

#[tokio::test]
async fn built_in_types() {
    let schema = format!(
        "CREATE TABLE plain (id int PRIMARY KEY, b bool, c text, d varchar(10), e char(8), f \"char\", g bytea, h int2, i int4, j int8, k numeric(10,2), l float8, m float4, n money,
           o bit(3), p varbit, q date, r time, s timetz, t timestamp, u timestamptz, v interval, w uuid, x json, y jsonb, z xml, aa inet, ab cidr, ac macaddr, ad macaddr8,
           ae point, af line, ag path, ah box, ai path, aj polygon, ak circle, al tsvector, am tsquery, an pg_lsn, ao txid_snapshot, ap jsonpath,
           aq int4range, ar int4multirange, \"as\" daterange, at daterange, au numrange, av tstzrange, aw int[], ax text[], ay int[], az text[], ba date[], bb bytea, bc oid, bd name, be text);
         {}",
        rows(0)
    );
    let changes = format!(
        "{} \n--\n UPDATE plain SET c = coalesce(c, '') || 'changed', l = l, y = NULL, x = '{{\"new\":  1}}' WHERE id > 100; UPDATE plain SET id = id + 1000 WHERE id < 3;
         UPDATE plain SET (d, e, f, g, h, i, j, k, l, m, n) = (SELECT d, e, f, g, h, i, j, k, l, m, n FROM plain WHERE id = 101) WHERE id = 104;
         INSERT INTO plain SELECT 2000 + s, (plain.*).b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s1.* FROM generate_series(1, 0) s, plain, (SELECT 1) s1 WHERE false;",
        rows(100)
    );
    // The last statement is not worth its columns.
    let changes = changes.split("INSERT INTO plain SELECT 2000").next().unwrap().to_owned();
    check(&schema, &changes).await;
}

#[tokio::test]
async fn types_of_users() {
    check(
        "CREATE SCHEMA own;
         CREATE TYPE own.mood AS ENUM ('sad', 'it''s ok', 'Very Happy'); CREATE DOMAIN own.positive AS int CHECK (VALUE > 0); CREATE DOMAIN own.label AS text NOT NULL DEFAULT 'x';
         CREATE DOMAIN own.moods AS own.mood[]; CREATE DOMAIN own.deep AS own.positive CHECK (VALUE < 1000);
         CREATE TYPE own.pair AS (a int, \"B c\" text, m own.mood); CREATE TYPE own.span AS RANGE (subtype = float8); CREATE TYPE own.moodrange AS RANGE (subtype = own.mood);
         CREATE TABLE own.t (id own.positive PRIMARY KEY, m own.mood, ms own.mood[], l own.label, d own.moods, p own.pair, ps own.pair[], s own.span, mr own.moodrange, dp own.deep, pos own.positive[], rc regclass);
         CREATE TABLE own.enum_key (m own.mood, l own.label, v int, PRIMARY KEY (m, l)); CREATE TABLE own.enum_only (id int PRIMARY KEY, m own.mood, p own.positive);
         CREATE TABLE own.no_key (m own.mood, p own.pair, d own.positive, x xml);
         INSERT INTO own.no_key SELECT 'sad', ROW(1, 'x', 'sad')::own.pair, 1, '<a/>' FROM generate_series(1, 3);
         INSERT INTO own.enum_only SELECT i, 'sad', i FROM generate_series(1, 30) i;
         INSERT INTO own.enum_key VALUES ('sad', 'a', 1), ('it''s ok', 'b', 2), ('Very Happy', 'c', 3);
         INSERT INTO own.t SELECT i, 'sad', '{sad,NULL,\"Very Happy\"}', 'l', '{sad}', ROW(i, 'x,\"y\"', 'it''s ok')::own.pair, ARRAY[ROW(1, NULL, NULL)::own.pair, NULL::own.pair], '[1.5,2)', '[sad,\"Very Happy\"]', i, '{1,2}', 'pg_class' FROM generate_series(1, 30) i;",
        "INSERT INTO own.t SELECT i, 'Very Happy', '{}', '', NULL, ROW(NULL, '', NULL)::own.pair, NULL, 'empty', NULL, NULL, NULL, 'pg_type' FROM generate_series(31, 60) i;
         UPDATE own.t SET m = 'it''s ok', p = NULL WHERE id < 10; UPDATE own.t SET id = id + 100 WHERE id < 5; DELETE FROM own.t WHERE id = 50;
         UPDATE own.enum_key SET m = 'it''s ok' WHERE m = 'sad'; UPDATE own.enum_key SET v = 9 WHERE l = 'b'; DELETE FROM own.enum_key WHERE l = 'c';
         INSERT INTO own.enum_only SELECT i, 'Very Happy', i FROM generate_series(31, 60) i; UPDATE own.enum_only SET m = 'it''s ok' WHERE id % 3 = 0; DELETE FROM own.enum_only WHERE id = 9;
         DELETE FROM own.no_key WHERE ctid = (SELECT min(ctid) FROM own.no_key); UPDATE own.no_key SET p = ROW(2, 'z', NULL) WHERE ctid = (SELECT min(ctid) FROM own.no_key);
--
         UPDATE own.t SET ms = ms || 'sad'::own.mood, l = l || 'x';",
    )
    .await;
}

#[tokio::test]
async fn types_of_extensions() {
    run(&Check {
        facts: false,
        ..Check::new(
            "CREATE EXTENSION hstore SCHEMA public; CREATE EXTENSION citext SCHEMA public;
             CREATE TABLE t (id int PRIMARY KEY, h hstore, c citext, cs citext[], hs hstore[]); CREATE TABLE ci (k citext PRIMARY KEY, v int);
             CREATE TABLE loose (c citext, h hstore);
             INSERT INTO t SELECT i, 'a=>1, \"b c\"=>NULL', 'MiXed', '{A,a,NULL}', NULL FROM generate_series(1, 20) i; INSERT INTO ci VALUES ('Key', 1), ('OTHER', 2);
             INSERT INTO loose VALUES ('A', 'a=>1'), ('a', 'a=>1'), ('a', 'a=>1');",
            "INSERT INTO t SELECT i, '', '', '{}', '{a=>1}' FROM generate_series(21, 60) i; UPDATE t SET h = h || 'z=>9', c = 'mIxED' WHERE id < 5; DELETE FROM t WHERE id = 30;
             UPDATE ci SET k = 'KEY' WHERE k = 'key'; UPDATE ci SET v = 3 WHERE k = 'other'; INSERT INTO ci VALUES ('neu', 1);
             DELETE FROM loose WHERE c::text = 'A'; UPDATE loose SET h = NULL WHERE ctid = (SELECT min(ctid) FROM loose);",
        )
    })
    .await;
}

#[tokio::test]
async fn odd_settings_of_the_database_and_role() {
    let odd = "DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET DateStyle = ''SQL, DMY''', current_database());
        EXECUTE format('ALTER DATABASE %I SET IntervalStyle = ''sql_standard''', current_database());
        EXECUTE format('ALTER DATABASE %I SET TimeZone = ''Asia/Kathmandu''', current_database());
        EXECUTE format('ALTER DATABASE %I SET extra_float_digits = -10', current_database());
        EXECUTE format('ALTER DATABASE %I SET bytea_output = ''escape''', current_database());
        EXECUTE format('ALTER DATABASE %I SET lc_monetary = ''C''', current_database());
        EXECUTE format('ALTER DATABASE %I SET xmloption = ''document''', current_database());
        EXECUTE format('ALTER DATABASE %I SET standard_conforming_strings = off', current_database());
        EXECUTE format('ALTER DATABASE %I SET array_nulls = off', current_database());
        EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
        EXECUTE format('ALTER DATABASE %I SET search_path = ''nowhere''', current_database());
        EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET statement_timeout = ''1s''', current_database());
        EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET idle_in_transaction_session_timeout = ''100ms''', current_database());
        EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET default_transaction_isolation = ''serializable''', current_database());
        EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET client_encoding = ''LATIN1''', current_database());
        EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET row_security = on', current_database());
        END $$;";
    let table = "CREATE TABLE public.t (id int PRIMARY KEY, d date, t timestamp, z timestamptz, i interval, f float8, g float4, b bytea, a text[], x xml, s text, m money, r regclass);";
    let insert = "INSERT INTO public.t SELECT i, '2024-02-03', '2024-02-03 04:05:06.789', '2024-02-03 04:05:06+00', '-1 year 2 mons -3 days 04:05', 0.1 + 0.2, 1.0/3, '\\x00ff5c', ARRAY['NULL', NULL, 'a\\b'], 'no <b>document</b>', 'back\\slash é', '1.5', 'pg_class' FROM generate_series(";
    run(&Check {
        schema: &format!("{table} {insert} 1, 20) i; {odd}"),
        changes: &format!("{insert} 21, 60) i; \n--\n UPDATE public.t SET d = d + 1, i = -i WHERE id < 10; UPDATE public.t SET id = -id WHERE id > 50;"),
        target_changes: odd,
        ..Check::new("", "")
    })
    .await;
    run(&Check {
        schema: &format!("{table} {insert} 1, 20) i; {odd}"),
        changes: &format!(
            "{insert} 21, 60) i; \n--\n UPDATE public.t SET d = d + 1, i = -i WHERE id < 10;"
        ),
        target: Some(&format!("{table} {odd}")),
        ..Check::new("", "")
    })
    .await;
}

/// Their binary form is one of very many years there.
#[tokio::test]
async fn intervals_without_end_are_refused_by_a_server_that_has_none() {
    let (newest, oldest) = (*testing::majors().last().unwrap(), testing::oldest_major());
    assert!(newest >= 17 && oldest < 17, "the tests run with such servers");
    let schema = "CREATE DOMAIN span AS interval;
        CREATE TABLE t (id int PRIMARY KEY, i interval, l interval[], s span); INSERT INTO t VALUES (1, '1 day', '{-1 mon}', '3 h')";
    for values in
        ["'infinity', NULL, NULL", "NULL, '{1 day,-infinity}', NULL", "NULL, NULL, 'infinity'"]
    {
        for in_stream in [false, true] {
            let from = database(testing::server(newest), "").await;
            let to = database(testing::server(oldest), "").await;
            let stream = Stream::new(&from, &to);
            execute(&stream.source, schema).await;
            let insert = format!("INSERT INTO t VALUES (2, {values})");
            if !in_stream {
                execute(&stream.source, &insert).await;
            }
            let work = async {
                if in_stream {
                    execute(&stream.source, &insert).await;
                }
            };
            let error = stream.run_with(work).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
            let told = error.to_string();
            assert!(told.contains("public.t") && told.contains("type interval"), "{told}");
            let expected = if in_stream { "(1)" } else { "(0)" };
            let rows = fixture::rows(&stream.target, "SELECT count(*) FROM t").await;
            assert_eq!(rows, [expected], "{values}");
            let (source, sql) = (&stream.source, "DELETE FROM t WHERE id = 2");
            // It goes on once the row has no such value, which the log of the stream keeps.
            if !in_stream {
                execute(source, sql).await;
                stream.complete().await.unwrap();
                fixture::assert_same_rows(&stream, "SELECT id, i::text, l::text, s::text FROM t")
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn a_latin1_source() {
    run(&Check {
        database: "ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'",
        ..Check::new(
            "CREATE TABLE \"Größe\" (\"schlüssel\" text PRIMARY KEY, \"ä\" text, e \"char\", x xml, j json, n name);
             INSERT INTO \"Größe\" SELECT 'ö' || i, 'naïve café £ ÿ', 'x', '<é/>', '\"ü\"', 'ñ' FROM generate_series(1, 20) i;",
            "INSERT INTO \"Größe\" SELECT 'ß' || i, 'é', NULL, NULL, NULL, NULL FROM generate_series(1, 40) i; UPDATE \"Größe\" SET \"ä\" = 'æ' WHERE \"schlüssel\" LIKE 'ö1%';
             UPDATE \"Größe\" SET \"schlüssel\" = 'Ü' || \"schlüssel\" WHERE \"schlüssel\" LIKE 'ß2%'; DELETE FROM \"Größe\" WHERE \"schlüssel\" = 'ö5';",
        )
    })
    .await;
}

#[tokio::test]
async fn text_that_utf8_cannot_have_stops_the_stream_and_the_way_on_is_said() {
    for major in testing::majors() {
        let server = testing::server(major);
        // The server makes UTF-8 of what it sends, and has none for this byte.
        let windows = "ENCODING 'WIN1252' TEMPLATE template0 LOCALE 'C'";
        let (from, to) = (database(server, windows).await, database(server, "").await);
        from.execute("CREATE TABLE t (id int PRIMARY KEY, v text)").await.unwrap();
        let stream = Stream::new(&from, &to);
        let change = "INSERT INTO t VALUES (1, 'ü'), (2, E'\\x81')";
        let error = stream.run_with(execute(&stream.source, change)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent);
        let text = error.to_string();
        assert!(text.contains("text that UTF-8 cannot have"), "{text}");
        assert!(text.contains("drop the slot, and take a new snapshot"), "{text}");
    }
}

#[tokio::test]
async fn wider_types_other_order_and_more_columns_at_the_target() {
    run(&Check {
        target: Some(
            "CREATE TABLE wide (extra text DEFAULT 'filled', v text, id bigint PRIMARY KEY, made timestamptz DEFAULT now(), r float8, n numeric, s int, c text, nn int GENERATED ALWAYS AS (s * 2) STORED);
             CREATE TABLE other_order (c text, b int, a int PRIMARY KEY);",
        ),
        expect: &[("SELECT count(*) FROM wide WHERE extra = 'filled' AND made IS NOT NULL AND nn = s * 2", &["(59)"])],
        ..Check::new(
            "CREATE TABLE wide (id int PRIMARY KEY, v varchar(20), n numeric(10,2), s smallint, c char(5), r real); INSERT INTO wide SELECT i, 'v' || i, i / 3.0, i, 'c', 1.5 FROM generate_series(1, 20) i;
             CREATE TABLE other_order (a int PRIMARY KEY, b int, c text); INSERT INTO other_order SELECT i, -i, 'c' FROM generate_series(1, 20) i;",
            "INSERT INTO wide SELECT i, 'v', i, i, 'cc', 0.25 FROM generate_series(21, 60) i; UPDATE wide SET v = 'u', s = 7 WHERE id < 5; UPDATE wide SET id = id + 1000 WHERE id < 10; DELETE FROM wide WHERE id = 60;
             INSERT INTO other_order SELECT i, -i, 'd' FROM generate_series(21, 60) i; UPDATE other_order SET b = 0 WHERE a % 2 = 0; UPDATE other_order SET a = -a WHERE a > 50; DELETE FROM other_order WHERE a = 1;",
        )
    })
    .await;
}

const SQL_ASCII: &str = "ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'";

#[tokio::test]
async fn bytes_of_no_encoding_stay_as_they_are_between_databases_without_one() {
    for major in testing::majors() {
        let server = testing::server(major);
        let (from, to) = (database(server, SQL_ASCII).await, database(server, SQL_ASCII).await);
        let schema =
            r"CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, E'\xff')";
        from.execute(schema).await.unwrap();
        let stream = Stream::new(&from, &to);
        let change = r"INSERT INTO t VALUES (2, E'caf\xe9'), (3, 'ü'); UPDATE t SET v = E'\xfe' WHERE id = 1";
        stream.run_with(execute(&stream.source, change)).await.unwrap();
        let sql = "SELECT id, v::bytea FROM t";
        let (source, target) = (&stream.source, &stream.target);
        assert_eq!(fixture::rows(target, sql).await, fixture::rows(source, sql).await);
    }
}

/// No other attempt helps.
#[tokio::test]
async fn a_name_of_no_encoding_is_an_error_with_a_remedy() {
    let server = testing::server(15);
    let (from, to) = (database(server, SQL_ASCII).await, database(server, "").await);
    let sql = r#"DO $$ BEGIN EXECUTE format('CREATE TABLE t (id int, %I int)', convert_from('\xe4', 'SQL_ASCII')); END $$"#;
    from.execute(sql).await.unwrap();
    let error = Stream::new(&from, &to).complete().await.unwrap_err();
    let text = error.to_string();
    assert!(!error.is_retryable() && text.contains("a name there is not UTF-8"), "{text}");
}

#[tokio::test]
async fn bytes_that_the_target_cannot_have_stop_the_stream_at_their_row() {
    for major in testing::majors() {
        let server = testing::server(major);
        let (from, to) = (database(server, SQL_ASCII).await, database(server, "").await);
        from.execute("CREATE TABLE t (id int PRIMARY KEY, v text)").await.unwrap();
        let stream = Stream::new(&from, &to);
        let change = r"INSERT INTO t VALUES (1, 'ü'), (2, E'\xff')";
        let error = stream.run_with(execute(&stream.source, change)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
        let text = error.to_string();
        assert!(text.contains("public.t") && text.contains("0xff"), "{text}");
    }
}
