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

    /// Runs statements, of which one gives columns, and says where these come from.
    ///
    /// # Errors
    /// [`WireError`]; after [`WireError::Server`] the session can be used again.
    ///
    /// # Cancel safety
    /// Not cancel safe: the answers stay unread, so the session must be dropped.
    pub async fn field_origins(&mut self, sql: &str) -> Result<Vec<FieldOrigin>, WireError> {
        self.send_query(sql).await?;
        let mut origins = Vec::new();
        while let Some(frame) = self.reader.reply().await? {
            if frame.tag == backend::ROW_DESCRIPTION_TAG {
                let found = fields(frame.body).ok_or_else(|| malformed(frame.tag))?;
                origins = found.into_iter().map(|(_, origin)| origin).collect();
            }
        }
        Ok(origins)
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

/// Where a column of a result comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldOrigin {
    /// The `oid` of the table, as it is now, whatever a snapshot sees; 0 if it is no table's.
    pub table: u32,
    /// Its `pg_attribute.attnum` there, negative for a system column.
    pub column: i16,
}

impl fmt::Debug for SimpleRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimpleRow({:?})", self.columns)
    }
}

fn row_description(body: Bytes) -> Option<Arc<[String]>> {
    Some(fields(body)?.into_iter().map(|(name, _)| name).collect())
}

/// The columns of a `RowDescription`.
fn fields(mut body: Bytes) -> Option<Vec<(String, FieldOrigin)>> {
    /// What follows a name and its origin: type, its size and modifier, format.
    const REST_BYTES: usize = 12;
    let count = body.try_get_u16().ok()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let end = memchr::memchr(0, &body)?;
        let name = String::from_utf8_lossy(&body.split_to(end)).into_owned();
        body.try_get_u8().ok()?;
        let origin =
            FieldOrigin { table: body.try_get_u32().ok()?, column: body.try_get_i16().ok()? };
        columns.push((name, origin));
        body = body.get(REST_BYTES..).map(|rest| body.slice_ref(rest))?;
    }
    Some(columns)
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
