//! The faults of a run.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::Run;
use crate::torture::faults::{End, Fault, Phase};

/// How long a connection that is to break is waited for, until the server has sent so much.
const RESET_PATIENCE: Duration = Duration::from_millis(300);

impl Run<'_> {
    /// Lets a fault strike. Counted where it did: a worker that has just ended cannot be killed, and a connection that is silent does not break.
    pub(super) async fn inject(&mut self, fault: Fault, phase: Phase) -> Result<()> {
        let struck = match fault {
            Fault::Kill => match self.worker.take() {
                Some(worker) => {
                    worker.kill().await?;
                    true
                }
                None => false,
            },
            Fault::Terminate => {
                let runs = self.worker.is_some();
                self.stop_worker().await?;
                runs
            }
            Fault::Pause(time) => {
                let stopped = self.signal(Signal::STOP)?;
                tokio::time::sleep(time).await;
                self.signal(Signal::CONT)?;
                stopped
            }
            Fault::Second => self.second(phase).await?,
            // Counted when it has.
            Fault::Die(..) => false,
            Fault::Crash(end) => {
                self.lab.crash(end)?;
                true
            }
            Fault::Restart(end) => {
                self.lab.restart(end)?;
                true
            }
            Fault::Reset(end, bytes) => self.lab.proxy(end).reset(bytes, RESET_PATIENCE).await,
            Fault::Stall(end, time) => {
                self.lab.proxy(end).stall(time).await;
                true
            }
            Fault::EndSessions(end) => self.lab.to_sessions(end, "pg_terminate_backend").await?,
            Fault::CancelStatements => {
                self.lab.to_sessions(End::Target, "pg_cancel_backend").await?
            }
            Fault::ReadOnly(time) => {
                self.lab.read_only(time).await?;
                true
            }
            Fault::Lock(time) => self.lab.lock(time).await?,
            Fault::DiskFull(time) => self.lab.fill_disk(time).await?,
        };
        if struck {
            self.record.hits.push((fault.name(), phase));
        }
        Ok(())
    }

    /// Sends a signal to the worker, if one runs.
    pub(super) fn signal(&mut self, signal: Signal) -> Result<bool> {
        let Some(worker) = &mut self.worker else { return Ok(false) };
        match worker.ended()? {
            Some(status) => self.judge(status).map(|()| false),
            None => worker.signal(signal).map(|()| true),
        }
    }
}
