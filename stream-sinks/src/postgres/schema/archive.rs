//! Reads the table of contents of an archive in `pg_dump`'s custom format.
//!
//! In: the bytes of `pg_dump --format=custom`. Out: its entries, in order, each with its statement, its
//! names and the entries it depends on. Data blocks, which follow the table of contents, are not read.
//!
//! Source: `src/bin/pg_dump/pg_backup_archiver.c` (`ReadHead`, `ReadToc`) and `pg_backup_custom.c`.

use super::SchemaError;

/// One object of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its number in the archive.
    pub(super) dump_id: u32,
    /// What it is, in `pg_dump`'s words: `TABLE`, `FK CONSTRAINT`, `INDEX ATTACH`, …
    pub(super) kind: String,
    /// The schema, unquoted; empty where there is none.
    pub(super) schema: String,
    /// The name, unquoted; for what belongs to a table often `table name`, for a function its signature.
    pub(super) name: String,
    /// The owner, unquoted; empty where there is none.
    pub(super) owner: String,
    /// When `pg_restore` would run it.
    pub(super) section: Section,
    /// The statement, or several that belong together.
    pub(super) definition: String,
    /// The statement that drops it; empty where there is none.
    pub(super) drop_statement: String,
    /// The tablespace; empty for the database's own.
    pub(super) tablespace: String,
    /// The table access method; empty where there is none.
    pub(super) access_method: String,
    /// Numbers of the entries it depends on.
    pub(super) depends_on: Vec<u32>,
}

/// When `pg_restore` would run an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Together with the entry it belongs to.
    None,
    /// Before the rows.
    PreData,
    /// The rows themselves.
    Data,
    /// After the rows.
    PostData,
}

/// Oldest archive version we read (PostgreSQL 12).
const OLDEST: (u8, u8) = (1, 14);
/// Since this version the header names the compression by one byte (PostgreSQL 16).
const COMPRESSION_BYTE: (u8, u8) = (1, 15);
/// Since this version an entry tells its kind of relation; the newest that we read (PostgreSQL 17, 18).
const RELATION_KIND: (u8, u8) = (1, 16);
/// The letter-like number of the custom format.
const CUSTOM: u8 = 1;

/// Reads all entries.
pub(super) fn read(archive: &[u8]) -> Result<Vec<Entry>, SchemaError> {
    let mut reader = Reader { all: archive, rest: archive, integer_size: 4 };
    if reader.take(5)? != b"PGDMP" {
        return Err(reader.problem("it does not begin with `PGDMP`"));
    }
    let version = (reader.byte()?, reader.byte()?);
    reader.byte()?;
    if !(OLDEST..=RELATION_KIND).contains(&version) {
        return Err(reader.problem("its version is unknown (known are 1.14 to 1.16)"));
    }
    reader.integer_size = usize::from(reader.byte()?);
    let offset_size = usize::from(reader.byte()?);
    if reader.byte()? != CUSTOM {
        return Err(reader.problem("it is not in the custom format"));
    }
    if version >= COMPRESSION_BYTE {
        reader.byte()?;
    } else {
        reader.integer()?;
    }
    for _date_part in 0..7 {
        reader.integer()?;
    }
    for _database_or_version in 0..3 {
        reader.text()?;
    }
    let count = reader.integer()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(reader.entry(version)?);
        // Where the entry's data are: a flag and an offset.
        reader.take(1 + offset_size)?;
    }
    Ok(entries)
}

struct Reader<'a> {
    all: &'a [u8],
    rest: &'a [u8],
    integer_size: usize,
}

impl<'a> Reader<'a> {
    fn problem(&self, problem: &'static str) -> SchemaError {
        SchemaError::Archive { at: self.all.len() - self.rest.len(), problem }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], SchemaError> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.problem("it is cut short"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, SchemaError> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    /// A sign byte, then the magnitude, least byte first.
    fn integer(&mut self) -> Result<i64, SchemaError> {
        let negative = self.byte()? != 0;
        let mut magnitude: u64 = 0;
        for &byte in self.take(self.integer_size)?.iter().rev() {
            magnitude = magnitude << 8 | u64::from(byte);
        }
        let value =
            u32::try_from(magnitude).map_err(|_| self.problem("a number there is out of range"))?;
        Ok(if negative { -i64::from(value) } else { i64::from(value) })
    }

    /// A length, -1 for none, then that many bytes.
    fn optional_text(&mut self) -> Result<Option<String>, SchemaError> {
        let Ok(length) = usize::try_from(self.integer()?) else { return Ok(None) };
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map(Some).map_err(|_| {
            self.problem("a text there is not UTF-8 (a database in SQL_ASCII may hold such names)")
        })
    }

    fn text(&mut self) -> Result<String, SchemaError> {
        Ok(self.optional_text()?.unwrap_or_default())
    }

    fn number(&self, value: i64) -> Result<u32, SchemaError> {
        u32::try_from(value).map_err(|_| self.problem("a negative number is there"))
    }

    fn entry(&mut self, version: (u8, u8)) -> Result<Entry, SchemaError> {
        let dump_id = self.integer()?;
        let dump_id = self.number(dump_id)?;
        self.integer()?; // whether there are data
        self.text()?; // the catalogue's oid
        self.text()?; // the object's oid
        let name = self.text()?;
        let kind = self.text()?;
        let section = match self.integer()? {
            1 => Section::None,
            2 => Section::PreData,
            3 => Section::Data,
            4 => Section::PostData,
            _ => return Err(self.problem("a section there is unknown")),
        };
        let definition = self.text()?;
        let drop_statement = self.text()?;
        self.text()?; // the COPY statement
        let schema = self.text()?;
        let tablespace = self.text()?;
        let access_method = self.text()?;
        if version >= RELATION_KIND {
            self.integer()?;
        }
        let owner = self.text()?;
        self.text()?; // whether rows have oids: never
        let mut depends_on = Vec::new();
        while let Some(number) = self.optional_text()? {
            depends_on
                .push(number.parse().map_err(|_| self.problem("a dependency there is no number"))?);
        }
        Ok(Entry {
            dump_id,
            kind,
            schema,
            name,
            owner,
            section,
            definition,
            drop_statement,
            tablespace,
            access_method,
            depends_on,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `pg_dump` 15 wrote for a database with one odd table.
    const CAPTURED: &[u8] = include_bytes!("../../../tests/fixtures/odd_table.dump");

    #[test]
    fn names_are_read_as_the_catalogue_spells_them() {
        let entries = read(CAPTURED).unwrap();
        let table = entries.iter().find(|entry| entry.kind == "TABLE").unwrap();
        assert_eq!((&*table.schema, &*table.name), ("odd schema.\"x", "odd table.\"y\nz"));
        assert_eq!((&*table.owner, &*table.access_method), ("postgres", "heap"));
        assert_eq!(
            table.drop_statement,
            "DROP TABLE \"odd schema.\"\"x\".\"odd table.\"\"y\nz\";\n"
        );
        assert_eq!(table.section, Section::PreData);
        let schema = entries.iter().find(|entry| entry.kind == "SCHEMA").unwrap();
        assert_eq!(table.depends_on, [schema.dump_id]);
        let comment = entries.iter().find(|entry| entry.kind == "COMMENT").unwrap();
        assert!(comment.definition.contains("-- TOC entry"), "{comment:?}");
        assert_eq!((comment.section, &*comment.depends_on), (Section::None, &[table.dump_id][..]));
        let key = entries.iter().find(|entry| entry.kind == "CONSTRAINT").unwrap();
        assert_eq!(key.section, Section::PostData);
    }

    #[test]
    fn an_archive_that_is_cut_short_is_an_error_wherever_it_is_cut() {
        for length in 0..CAPTURED.len() - 1 {
            let cut = CAPTURED.get(..length).unwrap();
            assert!(read(cut).is_err(), "{length} bytes were enough");
        }
    }

    #[test]
    fn hostile_bytes_are_an_error() {
        let mut newer = CAPTURED.to_vec();
        newer[6] = 17;
        let mut tar = CAPTURED.to_vec();
        tar[10] = 3;
        let mut huge_integers = CAPTURED.to_vec();
        huge_integers[8] = 255;
        for bytes in [&newer[..], &tar, &huge_integers, b"", b"PGDMQ", b"\xff\xff\xff\xff\xff\xff"]
        {
            assert!(read(bytes).is_err());
        }
    }

    #[test]
    fn later_versions_differ_in_the_header_and_by_one_number() {
        let text = |text: &str| {
            let mut bytes = vec![0, u8::try_from(text.len()).unwrap(), 0, 0, 0];
            bytes.extend(text.as_bytes());
            bytes
        };
        let none = [1, 1, 0, 0, 0];
        for minor in [15, 16] {
            let mut bytes = b"PGDMP\x01".to_vec();
            bytes.extend([minor, 0, 4, 8, 1, 1]);
            bytes.extend([0; 7 * 5]);
            bytes.extend([text("db"), text("18.1"), text("18.1"), vec![0, 1, 0, 0, 0]].concat());
            bytes.extend([vec![0, 7, 0, 0, 0, 0, 0, 0, 0, 0], text("1259"), text("5")].concat());
            bytes.extend([text("t"), text("TABLE"), vec![0, 2, 0, 0, 0], text("CREATE")].concat());
            bytes.extend([text("DROP"), none.to_vec(), text("s"), text(""), text("heap")].concat());
            if minor == 16 {
                bytes.extend([0, b'r', 0, 0, 0]);
            }
            bytes
                .extend([text("me"), text("false"), text("3"), none.to_vec(), vec![3; 9]].concat());
            let entries = read(&bytes).unwrap();
            assert_eq!(entries.len(), 1);
            assert_eq!((entries[0].dump_id, &*entries[0].owner), (7, "me"));
            assert_eq!(entries[0].depends_on, [3]);
        }
    }
}
