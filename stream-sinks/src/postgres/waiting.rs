//! Says what a session of the target waits for.

use std::convert::Infallible;
use std::time::Duration;

use stream_core::postgres::{SqlClient, blocker};

/// A lock that is held longer is said, and said again after as long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for `work` of the session `pid`; says now and then who holds a lock that it waits for.
pub(super) async fn said<T>(client: &SqlClient, pid: i32, work: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        done = work => done,
        never = watch(client, pid) => match never {},
    }
}

async fn watch(client: &SqlClient, pid: i32) -> Infallible {
    loop {
        tokio::time::sleep(PATIENCE).await;
        say_holders(client, pid).await;
    }
}

async fn say_holders(client: &SqlClient, pid: i32) {
    match blocker::lock_holders(client, pid).await {
        Ok(holders) if holders.is_empty() => {}
        Ok(holders) => {
            let all: Vec<_> = holders.iter().map(ToString::to_string).collect();
            tracing::warn!(
                "the target waits for a lock that another session holds: {}; commit it, or end its session",
                all.join("; ")
            );
        }
        Err(error) => tracing::debug!(%error, "cannot see what the target waits for"),
    }
}
