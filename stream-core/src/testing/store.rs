//! A store in memory that outlives a pipeline.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::checkpoint::{Checkpoint, Completion, OffsetStore, SourceIdentity, TableSync};
use crate::error::Error;
use crate::lsn::Lsn;
use crate::relation::TableName;
use crate::testing::faults::Faults;

/// An [`OffsetStore`] whose clones share one checkpoint, and that fails as planned.
#[derive(Clone, Debug, Default)]
pub struct SharedStore {
    saved: Arc<Mutex<Checkpoint>>,
    /// Trouble of `load`.
    pub loads: Faults,
    /// Trouble of `save_position`.
    pub positions: Faults,
    /// Trouble of `save_tables`.
    pub tables: Faults,
    /// Trouble of `save_completion`.
    pub completions: Faults,
}

impl SharedStore {
    /// What is saved now.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.saved().clone()
    }

    /// Damages what is saved.
    pub fn lose(&self, lose: impl FnOnce(&mut Checkpoint)) {
        lose(&mut self.saved());
    }

    fn saved(&self) -> MutexGuard<'_, Checkpoint> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OffsetStore for SharedStore {
    async fn load(&mut self) -> Result<Checkpoint, Error> {
        self.loads.meet("load").await?;
        Ok(self.checkpoint())
    }

    async fn save_start(&mut self, source: &SourceIdentity, position: Lsn) -> Result<(), Error> {
        let mut saved = self.saved();
        saved.source = Some(source.clone());
        saved.position = Some(position);
        Ok(())
    }

    async fn save_position(&mut self, position: Lsn) -> Result<(), Error> {
        self.positions.meet("save_position").await?;
        self.saved().position = Some(position);
        Ok(())
    }

    async fn save_tables(&mut self, tables: &[(TableName, TableSync)]) -> Result<(), Error> {
        self.tables.meet("save_tables").await?;
        self.saved().tables.extend(tables.iter().cloned());
        Ok(())
    }

    async fn save_completion(&mut self, completion: Completion) -> Result<(), Error> {
        self.completions.meet("save_completion").await?;
        self.saved().completion = completion;
        Ok(())
    }
}
