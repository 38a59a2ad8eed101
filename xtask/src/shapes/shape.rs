//! The shapes: what is there before the snapshot, what happens in the stream, and what has to come of it.
//!
//! Each has a file in `sql`, divided by lines that say where what follows is run. The names of its schemas are its own, or begin
//! with it and a space.

use super::pair::Pair;

/// A shape of tables.
#[derive(Debug)]
pub(super) struct Shape {
    /// Its name in the table, and the name of its schemas.
    pub(super) name: &'static str,
    sql: &'static str,
    /// The oldest version of either server that has it.
    pub(super) needs: u16,
    pub(super) source: Source,
    expected: Expected,
    /// What an older target says, where the source's schema has words that only 18 and later know.
    new_words: Option<&'static str>,
}

/// What is special about the source of a shape. Shapes without anything special share a database and a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Plain,
    /// How its database is made, as `CREATE DATABASE` takes it.
    Encoded(&'static str),
    /// The stream's role sees less than a superuser does.
    Role,
    /// A property of the stream.
    Property(&'static str),
    /// It is too large for every pair.
    Large,
}

/// What has to come of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Both ends are the same.
    Same,
    /// Both ends are the same but for what is never captured, which the worker's log has to name.
    Named(&'static [&'static str]),
    /// The worker ends with an error that has these words.
    Refused(&'static str),
}

/// Where statements are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Source,
    Target,
}

/// A shape's file, divided.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// What the shape is, in words.
    pub(super) about: String,
    /// The first is run before the stream begins, each other once the effects of those before it have arrived.
    pub(super) steps: Vec<(Place, String)>,
    /// A question that the target answers with yes at the end.
    pub(super) holds: Option<String>,
}

const ASCII: &str = "ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'";
const LATIN1: &str = "ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'";

macro_rules! shape {
    ($name:literal) => {
        Shape::new($name, include_str!(concat!("sql/", $name, ".sql")))
    };
}

/// All shapes, in the order of the table.
pub(super) const SHAPES: [Shape; 34] = [
    shape!("types"),
    shape!("intervals").needs(17),
    shape!("own_types"),
    shape!("extensions"),
    shape!("wide"),
    shape!("columns"),
    shape!("names"),
    shape!("schemas"),
    shape!("no_column"),
    shape!("inheritance")
        .new_words("cannot be made at the target: syntax error at or near \"NOT\""),
    shape!("partitions"),
    shape!("attached"),
    shape!("via_root")
        .from(Source::Property("publicationName: shapes_own, publicationAutocreateMode: disabled")),
    shape!("via_root_property").from(Source::Property("publishViaPartitionRoot: true")),
    shape!("keys"),
    shape!("collations"),
    shape!("temporal").needs(18),
    shape!("identity"),
    shape!("generated"),
    shape!("virtual").needs(18),
    shape!("virtual_no_key")
        .needs(18)
        .expects(Expected::Refused("it cannot log whole rows with virtual generated columns")),
    shape!("in_progress").from(Source::Property("slotStreamParams: {streaming: 'on'}")),
    shape!("cycles"),
    shape!("triggers"),
    shape!("truncates"),
    shape!("row_security"),
    shape!("hidden_rows")
        .from(Source::Role)
        .expects(Expected::Refused("row security would hide rows")),
    shape!("left_out").expects(Expected::Named(&[
        "`left_out.unlogged` is not captured",
        "`pg_temp.left_out_temporary` is not captured",
        "`left_out.foreign_one` is not captured",
    ])),
    shape!("computed").expects(Expected::Named(&[
        "`computed.m` is not captured",
        "the database holds large objects",
    ])),
    shape!("latin1").from(Source::Encoded(LATIN1)),
    shape!("sql_ascii")
        .from(Source::Encoded(ASCII))
        .expects(Expected::Named(&["the database has no encoding (`SQL_ASCII`)"])),
    shape!("not_utf8").from(Source::Encoded(ASCII)).expects(Expected::Refused("not_utf8.t")),
    shape!("not_utf8_later")
        .from(Source::Encoded(ASCII))
        .expects(Expected::Refused("refuses row (id=2) of `not_utf8_later.t`")),
    shape!("large").from(Source::Large),
];

impl Shape {
    const fn new(name: &'static str, sql: &'static str) -> Self {
        Self {
            name,
            sql,
            needs: 14,
            source: Source::Plain,
            expected: Expected::Same,
            new_words: None,
        }
    }

    const fn new_words(self, said: &'static str) -> Self {
        Self { new_words: Some(said), ..self }
    }

    const fn needs(self, needs: u16) -> Self {
        Self { needs, ..self }
    }

    const fn from(self, source: Source) -> Self {
        Self { source, ..self }
    }

    const fn expects(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    /// Whether a schema is one of its own.
    pub(super) fn has(&self, schema: &str) -> bool {
        let rest = schema.strip_prefix(self.name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }

    /// What has to come of it between a pair.
    pub(super) fn expected(&self, pair: Pair) -> Expected {
        match self.new_words {
            Some(said) if pair.source >= 18 && pair.target < 18 => Expected::Refused(said),
            _ => self.expected,
        }
    }

    /// Whether it can be in one database with others like it.
    pub(super) fn shares(&self, pair: Pair) -> bool {
        !matches!(self.expected(pair), Expected::Refused(_))
    }

    /// Divides its file.
    pub(super) fn script(&self) -> Script {
        let mut script = Script::default();
        for line in self.sql.lines() {
            match line {
                "-- at the source" => script.steps.push((Place::Source, String::new())),
                "-- at the target" => script.steps.push((Place::Target, String::new())),
                "-- the target holds" => script.holds = Some(String::new()),
                line => script.add(line),
            }
        }
        script
    }
}

impl Script {
    /// Adds a line to the part that is read.
    fn add(&mut self, line: &str) {
        match (&mut self.holds, self.steps.last_mut()) {
            (Some(holds), _) => *holds += line,
            (None, Some((_, sql))) => {
                sql.push_str(line);
                sql.push('\n');
            }
            (None, None) => {
                let line = line.trim_start_matches('-').trim();
                let space = if self.about.is_empty() { "" } else { " " };
                self.about = format!("{}{space}{line}", self.about);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_says_what_it_is_and_begins_at_the_source() {
        for shape in &SHAPES {
            let script = shape.script();
            assert!(script.about.ends_with('.'), "{}: `{}`", shape.name, script.about);
            let first = script.steps.first().map(|(place, _)| *place);
            assert_eq!(first, Some(Place::Source), "{}", shape.name);
        }
    }

    #[test]
    fn no_two_shapes_have_the_same_schema() {
        for shape in &SHAPES {
            let owners = SHAPES.iter().filter(|other| other.has(shape.name));
            assert_eq!(owners.count(), 1, "{}", shape.name);
        }
    }

    #[test]
    fn a_file_is_divided_where_it_says() {
        let sql = "-- What\n-- it is.\n-- at the source\none;\n-- why\ntwo;\n-- at the target\nthree;\n-- the target holds\nSELECT true\n";
        let script = Shape::new("x", sql).script();
        assert_eq!(script.about, "What it is.");
        let source = (Place::Source, "one;\n-- why\ntwo;\n".to_owned());
        assert_eq!(script.steps, [source, (Place::Target, "three;\n".to_owned())]);
        assert_eq!(script.holds.as_deref(), Some("SELECT true"));
    }
}
