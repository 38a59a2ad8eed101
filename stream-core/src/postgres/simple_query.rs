//! Statements in the simple query protocol: the only one that a replication session has.

use std::fmt;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use postgres_protocol::message::backend;

use super::error::WireError;
use super::wire::{Wire, malformed, unexpected};

/// A row of [`Wire::simple_query`]: values in text form. Its `Debug` hides them.
#[derive(Clone)]
pub struct SimpleRow {
    columns: Arc<[String]>,
    values: Vec<Option<String>>,
}

impl Wire {
    /// Runs one or more statements and gives the rows of all of them.
    ///
    /// # Errors
    /// [`WireError`]; after [`WireError::Server`] the session can be used again.
    ///
    /// # Cancel safety
    /// Not cancel safe: the answers stay unread, so the session must be dropped.
    pub async fn simple_query(&mut self, sql: &str) -> Result<Vec<SimpleRow>, WireError> {
        self.send_query(sql).await?;
        let mut columns = Arc::default();
        let mut rows = Vec::new();
        while let Some(frame) = self.reader.reply().await? {
            match frame.tag {
                backend::ROW_DESCRIPTION_TAG => {
                    columns = row_description(frame.body).ok_or_else(|| malformed(frame.tag))?;
                }
                backend::DATA_ROW_TAG => {
                    let values = data_row(frame.body, &columns)?;
                    rows.push(SimpleRow { columns: Arc::clone(&columns), values });
                }
                backend::COMMAND_COMPLETE_TAG | backend::EMPTY_QUERY_RESPONSE_TAG => {}
                tag => return Err(unexpected(tag, "a query")),
            }
        }
        Ok(rows)
    }
}

impl SimpleRow {
    /// The value of a column by its position, from 0; `None` if it is NULL or there is none.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&str> {
        self.values.get(index)?.as_deref()
    }

    /// The value of the first column of this name; `None` if it is NULL or there is none.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&str> {
        self.get(self.columns.iter().position(|column| column == name)?)
    }

    /// The names of the columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
}

impl fmt::Debug for SimpleRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimpleRow({:?})", self.columns)
    }
}

fn row_description(mut body: Bytes) -> Option<Arc<[String]>> {
    /// What follows a name: table, column number, type, its size and modifier, format.
    const AFTER_NAME_BYTES: usize = 18;
    let count = body.try_get_u16().ok()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let end = memchr::memchr(0, &body)?;
        columns.push(String::from_utf8_lossy(&body.split_to(end)).into_owned());
        if body.len() < 1 + AFTER_NAME_BYTES {
            return None;
        }
        body.advance(1 + AFTER_NAME_BYTES);
    }
    Some(columns.into())
}

fn data_row(mut body: Bytes, columns: &[String]) -> Result<Vec<Option<String>>, WireError> {
    let cut = || malformed(backend::DATA_ROW_TAG);
    let count = body.try_get_u16().map_err(|_| cut())?;
    let mut values = Vec::new();
    for index in 0..usize::from(count) {
        let length = body.try_get_i32().map_err(|_| cut())?;
        let Ok(length) = usize::try_from(length) else {
            values.push(None);
            continue;
        };
        if length > body.len() {
            return Err(cut());
        }
        let value = String::from_utf8(body.split_to(length).into()).map_err(|_| {
            let column = columns.get(index).map_or("?", String::as_str);
            WireError::Protocol(format!("the value of column `{column}` is not UTF-8"))
        })?;
        values.push(Some(value));
    }
    Ok(values)
}
