//! Trouble on order: what happens at the n-th call of something.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::error::{Error, ErrorKind};

/// Keeps whoever passes waiting until it is opened. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Gate {
    /// Lets everybody pass from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the gate is open.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn pass(&self) {
        // Fails when the sender is gone only, and that is held here.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// What happens at a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It fails, without having done anything.
    Fail(ErrorKind),
    /// It takes this long.
    Delay(Duration),
    /// It takes until the gate is opened.
    Wait(Gate),
}

/// Counts the calls of something, and brings the faults planned for them. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    calls: u64,
    at: BTreeMap<u64, Fault>,
    every: Option<Fault>,
}

impl Faults {
    /// Plans a fault for one call, counted from 0.
    pub fn at(&self, call: u64, fault: Fault) {
        self.plan().at.insert(call, fault);
    }

    /// Plans a fault for every call that has none of its own.
    pub fn every(&self, fault: Fault) {
        self.plan().every = Some(fault);
    }

    /// How many calls have begun.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.plan().calls
    }

    /// Counts a call, and does what is planned for it.
    ///
    /// # Errors
    /// When a failure is planned.
    pub async fn meet(&self, what: &str) -> Result<(), Error> {
        let (call, fault) = {
            let mut plan = self.plan();
            let call = plan.calls;
            plan.calls += 1;
            (call, plan.at.remove(&call).or_else(|| plan.every.clone()))
        };
        match fault {
            None => {}
            Some(Fault::Fail(kind)) => {
                return Err(Error::new(kind, format!("planned failure of {what} {call}")));
            }
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::Wait(gate)) => gate.pass().await,
        }
        Ok(())
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
