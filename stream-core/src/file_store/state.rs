//! What a file of positions holds, and how it is written. Pure, but for the time at which one is begun.

use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::{Checkpoint, Completion, SourceIdentity, TableSync};
use crate::clock;
use crate::columns::ColumnNumbers;
use crate::error::{Error, ErrorKind};
use crate::lsn::Lsn;
use crate::relation::{RelationId, TableName};
use crate::table::{PublishedAs, TableOrigin};

pub(super) const MAGIC: &str = "stream offsets ";
/// Raised when an older program would misread what a newer one writes. The two lines before the JSON stay as they are.
pub(super) const VERSION: u32 = 1;

/// Why a file gives no state.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// What it says is wrong with it.
    Damaged(String),
    /// It is whole, and of this version, which only a newer program knows.
    Newer(u32),
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) stream: String,
    pub(super) system_id: Option<String>,
    pub(super) slot: Option<String>,
    pub(super) timeline: Option<u32>,
    pub(super) position: Option<u64>,
    pub(super) completion: Stage,
    /// When the first file was begun, in microseconds, and one more each time tables that had a snapshot were given another.
    pub(super) generation: u64,
    pub(super) tables: Vec<TableState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stage {
    Open,
    Delivered,
    Completed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableState {
    pub(super) name: TableName,
    /// `None` while it is copied.
    pub(super) synced: Option<Synced>,
    /// Where the snapshot was taken that is copied then; 0 in files of older programs.
    #[serde(default)]
    pub(super) copying: u64,
    /// The table that is copied then; absent in files of older programs.
    #[serde(default)]
    pub(super) relation: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Synced {
    pub(super) lsn: u64,
    pub(super) relation: u32,
    pub(super) published_by: u32,
    /// Absent in files of older programs.
    #[serde(default)]
    pub(super) columns: ColumnNumbers,
    /// Absent in files of older programs.
    #[serde(default)]
    pub(super) published_as: Option<PublishedAs>,
    /// Absent in files of older programs.
    #[serde(default)]
    pub(super) root: Option<TableName>,
}

impl State {
    pub(super) fn new(stream: &str) -> Self {
        // Not zero: nobody knows how many snapshots there were before the files were lost or removed, and a row that is as it was in
        // one of them, and was another in between, must not have the id that it had there.
        let now = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            stream: stream.to_owned(),
            system_id: None,
            slot: None,
            timeline: None,
            position: None,
            completion: Stage::Open,
            generation: u64::try_from(now.as_micros()).unwrap_or_default(),
            tables: Vec::new(),
        }
    }

    pub(super) fn to_text(&self) -> Result<String, Error> {
        let body = serde_json::to_string_pretty(self)
            .map_err(|error| Error::new(ErrorKind::Permanent, error))?;
        Ok(format!("{MAGIC}{VERSION}\n{}\n{body}\n", checksum(&body)))
    }

    pub(super) fn from_text(text: &str) -> Result<Self, Unread> {
        let damaged = |problem: &str| Unread::Damaged(problem.to_owned());
        let mut parts = text.splitn(3, '\n');
        let version = parts.next().and_then(|line| line.strip_prefix(MAGIC));
        let version: Option<u32> = version.and_then(|version| version.parse().ok());
        let version = version.ok_or_else(|| damaged("it is no file of positions"))?;
        let (sum, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let body = body.strip_suffix('\n').unwrap_or(body);
        if checksum(body) != sum {
            return Err(damaged("its checksum is wrong"));
        }
        if version > VERSION {
            return Err(Unread::Newer(version));
        }
        serde_json::from_str(body).map_err(|error| Unread::Damaged(error.to_string()))
    }

    pub(super) fn checkpoint(&self) -> Checkpoint {
        let source = self.system_id.clone().zip(self.slot.clone());
        let tables = self.tables.iter().map(|table| {
            let sync = match table.synced.clone() {
                Some(synced) => {
                    let Synced { lsn, relation, published_by, columns, published_as, root } =
                        synced;
                    let relation = RelationId(relation);
                    let origin =
                        TableOrigin { relation, published_by, columns, published_as, root };
                    TableSync::Synced { lsn: Lsn::new(lsn), origin }
                }
                None => TableSync::Copying {
                    lsn: Lsn::new(table.copying),
                    relation: table.relation.map(RelationId),
                },
            };
            (table.name.clone(), sync)
        });
        Checkpoint {
            source: source.map(|(system_id, slot)| SourceIdentity {
                system_id,
                slot,
                timeline: self.timeline,
            }),
            position: self.position.map(Lsn::new),
            tables: tables.collect(),
            completion: match self.completion {
                Stage::Open => Completion::Open,
                Stage::Delivered => Completion::Delivered,
                Stage::Completed => Completion::Completed,
            },
        }
    }
}

fn checksum(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
