//! Two workers for one stream.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rustix::process::Signal;

use super::{FENCED, LOOK_AGAIN, PATIENCE, Run};
use crate::torture::faults::Phase;
use crate::torture::worker::Worker;

impl Run<'_> {
    /// A second worker for the stream, while the first is stopped, if one runs; one of them has to go.
    pub(super) async fn second(&mut self, phase: Phase) -> Result<bool> {
        self.signal(Signal::STOP)?;
        let Some(first) = self.worker.take() else { return Ok(false) };
        self.start(phase == Phase::Finishing, None).await?;
        let Some(mut second) = self.worker.take() else { return Ok(false) };
        tokio::time::sleep(Duration::from_secs(3)).await;
        first.signal(Signal::CONT)?;
        let mut first = first;
        let start = Instant::now();
        let ended = loop {
            let ended = [first.ended()?, second.ended()?];
            if ended.iter().any(Option::is_some) {
                break ended;
            }
            ensure!(start.elapsed() < PATIENCE, "two workers share a stream");
            self.commits()?;
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        for status in ended.into_iter().flatten() {
            let fine =
                status.code() == Some(FENCED) || phase == Phase::Finishing && status.success();
            ensure!(fine, "one of two workers ended with {status}");
        }
        let is_complete = ended.iter().flatten().any(ExitStatus::success);
        self.worker = match ended {
            // The stream is no more the other's.
            [None, _] if is_complete => {
                gone(first).await?;
                None
            }
            [_, None] if is_complete => {
                gone(second).await?;
                None
            }
            [None, _] => Some(first),
            [Some(_), None] => Some(second),
            [Some(_), Some(_)] if phase == Phase::Finishing => None,
            [Some(_), Some(_)] => bail!("both of two workers ended"),
        };
        Ok(true)
    }
}

/// Waits for the end of a worker whose stream another one has completed.
async fn gone(mut worker: Worker) -> Result<()> {
    let status = worker.ends(PATIENCE).await?;
    let fine = status.success() || status.code() == Some(FENCED);
    ensure!(fine, "the worker of a stream that was completed ended with {status}");
    Ok(())
}
