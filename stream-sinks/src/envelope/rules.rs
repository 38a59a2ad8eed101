//! What the configuration says of columns, keys and messages by name.
//!
//! Patterns are case-insensitive regular expressions that must match a whole name.

use std::sync::Arc;

use bytes::BytesMut;
use regex::{Regex, RegexBuilder};
use stream_core::relation::TableName;
use stream_core::table::Table;

use super::codec::{Codec, Scratch, ValueError};
use super::hash::{Algorithm, Hash, HashVersion};
use super::json::put_text;
use super::table::names;

/// A rule that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A pattern is no regular expression, or of a kind that is not supported.
    ///
    /// Remedy: write one without look-around and back-references.
    #[error(
        "`{pattern}` is no regular expression that can be used: {reason}; write one without look-around and back-references"
    )]
    Pattern {
        /// The pattern as it was written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A rule for columns lacks its number.
    ///
    /// Remedy: write `N:regex`.
    #[error(
        "`{entry}` does not say how many characters: write `N:regex`, for example `20:public\\.users\\.name`"
    )]
    NoNumber {
        /// The entry as it was written.
        entry: String,
    },
    /// An algorithm is not known.
    ///
    /// Remedy: use one of those in the message.
    #[error("`{name}` is no hash algorithm that is known: use one of {known}", known = Algorithm::NAMES)]
    Algorithm {
        /// The name as it was written.
        name: String,
    },
    /// Key columns are given in another form.
    ///
    /// Remedy: write `schema.table:column,column`.
    #[error(
        "`{entry}` names no key columns: write `schema.table:column,column`, for example `public\\.orders:customer,number`"
    )]
    KeyColumns {
        /// The entry as it was written.
        entry: String,
    },
    /// Both lists of message prefixes are given.
    ///
    /// Remedy: give one of the two.
    #[error("message prefixes are both included and excluded: give one of the two lists")]
    BothLists,
}

/// A pattern for whole names.
fn pattern(text: &str) -> Result<Regex, RuleError> {
    RegexBuilder::new(&format!("^(?:{})$", text.trim())).case_insensitive(true).build().map_err(
        |error| RuleError::Pattern {
            pattern: text.to_owned(),
            reason: error.to_string().replace('\n', " "),
        },
    )
}

/// What is done to the values of columns, by patterns for `schema.table.column`.
#[derive(Clone, Debug, Default)]
pub struct ColumnRules {
    truncate: Vec<(Regex, usize)>,
    mask: Vec<(Regex, usize)>,
    hash: Vec<(Regex, Hash)>,
}

impl ColumnRules {
    /// Cuts long values: `N:regex`.
    ///
    /// # Errors
    /// [`RuleError::NoNumber`] and [`RuleError::Pattern`].
    pub fn truncate(&mut self, entry: &str) -> Result<(), RuleError> {
        self.truncate.push(numbered(entry)?);
        Ok(())
    }

    /// Shows asterisks in place of values: `N:regex`.
    ///
    /// # Errors
    /// [`RuleError::NoNumber`] and [`RuleError::Pattern`].
    pub fn mask(&mut self, entry: &str) -> Result<(), RuleError> {
        self.mask.push(numbered(entry)?);
        Ok(())
    }

    /// Shows hashes in place of values.
    ///
    /// # Errors
    /// [`RuleError::Algorithm`] and [`RuleError::Pattern`].
    pub fn hash(
        &mut self,
        version: HashVersion,
        algorithm: &str,
        salt: &str,
        columns: &str,
    ) -> Result<(), RuleError> {
        let algorithm = Algorithm::from_name(algorithm)
            .ok_or_else(|| RuleError::Algorithm { name: algorithm.to_owned() })?;
        self.hash.push((pattern(columns)?, Hash { version, algorithm, salt: salt.to_owned() }));
        Ok(())
    }

    /// What is done to a column of a table with these names: of each kind, the first rule that matches its first name, or else the next.
    pub(crate) fn treatment(&self, tables: &[&TableName], column: &str) -> Treatment {
        let names: Vec<_> = tables.iter().map(|table| format!("{table}.{column}")).collect();
        Treatment {
            truncate: first(&self.truncate, &names),
            mask: first(&self.mask, &names),
            hash: first(&self.hash, &names),
        }
    }

    /// Warns of rules that match no column of the captured tables: a misspelt one hides nothing.
    pub(crate) fn warnings(&self, tables: &[Arc<Table>]) -> Vec<String> {
        let mut names = Vec::new();
        for table in tables {
            let columns = table.columns.iter().map(|column| &column.name).chain(&table.left_out);
            for column in columns {
                names.extend(known_as(table).iter().map(|name| format!("{name}.{column}")));
            }
        }
        let truncate = (0..)
            .zip(&self.truncate)
            .map(|(at, (pattern, _))| (format!("columnTruncateToLengthChars[{at}]"), pattern));
        let mask = (0..)
            .zip(&self.mask)
            .map(|(at, (pattern, _))| (format!("columnMaskWithLengthChars[{at}]"), pattern));
        let hash = self.hash.iter().map(|(pattern, hash)| {
            let field = match hash.version {
                HashVersion::V1 => "columnMaskHash",
                HashVersion::V2 => "columnMaskHashV2",
            };
            (field.to_owned(), pattern)
        });
        let all = truncate.chain(mask).chain(hash);
        all.filter_map(|(field, pattern)| unmatched(&field, pattern, "schema.table.column", &names))
            .collect()
    }
}

/// The names of a captured table.
fn known_as(table: &Table) -> Vec<&TableName> {
    names(&table.name, table.root.as_ref())
}

/// A warning of a pattern that matches none of these names of a kind.
fn unmatched(field: &str, pattern: &Regex, kind: &str, names: &[String]) -> Option<String> {
    let written = pattern.as_str();
    let written =
        written.strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$")).unwrap_or(written);
    (!names.iter().any(|name| pattern.is_match(name))).then(|| {
        format!(
            "`{field}` = `{written}` matches no `{kind}`, so that nothing is done: correct its spelling, or remove it"
        )
    })
}

/// What the first rule says that matches the first of these names that any rule matches.
fn first<T: Clone>(rules: &[(Regex, T)], names: &[String]) -> Option<T> {
    let of = |name: &String| rules.iter().find(|(pattern, _)| pattern.is_match(name));
    names.iter().find_map(of).map(|(_, what)| what.clone())
}

fn numbered(entry: &str) -> Result<(Regex, usize), RuleError> {
    let parts = entry.split_once(':').map(|(number, columns)| (number.trim().parse(), columns));
    match parts {
        Some((Ok(number), columns)) => Ok((pattern(columns)?, number)),
        _ => Err(RuleError::NoNumber { entry: entry.to_owned() }),
    }
}

/// What is done to the values of one column. All of it applies, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Treatment {
    truncate: Option<usize>,
    mask: Option<usize>,
    hash: Option<Hash>,
}

impl Treatment {
    /// Whether values are hidden, and must be nowhere in an event.
    pub(crate) const fn hides(&self) -> bool {
        self.mask.is_some() || self.hash.is_some()
    }

    /// Whether anything is done at all.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Appends what is shown of a value; `None` is NULL. `length` is the one that the column declares.
    pub(crate) fn put(
        &self,
        text: Option<&[u8]>,
        codec: &Codec,
        length: Option<usize>,
        scratch: &mut Scratch,
        out: &mut BytesMut,
    ) -> Result<(), ValueError> {
        let mut masked = Vec::new();
        let mut text = text.map(|text| self.truncate.map_or(text, |limit| cut(text, codec, limit)));
        if let Some(length) = self.mask {
            masked.resize(length, b'*');
            text = Some(&masked);
        }
        match (text, &self.hash) {
            (None, _) => out.extend_from_slice(b"null"),
            (Some(text), Some(hash)) => {
                let text = std::str::from_utf8(text).map_err(|_| ValueError::NotUtf8)?;
                hash.put(text, length, out);
            }
            (Some(text), None) if self.mask.is_some() => put_text(text, out)?,
            (Some(text), None) => codec.put(text, scratch, out)?,
        }
        Ok(())
    }
}

/// The beginning of a value: as many UTF-16 units of text, or as many bytes. Other values stay whole.
fn cut<'a>(text: &'a [u8], codec: &Codec, limit: usize) -> &'a [u8] {
    match codec {
        Codec::Text if text.len() > limit => {
            let Ok(characters) = std::str::from_utf8(text) else { return text };
            let mut units = 0;
            let end = characters.char_indices().find(|(_, c)| {
                units += c.len_utf16();
                units > limit
            });
            end.map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
        }
        // After `\x`, two digits make a byte.
        Codec::Bytes(_) => text.get(..limit.saturating_mul(2).saturating_add(2)).unwrap_or(text),
        _ => text,
    }
}

/// Which columns make the keys of tables that have others than their primary key's.
#[derive(Clone, Debug, Default)]
pub struct MessageKeys(Vec<(Regex, Vec<String>)>);

impl MessageKeys {
    /// Entries `schema.table:column,column`; one may hold several, separated by `;`.
    ///
    /// # Errors
    /// [`RuleError::KeyColumns`] and [`RuleError::Pattern`].
    pub fn new<S: AsRef<str>>(entries: &[S]) -> Result<Self, RuleError> {
        let entries = entries.iter().flat_map(|entry| entry.as_ref().split(';'));
        let entries = entries.map(str::trim).filter(|entry| !entry.is_empty());
        let keys = entries.map(|entry| {
            let malformed = || RuleError::KeyColumns { entry: entry.to_owned() };
            let (table, columns) = entry.rsplit_once(':').ok_or_else(malformed)?;
            let columns: Vec<_> =
                columns.split(',').map(|column| column.trim().to_owned()).collect();
            if table.trim().is_empty() || columns.iter().any(String::is_empty) {
                return Err(malformed());
            }
            Ok((pattern(table)?, columns))
        });
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// The key columns that were chosen for a table with these names.
    pub(crate) fn of(&self, tables: &[&TableName]) -> Option<Vec<String>> {
        let names: Vec<_> = tables.iter().map(ToString::to_string).collect();
        first(&self.0, &names)
    }

    /// Warns of entries that match none of the captured tables, or name columns that cannot make keys.
    pub(crate) fn warnings(&self, tables: &[Arc<Table>]) -> Vec<String> {
        let names: Vec<_> = tables.iter().flat_map(|table| known_as(table)).collect();
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let entry = |(pattern, _): &(Regex, Vec<String>)| {
            unmatched("messageKeyColumns", pattern, "schema.table", &names)
        };
        let entries = self.0.iter().filter_map(entry);
        entries.chain(tables.iter().filter_map(|table| self.warning(table))).collect()
    }

    fn warning(&self, table: &Table) -> Option<String> {
        let chosen = self.of(&known_as(table))?;
        let without = |has: &dyn Fn(&String) -> bool| {
            let names = chosen.iter().filter(|name| !has(name)).map(|name| format!("`{name}`"));
            let names = names.collect::<Vec<_>>().join(", ");
            (!names.is_empty())
                .then(|| format!("`messageKeyColumns` names {names} for table `{}`", table.name))
        };
        if let Some(found) = without(&|name| table.columns.iter().any(|known| known.name == *name))
        {
            return Some(format!(
                "{found}, which has no such column or does not show it, so that the table keeps its own key: correct the name, or \
                 remove it"
            ));
        }
        let found = without(&|name| table.identity_columns.contains(name))?;
        Some(format!(
            "{found}, whose replica identity does not hold them, so that events of deleted rows have no such key: run `ALTER TABLE \
             {} REPLICA IDENTITY FULL`, or that with a unique index of these columns",
            table.name.quoted()
        ))
    }
}

/// Which messages are sent, by their prefix. The default sends all.
#[derive(Clone, Debug, Default)]
pub struct MessagePrefixes {
    includes: Vec<Regex>,
    excludes: Vec<Regex>,
}

impl MessagePrefixes {
    /// One of two lists of patterns.
    ///
    /// # Errors
    /// [`RuleError::BothLists`] and [`RuleError::Pattern`].
    pub fn new<S: AsRef<str>>(includes: &[S], excludes: &[S]) -> Result<Self, RuleError> {
        if !includes.is_empty() && !excludes.is_empty() {
            return Err(RuleError::BothLists);
        }
        let patterns = |list: &[S]| -> Result<_, RuleError> {
            list.iter().map(|text| pattern(text.as_ref())).collect()
        };
        Ok(Self { includes: patterns(includes)?, excludes: patterns(excludes)? })
    }

    /// Whether messages with this prefix are sent.
    pub(crate) fn pass(&self, prefix: &str) -> bool {
        let any = |list: &[Regex]| list.iter().any(|pattern| pattern.is_match(prefix));
        (self.includes.is_empty() || any(&self.includes)) && !any(&self.excludes)
    }
}
