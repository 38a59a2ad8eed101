//! Sessions against a real server, and against one that says whatever we want.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use stream_core::copy::CopyFormat;
use stream_core::lsn::Lsn;
use stream_core::postgres::PluginOptions;
use stream_core::postgres::connect::{ConnectError, Session};
use stream_core::postgres::error::WireError;
use stream_core::postgres::options::{ConnectOptions, Password, RootCert, SslMode};
use stream_core::postgres::pins::{PINS, PINS_SINCE};
use stream_core::postgres::replication::ReplicationStream;
use stream_core::postgres::sql_client::SqlClient;
use stream_core::postgres::tls::server_end_point;
use stream_core::postgres::wire::{COPY_BOTH_RESPONSE_TAG, Wire};
use stream_core::throwaway::Server;
use stream_core::throwaway::testing::{self, TestDatabase};
use tokio::io::AsyncWriteExt;

/// The superuser of `server`, in the database `postgres`.
fn admin(server: &Server) -> ConnectOptions {
    server.url("postgres").parse().unwrap()
}

/// The role `user` over TCP.
fn tcp(server: &Server, host: &str, user: &str, password: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(host, user, "postgres");
    options.port = server.port();
    options.password = Some(Password::new(password));
    options
}

/// Puts `lines` before those of the server's `pg_hba.conf`.
async fn let_in(server: &Server, lines: &str) {
    let mut admin = sql(&admin(server)).await;
    let path = value(&mut admin, "SHOW hba_file").await;
    let rest = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{lines}\n{rest}")).unwrap();
    reload(&mut admin).await;
}

/// Makes the server read its files again, and waits until new sessions see them.
async fn reload(admin: &mut Wire) {
    let loaded = "SELECT pg_conf_load_time()";
    let before = value(admin, loaded).await;
    admin.simple_query("SELECT pg_reload_conf()").await.unwrap();
    while value(admin, loaded).await == before {}
}

/// Switches TLS on with the `server.crt` and `server.key` that `make` puts into a directory.
async fn encrypt(server: &Server, make: impl FnOnce(&Path)) -> PathBuf {
    let directory = server.data_dir().join("certificates");
    std::fs::create_dir(&directory).unwrap();
    make(&directory);
    let owner = std::fs::metadata(server.data_dir()).unwrap();
    for file in ["", "server.crt", "server.key"].map(|name| directory.join(name)) {
        chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let key = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(directory.join("server.key"), key).unwrap();
    let mut admin = sql(&admin(server)).await;
    for (name, file) in [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")] {
        let path = directory.join(file);
        let sql = format!("ALTER SYSTEM SET {name} = '{}'", path.display());
        admin.simple_query(&sql).await.unwrap();
    }
    admin.simple_query("ALTER SYSTEM SET ssl = on").await.unwrap();
    reload(&mut admin).await;
    directory
}

fn openssl(directory: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.args(arguments.split_whitespace()).current_dir(directory);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

async fn sql(options: &ConnectOptions) -> Wire {
    Wire::connect(options, Session::Sql).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn refusal(options: &ConnectOptions) -> ConnectError {
    match Wire::connect(options, Session::Sql).await {
        Ok(_) => panic!("{options} is let in"),
        Err(error) => error,
    }
}

async fn value(wire: &mut Wire, query: &str) -> String {
    let rows = wire.simple_query(query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    rows[0].get(0).unwrap().to_owned()
}

#[tokio::test]
async fn every_password_method_lets_the_right_password_in_and_no_other() {
    let server = testing::server(testing::oldest_major());
    let methods = [
        ("trusted", "trust"),
        ("md5user", "md5"),
        ("plain", "password"),
        ("scram", "scram-sha-256"),
        ("other", "reject"),
    ];
    let lines = methods.map(|(user, method)| format!("host all {user} 127.0.0.1/32 {method}"));
    let_in(server, &lines.join("\n")).await;
    let mut session = sql(&admin(server)).await;
    session
        .simple_query(
            "CREATE ROLE trusted LOGIN; CREATE ROLE other LOGIN;
             SET password_encryption = 'md5'; CREATE ROLE md5user LOGIN PASSWORD 'päss';
             SET password_encryption = 'scram-sha-256';
             CREATE ROLE plain LOGIN PASSWORD 'päss'; CREATE ROLE scram LOGIN PASSWORD 'päss'",
        )
        .await
        .unwrap();
    for user in ["trusted", "md5user", "plain", "scram"] {
        let right = tcp(server, "localhost", user, "päss");
        let mut wire = sql(&right).await;
        assert_eq!(value(&mut wire, "SELECT current_user").await, user);
        wire.terminate().await;
        let client = SqlClient::connect(&right).await.unwrap();
        let row = client.query_one("SELECT current_user::text", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), user);
        client.close().await;
        if user == "trusted" {
            continue;
        }
        let error = refusal(&tcp(server, "localhost", user, "wrong")).await;
        assert!(matches!(&error, ConnectError::Refused { error, .. } if error.code == "28P01"));
        assert!(!error.is_retryable());
        let text = error.to_string();
        assert!(text.starts_with("cannot log in to `localhost:"), "{text}");
        assert!(text.contains("; check the password") && !text.contains("wrong"), "{text}");
        let without = ConnectOptions { password: None, ..right };
        let text = refusal(&without).await.to_string();
        assert!(text.contains("asks for a password and none is given"), "{text}");
    }

    let error = refusal(&tcp(server, "localhost", "other", "x")).await;
    assert!(error.to_string().contains("lines of pg_hba.conf"), "{error}");
    assert!(!error.is_retryable());
    let error = refusal(&admin(server).with_database("nowhere")).await;
    assert!(error.to_string().contains("create the database"), "{error}");
    let mut encrypted = tcp(server, "localhost", "trusted", "");
    encrypted.ssl_mode = SslMode::Require;
    let error = refusal(&encrypted).await;
    assert!(matches!(error, ConnectError::TlsNotOffered { .. }) && !error.is_retryable());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_and_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = ConnectOptions::new("127.0.0.1", "u", "d");
    options.port = listener.local_addr().unwrap().port();
    options.connect_timeout = Duration::from_secs(1);
    let silent = refusal(&options).await;
    assert!(matches!(silent, ConnectError::TimedOut { seconds: 1, .. }), "{silent}");
    assert!(silent.is_retryable());

    drop(listener);
    let refused = refusal(&options).await;
    assert!(matches!(refused, ConnectError::Unreachable { .. }), "{refused}");
    assert!(refused.is_retryable());

    options.host = "no-such-host.invalid".to_owned();
    options.connect_timeout = Duration::from_secs(60);
    let unknown = refusal(&options).await;
    assert!(matches!(unknown, ConnectError::UnknownHost { .. }), "{unknown}");

    options.host = "/no/such/directory".to_owned();
    let unknown = refusal(&options).await;
    assert!(matches!(unknown, ConnectError::Unreachable { .. }), "{unknown}");
}

/// A certificate authority `NAME.crt`, and `server.crt` signed by it, for `localhost`.
fn certificates(directory: &Path, name: &str) {
    let openssl = |arguments: &str| openssl(directory, arguments);
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {new_key} -days 1 -subj /CN={name} -keyout {name}.key -out {name}.crt"
    ));
    openssl(&format!("req {new_key} -subj /CN=localhost -keyout server.key -out request"));
    std::fs::write(directory.join("extensions"), "subjectAltName = DNS:localhost\n").unwrap();
    openssl(&format!(
        "x509 -req -in request -CA {name}.crt -CAkey {name}.key -CAcreateserial -days 1 -sha384 \
         -extfile extensions -out server.crt"
    ));
}

#[tokio::test]
async fn tls_verifies_what_the_mode_says() {
    let server = &testing::private_server(testing::oldest_major(), &[]);
    let_in(
        server,
        "host all any_ 127.0.0.1/32 scram-sha-256\nhostssl all secure 127.0.0.1/32 scram-sha-256\n\
         hostnossl all bare 127.0.0.1/32 scram-sha-256\nhost all secure,bare all reject",
    )
    .await;
    let directory = encrypt(server, |path| {
        certificates(path, "other");
        certificates(path, "ca");
    })
    .await;
    let mut session = sql(&admin(server)).await;
    for role in ["any_", "secure", "bare"] {
        session.simple_query(&format!("CREATE ROLE {role} LOGIN PASSWORD 'p'")).await.unwrap();
    }
    let root = |name: &str| Some(RootCert::read(directory.join(name)).unwrap());
    let connect = async |host: &str, user: &str, mode: SslMode, root: &Option<RootCert>| {
        let mut options = tcp(server, host, user, "p");
        options.ssl_mode = mode;
        options.ssl_root_cert = root.clone();
        let mut wire = Wire::connect(&options, Session::Sql).await?;
        let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let ssl = value(&mut wire, query).await;
        let client = SqlClient::connect(&options).await?;
        let row = client.query_one(query, &[]).await.unwrap();
        assert_eq!(row.get::<_, bool>(0), ssl == "t");
        Ok::<bool, ConnectError>(ssl == "t")
    };
    use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
    let (none, ca, other) = (None, root("ca.crt"), root("other.crt"));
    for (host, user, mode, root, encrypted) in [
        ("localhost", "any_", Disable, &none, false),
        ("localhost", "any_", Allow, &none, false),
        ("localhost", "any_", Prefer, &none, true),
        ("localhost", "any_", Require, &none, true),
        ("localhost", "secure", Allow, &none, true),
        ("localhost", "bare", Prefer, &none, false),
        ("127.0.0.1", "any_", Require, &ca, true),
        ("127.0.0.1", "any_", VerifyCa, &ca, true),
        ("localhost", "any_", VerifyFull, &ca, true),
    ] {
        let result = connect(host, user, mode, root).await;
        let result = result.unwrap_or_else(|error| panic!("{host} {user} {mode:?}: {error}"));
        assert_eq!(result, encrypted, "{host} {user} {mode:?}");
    }
    for (host, mode, root) in [
        ("127.0.0.1", VerifyFull, &ca),
        ("localhost", VerifyFull, &other),
        ("localhost", VerifyCa, &other),
        ("localhost", Require, &other),
        ("localhost", VerifyFull, &none),
    ] {
        let error = connect(host, "any_", mode, root).await.unwrap_err();
        assert!(matches!(error, ConnectError::TlsRefused { .. }), "{host} {mode:?}: {error}");
        assert!(!error.is_retryable());
    }
    let error = connect("localhost", "secure", Disable, &none).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Refused { error, .. } if error.code == "28000"));

    // The logins above were bound to their connections: the server offers it, and there is data.
    let pem = RootCert::read(directory.join("server.crt")).unwrap().pem;
    let der =
        <rustls::pki_types::CertificateDer as rustls::pki_types::pem::PemObject>::from_pem_slice(
            &pem,
        );
    assert_eq!(server_end_point(&der.unwrap()).unwrap().len(), 48);

    // A child gets the same.
    let mut options = tcp(server, "localhost", "secure", "p");
    (options.ssl_mode, options.ssl_root_cert) = (VerifyFull, ca);
    let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(psql(server, &options, query), "t\n");
}

fn psql(server: &Server, options: &ConnectOptions, query: &str) -> String {
    let mut command = Command::new(testing::client("psql", server.major()).path);
    command.env("PGSERVICE", "nonsense").env("PGHOSTADDR", "192.0.2.1").env("PGTZ", "Japan");
    options.configure_child(&mut command);
    let output = command.args(["-XAtc", query]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_self_signed_certificate_can_be_its_own_root() {
    let server = &testing::private_server(testing::oldest_major(), &[]);
    let directory = encrypt(server, |path| {
        let arguments = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost \
                         -addext subjectAltName=DNS:localhost -keyout server.key -out server.crt";
        openssl(path, arguments);
    })
    .await;
    let root = Some(RootCert::read(directory.join("server.crt")).unwrap());
    let mut options = tcp(server, "localhost", server.user(), server.password());
    (options.ssl_mode, options.ssl_root_cert) = (SslMode::VerifyFull, root);
    sql(&options).await.terminate().await;
    options.host = "127.0.0.1".to_owned();
    assert!(matches!(refusal(&options).await, ConnectError::TlsRefused { .. }));
}

#[tokio::test]
async fn pins_win_over_the_role_the_database_and_the_environment() {
    let server = testing::server(testing::oldest_major());
    let database = TestDatabase::create(server).await.unwrap();
    let name = database.name();
    database
        .execute(&format!(
            "CREATE ROLE {name} SUPERUSER LOGIN PASSWORD 'p';
             ALTER ROLE {name} SET DateStyle = 'German'; ALTER ROLE {name} SET search_path = public;
             ALTER DATABASE {name} SET default_transaction_read_only = on;
             ALTER ROLE {name} SET default_transaction_isolation = 'serializable';
             ALTER ROLE {name} SET statement_timeout = '1s'; ALTER ROLE {name} SET row_security = on;
             ALTER DATABASE {name} SET bytea_output = 'escape';
             ALTER ROLE {name} IN DATABASE {name} SET TimeZone = 'Asia/Tokyo'"
        ))
        .await
        .unwrap();
    let options = tcp(server, "127.0.0.1", name, "p").with_database(name);
    let session = sql(&options).await;
    assert_eq!(session.server_version_num() / 10_000, u32::from(server.major()));
    assert_eq!(session.parameter("TimeZone"), Some("UTC"));
    let expected: Vec<(&str, String)> =
        PINS.iter().map(|(name, value)| (*name, value.replace("ISO,MDY", "ISO, MDY"))).collect();

    for session in [Session::Sql, Session::Replication] {
        let mut wire = Wire::connect(&options, session).await.unwrap();
        for (name, setting) in &expected {
            assert_eq!(&value(&mut wire, &format!("SHOW {name}")).await, setting, "{name}");
        }
        let pid = wire.process_id().to_string();
        assert_eq!(value(&mut wire, "SELECT pg_backend_pid()").await, pid);
    }
    let client = SqlClient::connect(&options).await.unwrap();
    for (name, setting) in &expected {
        let row = client.query_one("SELECT current_setting($1)", &[name]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), setting, "sql client, {name}");
        let printed = psql(server, &options, &format!("SHOW {name}"));
        assert_eq!(printed.trim_end(), setting, "psql, {name}");
    }
    let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
    assert_eq!(pid, client.process_id());
    drop(client);
}

#[tokio::test]
async fn settings_of_newer_servers_are_pinned_where_they_are_known() {
    for major in testing::majors() {
        let server = testing::server(major);
        let database = TestDatabase::create(server).await.unwrap();
        let options: ConnectOptions = database.url().parse().unwrap();
        let version = sql(&options).await.server_version_num();
        for (since, name, setting) in PINS_SINCE {
            if version < since {
                continue;
            }
            let database = database.name();
            let other = format!("ALTER DATABASE {database} SET {name} = '500ms'");
            server.execute("postgres", &other).await.unwrap();
            for session in [Session::Sql, Session::Replication] {
                let mut wire = Wire::connect(&options, session).await.unwrap();
                assert_eq!(value(&mut wire, &format!("SHOW {name}")).await, setting, "{name}");
            }
            let client = SqlClient::connect(&options).await.unwrap();
            let row = client.query_one("SELECT current_setting($1)", &[&name]).await.unwrap();
            assert_eq!(row.get::<_, &str>(0), setting, "sql client, {name}");
        }
    }
}

#[tokio::test]
async fn raw_copy_carries_rows_of_any_size_and_says_what_went_wrong() {
    let database = TestDatabase::create(testing::server(testing::oldest_major())).await.unwrap();
    let options: ConnectOptions = database.url().parse().unwrap();
    let (mut from, mut to) = (sql(&options).await, sql(&options).await);
    from.simple_query(
        "CREATE TABLE public.a AS SELECT i AS id, repeat('é\t', i % 50) AS t
             FROM generate_series(1, 100000) i;
         CREATE TABLE public.b (LIKE public.a); CREATE TABLE public.big (t text);
         INSERT INTO public.big VALUES (repeat('x', 20000000)), (NULL)",
    )
    .await
    .unwrap();

    from.copy_out("COPY public.a TO STDOUT (FORMAT binary)").await.unwrap();
    to.copy_in_start("COPY public.b FROM STDIN (FORMAT binary)").await.unwrap();
    while let Some(piece) = from.reader.copy_piece().await.unwrap() {
        to.copy_in_write(&piece).await.unwrap();
    }
    assert_eq!(to.copy_in_finish().await.unwrap(), 100_000);
    assert_eq!(from.reader.completed_rows(), 100_000);
    let difference = "SELECT count(*) FROM (TABLE public.a EXCEPT ALL TABLE public.b) x";
    assert_eq!(value(&mut to, difference).await, "0");

    from.copy_out("COPY public.big TO STDOUT").await.unwrap();
    let (mut total, mut largest) = (0, 0);
    while let Some(piece) = from.reader.copy_piece().await.unwrap() {
        total += piece.len();
        largest = largest.max(piece.len());
    }
    assert_eq!(total, 5 + 20_000_000 + 1 + 5 + 3);
    assert!(largest <= 1 << 20, "{largest}");
    assert_eq!(
        from.simple_query("TABLE public.big").await.unwrap()[0].get(0).unwrap().len(),
        20_000_000
    );

    // The reader's side fails in the middle, and the session goes on.
    let broken = "COPY (SELECT 1000 / (50000 - i) FROM generate_series(1, 100000) i) TO STDOUT";
    from.copy_out(broken).await.unwrap();
    let error = loop {
        match from.reader.copy_piece().await {
            Ok(piece) => assert!(piece.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.server().unwrap().code, "22012", "{error}");
    assert_eq!(value(&mut from, "SELECT 1").await, "1");

    // The writer's side fails: known before everything is sent.
    to.copy_in_start("COPY public.b FROM STDIN").await.unwrap();
    let piece = b"d\0\0\0\x0eno\tnumber\n".repeat(10_000);
    let mut sent = 0;
    let error = loop {
        match to.copy_in_write(&piece).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10_000);
    };
    let server_error = error.server().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(server_error.code, "22P02", "{error}");
    assert!(server_error.context().unwrap().contains("COPY b"));

    // The server is told to stop.
    from.copy_out("COPY (SELECT i FROM generate_series(1, 100000000) i) TO STDOUT").await.unwrap();
    let pid = from.process_id();
    let mut other = sql(&options).await;
    other.simple_query(&format!("SELECT pg_terminate_backend({pid})")).await.unwrap();
    let error = loop {
        match from.reader.copy_piece().await {
            Ok(piece) => assert!(piece.is_some()),
            Err(error) => break error,
        }
    };
    assert!(error.is_retryable(), "{error}");
    // A server that is busy sending rows goes without a word.
    assert!(error.server().is_none_or(|error| error.code == "57P01"), "{error}");
    let error = from.simple_query("SELECT 1").await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn queries_and_replication_share_a_session() {
    let database = TestDatabase::create(testing::server(testing::oldest_major())).await.unwrap();
    let options: ConnectOptions = database.url().parse().unwrap();
    let mut wire = Wire::connect(&options, Session::Replication).await.unwrap();
    let rows = wire.simple_query("IDENTIFY_SYSTEM").await.unwrap();
    assert_eq!(rows[0].by_name("dbname"), Some(database.name()));
    assert_eq!(rows[0].by_name("nothing"), None);
    let error = wire.simple_query("SELECT 1; SELECT 1/0; SELECT 2").await.unwrap_err();
    assert_eq!(error.server().unwrap().code, "22012");
    assert!(wire.simple_query("").await.unwrap().is_empty());
    let rows = wire.simple_query("SELECT NULL; SELECT 'x' AS name").await.unwrap();
    assert_eq!((rows[0].get(0), rows[1].by_name("name"), rows[1].get(1)), (None, Some("x"), None));
    let error = wire.copy_out("SELECT 1").await.unwrap_err();
    assert!(matches!(error, WireError::Protocol(_)), "{error}");

    let mut wire = Wire::connect(&options, Session::Replication).await.unwrap();
    wire.simple_query("CREATE PUBLICATION p").await.unwrap();
    wire.simple_query("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')")
        .await
        .unwrap();
    wire.start_copy_both(
        "START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1', publication_names 'p')",
    )
    .await
    .unwrap();
    let frame = wire.reader.frame().await.unwrap();
    assert_eq!((frame.tag, frame.body[0]), (b'd', b'k'));
    wire.terminate().await;
}

/// Whoever comes next, or drops the slot, would find it in use: a busy server takes its time.
#[tokio::test]
async fn a_stream_that_was_closed_has_let_go_of_its_slot() {
    for major in testing::majors() {
        let database = TestDatabase::create(testing::server(major)).await.unwrap();
        let options: ConnectOptions = database.url().parse().unwrap();
        let mut session = sql(&options).await;
        let slot = database.name();
        session.simple_query("CREATE PUBLICATION p").await.unwrap();
        let create = format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')");
        session.simple_query(&create).await.unwrap();
        let wire = Wire::connect(&options, Session::Replication).await.unwrap();
        let walsender = wire.process_id().to_string();
        let signal = |signal: &str| {
            let status = Command::new("kill").args([signal, walsender.as_str()]).status().unwrap();
            assert!(status.success(), "kill {signal} {walsender}");
        };
        let (plugin, start) = (PluginOptions::default(), Lsn::default());
        let stream = ReplicationStream::start(wire, slot, "p", start, &plugin, CopyFormat::Text);
        let stream = stream.await.unwrap();
        signal("-STOP");
        let closed = async {
            stream.close().await;
            let active = "SELECT active FROM pg_replication_slots WHERE slot_name";
            value(&mut session, &format!("{active} = '{slot}'")).await
        };
        let later = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            signal("-CONT");
        };
        let (active, ()) = tokio::join!(closed, later);
        assert_eq!(active, "f");
        let drop = format!("SELECT pg_drop_replication_slot('{slot}')");
        session.simple_query(&drop).await.unwrap();
    }
}

/// What the reader makes of `bytes` that come one by one.
async fn read(bytes: &[u8]) -> Vec<Result<(u8, usize), WireError>> {
    let (ours, mut theirs) = tokio::io::duplex(1);
    let mut wire = Wire::from_stream(ours);
    let write = async {
        // The reader may be gone before the end.
        let _ = theirs.write_all(bytes).await;
        drop(theirs);
    };
    let read = async {
        let mut frames = Vec::new();
        loop {
            let frame = wire.reader.frame().await.map(|frame| (frame.tag, frame.body.len()));
            frames.push(frame);
            if frames.last().unwrap().is_err() {
                drop(wire);
                return frames;
            }
        }
    };
    tokio::join!(write, read).1
}

#[tokio::test]
async fn hostile_messages_are_refused_before_memory_is_taken() {
    for (bytes, protocol) in [
        (&b""[..], false),
        (b"D\0\0", false),
        (b"D\0\0\0\x0acut", false),
        // The largest that can be: nothing is reserved for it.
        (b"D\x40\0\0\0x", false),
        (b"D\0\0\0\x03", true),
        (b"D\xff\xff\xff\xff", true),
        (b"D\x7f\xff\xff\xff", true),
        (b"D\x80\0\0\0", true),
    ] {
        let mut frames = read(bytes).await;
        let error = frames.pop().unwrap().unwrap_err();
        assert!(frames.is_empty());
        assert_eq!(matches!(error, WireError::Protocol(_)), protocol, "{bytes:?} {error}");
    }
    let frames = read(b"Z\0\0\0\x05IS\0\0\0\x04N\0\0\0\x05\0A\0\0\0\x04D\0\0\0\x06\0\0").await;
    assert!(matches!(frames[..], [Ok((b'Z', 1)), Ok((b'D', 2)), Err(WireError::Closed)]));
}

#[tokio::test]
async fn malformed_answers_are_errors() {
    let row = b"T\0\0\0\x1a\0\x01a\x00123456789012345678";
    for answer in [
        &b"D\0\0\0\x04"[..],
        b"D\0\0\0\x06\0\x01",
        b"D\0\0\0\x0a\0\x01\x7f\xff\xff\xff",
        b"D\0\0\0\x0b\0\x01\0\0\0\x01\xff",
        b"T\0\0\0\x06\xff\xff",
        b"T\0\0\0\x08\0\x01a\0",
        b"G\0\0\0\x07\0\0\0",
    ] {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        theirs.write_all(row).await.unwrap();
        theirs.write_all(answer).await.unwrap();
        let error = Wire::from_stream(ours).simple_query("SELECT").await.unwrap_err();
        assert!(matches!(error, WireError::Protocol(_)), "{answer:?} {error}");
    }
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    theirs.write_all(&[COPY_BOTH_RESPONSE_TAG, 0, 0, 0, 7, 0, 0, 0]).await.unwrap();
    Wire::from_stream(ours).start_copy_both("START_REPLICATION").await.unwrap();
    let (ours, _theirs) = tokio::io::duplex(1 << 16);
    assert!(Wire::from_stream(ours).simple_query("a\0b").await.is_err());
}

#[tokio::test]
async fn copy_pieces_join_to_what_was_sent() {
    let data = b"d\0\0\0\x07abcd\0\0\0\x04d\0\0\0\x06de";
    let notice = b"N\0\0\0\x0bC00000\0S\0\0\0\x08a\0b\0";
    let end = b"c\0\0\0\x04C\0\0\0\x0bCOPY 3\0Z\0\0\0\x05I";
    let script = [&data[..], notice, data, end].concat();
    for size in [1, 2, 3, 7, 1 << 16] {
        let (ours, mut theirs) = tokio::io::duplex(size);
        let mut wire = Wire::from_stream(ours);
        let read = async {
            let mut all = Vec::new();
            while let Some(piece) = wire.reader.copy_piece().await.unwrap() {
                all.extend_from_slice(&piece);
            }
            all
        };
        let (all, _) = tokio::join!(read, theirs.write_all(&script));
        assert_eq!(all, data.repeat(2), "{size}");
        assert_eq!(wire.reader.completed_rows(), 3);
        assert_eq!(wire.parameter("a"), Some("b"));
    }
    let (ours, mut theirs) = tokio::io::duplex(64);
    theirs.write_all(b"d\0\0\0\x09ab").await.unwrap();
    drop(theirs);
    let mut wire = Wire::from_stream(ours);
    assert_eq!(wire.reader.copy_piece().await.unwrap().unwrap().len(), 7);
    assert!(matches!(wire.reader.copy_piece().await, Err(WireError::Closed)));
}
