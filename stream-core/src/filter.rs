//! Which tables and columns a stream captures.
//!
//! In: the `includes` and `excludes` of the configuration, and the names of a table. Out: a
//! [`Selection`]. Does no I/O.

use regex::{Regex, RegexSet, RegexSetBuilder};

use crate::relation::{Relation, TableName};

/// The schema in which streams keep their progress at a PostgreSQL target. Such a target can be the source of another stream, whose
/// own progress is in the schema of this name at the other end.
const PROGRESS_SCHEMA: &str = "sgstream";

/// A pattern that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// The pattern is no regular expression of the supported kind: look-around and back-references are not.
    ///
    /// Remedy: write it as the message says. A pattern has to match a whole name: `inventory[.].*`.
    #[error("`{list}[{index}]` = `{pattern}` cannot be used: {reason}; {remedy}")]
    Pattern {
        /// The list that holds it: `includes` or `excludes`.
        list: &'static str,
        /// Its place in the list, counted from 0.
        index: usize,
        /// The pattern as it was written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
        /// What to write instead.
        remedy: &'static str,
    },
}

/// A column, as far as a filter looks at it.
#[derive(Clone, Copy, Debug)]
pub struct ColumnDef<'a> {
    /// The name, unquoted.
    pub name: &'a str,
    /// Whether rows are found by it: such columns come along when only other columns match.
    pub is_key: bool,
}

/// How much of a table is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Nothing.
    NotCaptured,
    /// Every column.
    Whole,
    /// The columns at these places of the list that was given, in its order.
    Columns(Vec<usize>),
}

impl Selection {
    /// Whether the column at a place of the list is captured.
    #[must_use]
    pub fn has(&self, at: usize) -> bool {
        match self {
            Self::Whole => true,
            Self::NotCaptured => false,
            Self::Columns(kept) => kept.contains(&at),
        }
    }
}

/// A pattern that matched nothing, which is most often a spelling mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// The list that holds it: `includes` or `excludes`.
    pub list: &'static str,
    /// Its place in the list, counted from 0.
    pub index: usize,
    /// The pattern as it was written.
    pub pattern: String,
}

impl std::fmt::Display for Unmatched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}[{}]` = `{}` matches no schema, no `schema.table` and no `schema.table.column`",
            self.list, self.index, self.pattern
        )
    }
}

/// The `includes` and `excludes` of a stream: case-insensitive regular expressions that must match
/// a whole name. Each is tried against `schema`, `schema.table` and `schema.table.column`.
#[derive(Clone, Debug)]
pub struct TableFilter {
    includes: PatternList,
    excludes: PatternList,
}

impl Default for TableFilter {
    /// The filter that every table passes.
    fn default() -> Self {
        let empty = |name| PatternList { name, patterns: Vec::new(), set: RegexSet::empty() };
        Self { includes: empty("includes"), excludes: empty("excludes") }
    }
}

impl TableFilter {
    /// Compiles both lists. No `includes` means every table.
    ///
    /// # Errors
    ///
    /// [`FilterError::Pattern`] for the first pattern that is no regular expression, or that needs
    /// look-around or a back-reference.
    pub fn new(includes: &[String], excludes: &[String]) -> Result<Self, FilterError> {
        Ok(Self {
            includes: PatternList::new("includes", includes)?,
            excludes: PatternList::new("excludes", excludes)?,
        })
    }

    /// How much of a table is captured. `names` are the table's own name and, for a partition, those
    /// of the partitioned tables that it is part of: what matches one of them matches the partition.
    ///
    /// Excludes win, over key columns too. A table of which every wanted column is excluded is not
    /// captured, and none of the schema `sgstream`, in which streams keep their progress.
    #[must_use]
    pub fn select(&self, names: &[&TableName], columns: &[ColumnDef<'_>]) -> Selection {
        let is_ours = names.iter().any(|name| name.schema == PROGRESS_SCHEMA);
        if is_ours || names.iter().any(|name| self.excludes.matches_table(name)) {
            return Selection::NotCaptured;
        }
        let whole =
            self.includes.is_empty() || names.iter().any(|name| self.includes.matches_table(name));
        let mut wanted = whole && columns.is_empty();
        let mut kept = Vec::with_capacity(columns.len());
        for (index, column) in columns.iter().enumerate() {
            if self.excludes.matches_column(names, column.name) {
                continue;
            }
            let matches = whole || self.includes.matches_column(names, column.name);
            wanted |= matches;
            if matches || column.is_key {
                kept.push(index);
            }
        }
        match (wanted, kept.len() == columns.len()) {
            (false, _) => Selection::NotCaptured,
            (true, true) => Selection::Whole,
            (true, false) => Selection::Columns(kept),
        }
    }

    /// As [`Self::select`], of a table as the log describes it.
    #[must_use]
    pub fn select_logged(&self, names: &[&TableName], relation: &Relation) -> Selection {
        let columns = relation.columns.iter();
        let columns: Vec<_> =
            columns.map(|column| ColumnDef { name: &column.name, is_key: column.is_key }).collect();
        self.select(names, &columns)
    }

    /// Which columns of a description of the log are captured, in its order.
    #[must_use]
    pub fn takes(&self, names: &[&TableName], relation: &Relation) -> Vec<bool> {
        let selection = self.select_logged(names, relation);
        (0..relation.columns.len()).map(|at| selection.has(at)).collect()
    }

    /// The patterns that match nothing of what exists.
    pub fn unmatched<'a>(
        &self,
        tables: impl IntoIterator<Item = (&'a TableName, &'a [ColumnDef<'a>])>,
    ) -> Vec<Unmatched> {
        let lists = [&self.includes, &self.excludes];
        let mut matched = lists.map(|list| vec![false; list.patterns.len()]);
        for (table, columns) in tables {
            for (list, matched) in lists.iter().zip(&mut matched) {
                if list.is_empty() {
                    continue;
                }
                let mut mark = |name: &str| {
                    list.set.matches(name).iter().for_each(|index| {
                        if let Some(matched) = matched.get_mut(index) {
                            *matched = true;
                        }
                    });
                };
                mark(&table.schema);
                mark(&table.to_string());
                for column in columns {
                    mark(&format!("{table}.{}", column.name));
                }
            }
        }
        let without =
            |(list, matched): (&PatternList, Vec<bool>)| {
                let name = list.name;
                let all = list.patterns.clone().into_iter().zip(matched).enumerate();
                all.filter(|(_, (_, matched))| !matched)
                    .map(move |(index, (pattern, _))| Unmatched { list: name, index, pattern })
            };
        lists.into_iter().zip(matched).flat_map(without).collect()
    }
}

/// What one compiled pattern may take: the default of `regex` for a single one, doubled because
/// ignoring case makes it larger.
const PATTERN_LIMIT_BYTES: usize = 20 << 20;

/// One of the two lists.
#[derive(Clone, Debug)]
struct PatternList {
    name: &'static str,
    patterns: Vec<String>,
    set: RegexSet,
}

impl PatternList {
    fn new(name: &'static str, patterns: &[String]) -> Result<Self, FilterError> {
        let mut whole = Vec::with_capacity(patterns.len());
        for (index, pattern) in patterns.iter().enumerate() {
            let translated = unquote(pattern);
            let anchored = format!("^(?:{translated})$");
            // Alone first: `a)(b` must not become valid by the brackets around it, and the error
            // must speak about what the user wrote.
            for text in [&translated, &anchored] {
                Regex::new(text).map_err(|error| refuse(name, index, pattern, &error))?;
            }
            whole.push(anchored);
        }
        let set = RegexSetBuilder::new(&whole)
            .case_insensitive(true)
            .dot_matches_new_line(true)
            .size_limit(PATTERN_LIMIT_BYTES.saturating_mul(patterns.len().max(1)))
            .build()
            .map_err(|error| refuse(name, 0, &patterns.join("|"), &error))?;
        Ok(Self { name, patterns: patterns.to_vec(), set })
    }

    fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    fn matches_table(&self, table: &TableName) -> bool {
        !self.is_empty()
            && (self.set.is_match(&table.schema) || self.set.is_match(&table.to_string()))
    }

    fn matches_column(&self, tables: &[&TableName], column: &str) -> bool {
        !self.is_empty()
            && tables.iter().any(|table| self.set.is_match(&format!("{table}.{column}")))
    }
}

/// Writes Java's `\Q…\E` (the text between is meant literally) as escapes.
fn unquote(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        text.push_str(before);
        if let Some(quoted) = escape.strip_prefix("\\Q") {
            let (quoted, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            text.push_str(&regex::escape(quoted));
            rest = after;
        } else {
            // The escaped character comes along, so that `\\Q` is a backslash and a Q.
            let length = escape.chars().take(2).map(char::len_utf8).sum();
            let (escape, after) = escape.split_at(length);
            text.push_str(escape);
            rest = after;
        }
    }
    text.push_str(rest);
    text
}

fn refuse(list: &'static str, index: usize, pattern: &str, error: &regex::Error) -> FilterError {
    let text = error.to_string();
    // The error is a drawing of the pattern with the reason on its last line.
    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let remedy = if reason.starts_with("look-around") {
        "write what is to match, and move what is not to match from `includes` to `excludes`"
    } else if reason.starts_with("backreferences") {
        "write the repeated part out"
    } else {
        "write a regular expression like `public\\.orders` or `inventory\\..*`"
    };
    FilterError::Pattern { list, index, pattern: pattern.to_owned(), reason, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [ColumnDef<'static>; 3] = [
        ColumnDef { name: "id", is_key: true },
        ColumnDef { name: "email", is_key: false },
        ColumnDef { name: "note", is_key: false },
    ];

    fn filter(includes: &[&str], excludes: &[&str]) -> TableFilter {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        TableFilter::new(&owned(includes), &owned(excludes)).unwrap()
    }

    fn select(includes: &[&str], excludes: &[&str]) -> Selection {
        filter(includes, excludes).select(&[&TableName::new("public", "orders")], &COLUMNS)
    }

    #[test]
    fn the_progress_of_other_streams_is_never_captured() {
        let progress = TableName::new("sgstream", "progress");
        for includes in [&[][..], &["sgstream"], &[".*"]] {
            let selected = filter(includes, &[]).select(&[&progress], &COLUMNS);
            assert_eq!(selected, Selection::NotCaptured, "{includes:?}");
        }
    }

    #[test]
    fn a_pattern_matches_whole_names_of_schema_table_or_column() {
        use Selection::{Columns, NotCaptured, Whole};
        let cases: [(&[&str], &[&str], Selection); 17] = [
            (&[], &[], Whole),
            (&["public"], &[], Whole),
            (&["public.orders"], &[], Whole),
            (&["PUBLIC\\.Orders"], &[], Whole),
            (&["public\\..*"], &[], Whole),
            (&["order"], &[], NotCaptured),
            (&["orders"], &[], NotCaptured),
            (&["a", "b|public"], &[], Whole),
            (&["public\\.orders\\.email"], &[], Columns(vec![0, 1])),
            (&[".*\\.email"], &["public\\.orders\\.id"], Columns(vec![1])),
            (&[".*\\.email"], &[".*\\.email"], NotCaptured),
            (&[], &[".*\\.note"], Columns(vec![0, 1])),
            (&[], &["public\\.orders\\..*"], NotCaptured),
            (&["public"], &["public\\.orders"], NotCaptured),
            (&["public.orders"], &["public"], NotCaptured),
            (&["\\Qpublic.orders\\E"], &[], Whole),
            (&["public", "(?x) public # all of it\n"], &[], Whole),
        ];
        for (includes, excludes, expected) in cases {
            assert_eq!(select(includes, excludes), expected, "{includes:?} {excludes:?}");
        }
    }

    #[test]
    fn a_partition_goes_by_its_ancestors_names_too() {
        let leaf = TableName::new("parts", "orders_2024");
        let root = TableName::new("public", "orders");
        let both = [&leaf, &root];
        assert_eq!(filter(&["public.orders"], &[]).select(&both, &COLUMNS), Selection::Whole);
        let without = filter(&["public.orders"], &["parts.orders_2024"]);
        assert_eq!(without.select(&both, &COLUMNS), Selection::NotCaptured);
        assert_eq!(without.select(&[&root], &COLUMNS), Selection::Whole);
        let column = filter(&[], &["public.orders.note"]);
        assert_eq!(column.select(&both, &COLUMNS), Selection::Columns(vec![0, 1]));
    }

    #[test]
    fn a_table_without_columns_is_captured_whole() {
        let table = TableName::new("public", "t");
        assert_eq!(filter(&[], &[]).select(&[&table], &[]), Selection::Whole);
        assert_eq!(filter(&["other"], &[]).select(&[&table], &[]), Selection::NotCaptured);
    }

    #[test]
    fn what_regex_cannot_express_is_refused_by_name() {
        let cases = [
            ("(?!tmp).*", "look-around", "`excludes`"),
            ("(?<=a)b", "look-around", "`excludes`"),
            (r"(a)\1", "backreferences", "write the repeated part out"),
            ("a)(b", "unopened group", "public"),
            ("(", "unclosed group", "public"),
            (r"\Z", "unrecognized escape", "public"),
            ("a{1000}{1000}{10}", "size limit", "public"),
        ];
        for (pattern, reason, remedy) in cases {
            let patterns = ["public".to_owned(), pattern.to_owned()];
            let error = TableFilter::new(&patterns, &[]).unwrap_err().to_string();
            assert!(error.contains(&format!("`includes[1]` = `{pattern}`")), "{error}");
            assert!(error.contains(reason) && error.contains(remedy), "{error}");
        }
    }

    #[test]
    fn quoted_text_is_literal() {
        let cases = [
            (r"\Qa.b\E.*", r"a\.b.*"),
            (r"\Qa.b", r"a\.b"),
            (r"\\Qa", r"\\Qa"),
            (r"é\.\Qü*\E", r"é\.ü\*"),
            (r"a\", r"a\"),
        ];
        for (java, rust) in cases {
            assert_eq!(unquote(java), rust);
        }
    }

    #[test]
    fn patterns_that_match_nothing_are_named() {
        let filter = filter(&["public", "publik", ".*\\.email"], &["x", ".*\\.note"]);
        let table = TableName::new("public", "orders");
        let unmatched = filter.unmatched([(&table, &COLUMNS[..])]);
        let named: Vec<_> = unmatched.iter().map(|one| (one.list, one.index)).collect();
        assert_eq!(named, [("includes", 1), ("excludes", 0)]);
        assert!(unmatched[0].to_string().starts_with("`includes[1]` = `publik` matches no"));
    }
}
