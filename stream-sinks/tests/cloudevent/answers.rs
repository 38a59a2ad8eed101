//! What is tried again, what stops the stream, and what it says then.

use std::time::Duration;

use stream_core::ErrorKind;
use stream_sinks::cloudevent::headers::{Headers, Reread};
use stream_sinks::cloudevent::options::EndpointOptions;

use crate::fixture::{deliver, options};
use crate::server::{OK, Reply, Server};

/// The error of a delivery with two retries to a server that always answers so.
async fn refused(reply: Reply) -> (stream_core::Error, usize) {
    let server = Server::start(move |_, _| reply.clone()).await;
    let mut options = options(&server.url());
    options.retry_limit = Some(2);
    options.read_timeout = Some(Duration::from_millis(200));
    (deliver(options).await.unwrap_err(), server.received().len())
}

#[tokio::test]
async fn what_may_pass_is_tried_again_with_the_same_event() {
    for status in [404, 408, 409, 425, 429, 500, 502, 503, 504] {
        let server = Server::start(move |number, _| match number {
            0 | 1 => Reply::Answer(status, "", "not now"),
            _ => OK,
        })
        .await;
        deliver(options(&server.url())).await.unwrap();
        let received = server.received();
        assert_eq!(received.len(), 3, "{status}");
        assert!(received.iter().all(|request| request.body == received[0].body), "{status}");
    }
}

#[tokio::test]
async fn what_will_not_pass_stops_at_once_and_names_event_answer_and_remedy() {
    for (status, remedy) in [
        (400, "mend the endpoint"),
        (402, "mend the endpoint"),
        (405, "mend the endpoint"),
        (410, "set `url` to its successor"),
        (413, "raise its limit"),
        (415, "set `mode`"),
        (422, "mend the endpoint"),
    ] {
        let (error, attempts) = refused(Reply::Answer(status, "", "no such\r\ntopic")).await;
        let told = error.to_string();
        assert_eq!((attempts, error.kind()), (1, ErrorKind::Permanent), "{told}");
        for part in [
            "`public.orders`",
            "key `public.orders/1`",
            "LSN 0/16B0000",
            "default.orders:0-16B3748:0",
            &status.to_string(),
            "no such  topic",
            remedy,
        ] {
            assert!(told.contains(part), "no `{part}` in: {told}");
        }
    }
}

#[tokio::test]
async fn retry_limit_counts_the_retries_and_the_last_answer_is_told() {
    for (reply, reason) in [
        (Reply::Answer(503, "", "out of order"), "status 503 Service Unavailable: out of order"),
        (Reply::Answer(401, "", "who?"), "check the credentials in `headers`"),
        (Reply::Answer(403, "", "no"), "start it again after a change"),
        (Reply::Reset, "the connection broke before an answer"),
        (Reply::Hang, "no answer within 0.2 s (`readTimeout`)"),
        (Reply::Endless("HTTP/1.1 200 OK\r\n", "x: y\r\n"), "ended so"),
        (Reply::Endless("HTTP/1.1 200 OK\r\nx: ", "y"), "ended so"),
        (Reply::Endless("HTTP/1.1 200 OK\r\nx: ", ""), "no answer within 0.2 s"),
        (Reply::Endless("nonsense\r\n\r\n", "nonsense"), "the connection broke"),
        (Reply::Endless("HTTP/1.1 503 No\r\n\r\n", "never ends "), "status 503"),
    ] {
        let (error, attempts) = refused(reply).await;
        let told = error.to_string();
        assert_eq!((attempts, error.kind()), (3, ErrorKind::Permanent), "{told}");
        for part in ["in 3 attempts (`retryLimit` 2)", "`public.orders`", "0/16B0000", reason] {
            assert!(told.contains(part), "no `{part}` in: {told}");
        }
        assert!(told.len() < 1500, "{told}");
    }
}

#[tokio::test]
async fn credentials_that_are_not_accepted_are_read_again_before_the_next_attempt() {
    let server = Server::start(|_, request| match request.header("authorization") {
        Some("Bearer renewed-token") => OK,
        _ => Reply::Answer(401, "", "token old-token-1 has expired"),
    })
    .await;
    let headers = |token: &str| {
        let mut headers = Headers::default();
        headers.add("Authorization", &format!("Bearer {token}"), |_| None).unwrap();
        headers
    };
    // Renewed: at once, whatever the delay is otherwise.
    let mut renewed = EndpointOptions::new(&server.url());
    renewed.headers = headers("old-token-1");
    renewed.retry_backoff_delay = Duration::from_secs(1);
    renewed.retry_limit = Some(1);
    renewed.reread = Some(Reread::new(move || Some(headers("renewed-token"))));
    deliver(renewed).await.unwrap();
    assert_eq!(server.received().len(), 2);
    // The same again, or not to be read: a person has to act.
    for read in [Some("old-token-1"), None] {
        let mut same = options(&server.url());
        same.headers = headers("old-token-1");
        same.retry_limit = Some(1);
        same.reread = Some(Reread::new(move || read.map(headers)));
        let told = deliver(same).await.unwrap_err().to_string();
        assert!(told.contains("they were read again, and are the same"), "{told}");
        assert!(told.contains("token … has expired") && !told.contains("old-token"), "{told}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_named() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut options = options(&format!("http://{address}/"));
    options.retry_limit = Some(0);
    let told = deliver(options).await.unwrap_err().to_string();
    assert!(told.contains("in 1 attempts (`retryLimit` 0)"), "{told}");
    assert!(told.contains("cannot connect: Connection refused"), "{told}");
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_event_was_read_makes_it_come_again_with_its_id() {
    let server = Server::start(|number, _| if number == 0 { Reply::Reset } else { OK }).await;
    deliver(options(&server.url())).await.unwrap();
    let ids: Vec<_> = server.received().iter().map(crate::server::Request::id).collect();
    assert_eq!(ids, ["default.orders:0-16B3748:0", "default.orders:0-16B3748:0"]);
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    for status in [429, 503, 401] {
        let server = Server::start(move |number, _| match number {
            0 => Reply::Answer(status, "retry-after: 1\r\n", ""),
            _ => OK,
        })
        .await;
        deliver(options(&server.url())).await.unwrap();
        let received = server.received();
        assert!(received[1].at - received[0].at >= Duration::from_secs(1), "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_its_host_is_told() {
    let (error, attempts) = refused(Reply::Answer(
        307,
        "location: http://user:s3cret@elsewhere.example/secret?key=s3cret\r\n",
        "",
    ))
    .await;
    let told = error.to_string();
    assert_eq!((attempts, error.kind()), (1, ErrorKind::Permanent), "{told}");
    assert!(told.contains("to http://elsewhere.example/"), "{told}");
    assert!(told.contains("set `url` to the final address") && !told.contains("s3cret"), "{told}");
}

#[tokio::test]
async fn an_answer_that_repeats_the_event_is_shown_without_the_row() {
    let (error, _) =
        refused(Reply::Answer(400, "", "note 'Ada Lovelace, Countess' is too noble")).await;
    let told = error.to_string();
    assert!(told.contains(": note '…' is too noble;") && !told.contains("Ada"), "{told}");
}

#[tokio::test]
async fn a_success_is_one_whatever_follows_it() {
    for reply in [
        Reply::Answer(200, "", "fine"),
        Reply::Answer(202, "", ""),
        Reply::Answer(299, "", ""),
        Reply::Endless("HTTP/1.1 200 OK\r\n\r\n", "never ends "),
        Reply::Endless("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", ""),
    ] {
        let server = Server::start(move |_, _| reply.clone()).await;
        deliver(options(&server.url())).await.unwrap();
        assert_eq!(server.received().len(), 1);
    }
}

#[tokio::test]
async fn internal_addresses_are_not_called_where_they_are_guarded() {
    use stream_sinks::cloudevent::guard::Addresses;
    let server = Server::start(|_, _| OK).await;
    let mut options = options(&format!("http://localhost:{}/", server.address.port()));
    options.addresses = Addresses::NotInternal { allowed: Vec::new() };
    let error = deliver(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("`localhost` leads to"), "{error}");
    assert!(server.received().is_empty());
}
