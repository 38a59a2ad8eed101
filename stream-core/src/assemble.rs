//! Puts messages together into transactions.
//!
//! In: [`Message`]s in stream order. Out: [`Assembled`]s, whose changes carry their tables.
//! Does no I/O and keeps no time: the same messages always give the same results.
//! Never guesses: what does not fit the messages before it is an error, and the stream has to start again
//! from the last confirmed position, with a new [`Assembler`].
//!
//! ```text
//!            Begin ->                 <- Insert, Update, Delete, Truncate, Message
//!   outside ----------> transaction
//!           <----------
//!            <- Commit                Relation, Type, untransactional Message: in both
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use crate::change::{Change, OldTuple, Transaction, Tuple};
use crate::lsn::Lsn;
use crate::pgoutput::{Commit, Message};
use crate::relation::{Relation, RelationId};

/// What a message amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assembled {
    /// A transaction begins; the changes that follow are its own.
    Begin(Transaction),
    /// A change of the open transaction, or a message that stands outside of any.
    Change(Change),
    /// The open transaction is complete.
    Commit {
        /// The transaction, as at its beginning.
        transaction: Transaction,
        /// Where it ends: what may be confirmed once it is delivered.
        end: Lsn,
    },
    /// A table is new or has changed. The rows that follow have its columns.
    RelationChanged(Arc<Relation>),
}

/// A type's schema and name, unquoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeName {
    /// The schema, as the catalogue spells it.
    pub schema: String,
    /// The type, as the catalogue spells it.
    pub name: String,
}

/// Messages that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// A row's table was never described.
    ///
    /// Remedy: restart the stream: the server describes each table again. If it comes again, report it with the server's version.
    #[error(
        "relation `{relation}` is unknown in the transaction at `{commit_lsn}`: \
         its Relation message was not received; restart the stream"
    )]
    UnknownRelation {
        /// The table's identifier on the source.
        relation: u32,
        /// The transaction's commit.
        commit_lsn: Lsn,
    },
    /// A row has more or fewer columns than its table.
    ///
    /// Remedy: restart the stream. If it comes again, report it with the server's version and the table's definition.
    #[error(
        "a row of relation `{relation}` in the transaction at `{commit_lsn}` has `{found}` columns \
         instead of `{expected}`: its Relation message is out of date; restart the stream"
    )]
    ColumnCount {
        /// The table's name.
        relation: String,
        /// The transaction's commit.
        commit_lsn: Lsn,
        /// Columns of the row.
        found: usize,
        /// Columns of the table.
        expected: usize,
    },
    /// A change or commit without a beginning.
    ///
    /// Remedy: restart the stream: it begins at a whole transaction. If it comes again, report it with the server's version.
    #[error(
        "a {message} message came outside of a transaction: its Begin message was not received; \
         restart the stream"
    )]
    OutsideTransaction {
        /// The message's name in the manual.
        message: &'static str,
    },
    /// A beginning before the last end.
    ///
    /// Remedy: restart the stream. If it comes again, report it with the server's version.
    #[error(
        "transaction `{xid}` began inside the one at `{commit_lsn}`: \
         the Commit message of that one was not received; restart the stream"
    )]
    NestedBegin {
        /// The new transaction.
        xid: u32,
        /// The open transaction's commit.
        commit_lsn: Lsn,
    },
    /// An end that belongs to another beginning.
    ///
    /// Remedy: restart the stream. If it comes again, look for something between worker and server that changes the connection (a pooler, a
    /// proxy), and report it.
    #[error(
        "the Commit message says position `{found}`, end `{end}`, but the open transaction commits at \
         `{commit_lsn}`: messages were lost; restart the stream"
    )]
    CommitMismatch {
        /// The commit's position by the Commit message.
        found: Lsn,
        /// The transaction's end by the Commit message.
        end: Lsn,
        /// The commit's position by the Begin message.
        commit_lsn: Lsn,
    },
    /// A message of a protocol that was not asked for: something between worker and server answers in the server's place.
    ///
    /// Remedy: connect to PostgreSQL itself, not to a proxy that speaks its protocol. If it is PostgreSQL, report it with its version.
    #[error(
        "a {message} message of a streamed or prepared transaction came, which was not asked for: \
         start replication without `streaming` and `two_phase`"
    )]
    NotAskedFor {
        /// The message's name in the manual.
        message: &'static str,
    },
}

/// The open transaction, and the tables and types described so far.
#[derive(Debug, Default)]
pub struct Assembler {
    open: Option<Transaction>,
    relations: HashMap<RelationId, Arc<Relation>>,
    types: HashMap<u32, TypeName>,
}

impl Assembler {
    /// An assembler for a stream that starts now: it knows no table, since the server describes each anew.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The name of the type with this `pg_type.oid`, if the stream has described it; it never describes
    /// built-in types.
    #[must_use]
    pub fn type_name(&self, oid: u32) -> Option<&TypeName> {
        self.types.get(&oid)
    }

    /// Takes the next message. `None` when it changes nothing for those that follow the stream: an Origin,
    /// a Type, or a Relation that says again what is known.
    ///
    /// # Errors
    ///
    /// [`AssembleError`], by variant, when the message does not fit those before it. The assembler is of no
    /// use afterwards.
    pub fn push(&mut self, message: Message) -> Result<Option<Assembled>, AssembleError> {
        let name = message.name();
        let change = match message {
            Message::Begin(begin) => {
                let transaction = Transaction {
                    xid: begin.xid,
                    commit_lsn: begin.final_lsn,
                    commit_time_us: begin.commit_time_us,
                };
                return self.begin(transaction).map(Some);
            }
            Message::Commit(commit) => return self.commit(commit).map(Some),
            Message::Relation { xid: None, relation } => return Ok(self.relation(relation)),
            Message::Type { xid: None, id, schema, name } => {
                self.types.insert(id, TypeName { schema, name });
                return Ok(None);
            }
            Message::Origin { .. } => return self.transaction(name).map(|_| None),
            Message::Insert { xid: None, relation, new } => {
                Change::Insert { relation: self.relation_of(name, relation, [&new])?, new }
            }
            Message::Update { xid: None, relation, old, new } => {
                let old_tuple = old.as_ref().map(OldTuple::tuple);
                let relation =
                    self.relation_of(name, relation, old_tuple.into_iter().chain([&new]))?;
                Change::Update { relation, old, new }
            }
            Message::Delete { xid: None, relation, old } => {
                Change::Delete { relation: self.relation_of(name, relation, [old.tuple()])?, old }
            }
            Message::Truncate { xid: None, relations, cascade, restart_identity } => {
                let relations = relations.into_iter().map(|id| self.relation_of(name, id, []));
                Change::Truncate {
                    relations: relations.collect::<Result<_, _>>()?,
                    cascade,
                    restart_identity,
                }
            }
            Message::Message { xid: None, transactional, lsn, prefix, content } => {
                if transactional {
                    self.transaction(name)?;
                }
                Change::Message { transactional, lsn, prefix, content }
            }
            Message::Relation { xid: Some(_), .. }
            | Message::Type { xid: Some(_), .. }
            | Message::Insert { xid: Some(_), .. }
            | Message::Update { xid: Some(_), .. }
            | Message::Delete { xid: Some(_), .. }
            | Message::Truncate { xid: Some(_), .. }
            | Message::Message { xid: Some(_), .. }
            | Message::StreamStart { .. }
            | Message::StreamStop
            | Message::StreamCommit { .. }
            | Message::StreamAbort { .. }
            | Message::BeginPrepare(_)
            | Message::Prepare(_)
            | Message::CommitPrepared { .. }
            | Message::RollbackPrepared(_)
            | Message::StreamPrepare(_) => {
                return Err(AssembleError::NotAskedFor { message: name });
            }
        };
        Ok(Some(Assembled::Change(change)))
    }

    fn begin(&mut self, transaction: Transaction) -> Result<Assembled, AssembleError> {
        if let Some(Transaction { commit_lsn, .. }) = self.open {
            return Err(AssembleError::NestedBegin { xid: transaction.xid, commit_lsn });
        }
        self.open = Some(transaction);
        Ok(Assembled::Begin(transaction))
    }

    fn commit(&mut self, commit: Commit) -> Result<Assembled, AssembleError> {
        let transaction = self.transaction("Commit")?;
        let Commit { commit_lsn: found, end_lsn: end, commit_time_us } = commit;
        let Transaction { commit_lsn, .. } = transaction;
        // An end at or before the commit would let the commit be sent again after it was confirmed.
        let matches = found == commit_lsn && end > found;
        if !matches || commit_time_us != transaction.commit_time_us {
            return Err(AssembleError::CommitMismatch { found, end, commit_lsn });
        }
        self.open = None;
        Ok(Assembled::Commit { transaction, end })
    }

    /// The server repeats a description whenever its caches were reset. Those who hold the `Arc` see by its
    /// address whether anything is new.
    fn relation(&mut self, relation: Relation) -> Option<Assembled> {
        if self.relations.get(&relation.id).is_some_and(|known| **known == relation) {
            return None;
        }
        let relation = Arc::new(relation);
        self.relations.insert(relation.id, Arc::clone(&relation));
        Some(Assembled::RelationChanged(relation))
    }

    /// The open transaction, which a message of this name needs.
    fn transaction(&self, message: &'static str) -> Result<Transaction, AssembleError> {
        self.open.ok_or(AssembleError::OutsideTransaction { message })
    }

    /// The table of a change in the open transaction, all of whose `rows` have its columns.
    fn relation_of<'a>(
        &self,
        message: &'static str,
        id: RelationId,
        rows: impl IntoIterator<Item = &'a Tuple>,
    ) -> Result<Arc<Relation>, AssembleError> {
        let Transaction { commit_lsn, .. } = self.transaction(message)?;
        let relation = self
            .relations
            .get(&id)
            .ok_or(AssembleError::UnknownRelation { relation: id.0, commit_lsn })?;
        let expected = relation.columns.len();
        match rows.into_iter().map(Tuple::len).find(|found| *found != expected) {
            None => Ok(Arc::clone(relation)),
            Some(found) => Err(AssembleError::ColumnCount {
                relation: relation.name.to_string(),
                commit_lsn,
                found,
                expected,
            }),
        }
    }
}
