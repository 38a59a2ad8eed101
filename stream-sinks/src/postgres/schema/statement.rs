//! Takes statements apart that the server itself wrote out: indexes, constraints, grants.
//!
//! In: the text of one entry of such a kind. Out: its statements, or the parts of a key. Knows how
//! names and strings are quoted, and nothing of dollar quotes: the server writes none in these.

/// One statement of an entry that builds an index or adds a constraint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The text, with its semicolon.
    pub(super) sql: String,
    /// Whether others like it may run on the same table at the same time.
    pub(super) parallel: bool,
}

/// The text's statements, each with its semicolon.
pub(super) fn split(sql: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    for token in tokens(sql) {
        if let Some(last) = statements.last_mut() {
            last.push_str(token);
        }
        if token == ";" {
            statements.push(String::new());
        }
    }
    statements.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// The statements of an index or a constraint, in order. A key of an ordinary table is made of an index,
/// which can be built beside others, and a mark on it, which takes no time.
pub(super) fn index_pieces(sql: &str, partitioned: bool) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for sql in split(sql) {
        let key = if partitioned { None } else { Key::parse(&sql) };
        if let Some(key) = key {
            pieces.push(Piece { sql: key.index(), parallel: true });
            pieces.push(Piece { sql: key.constraint(), parallel: false });
        } else {
            let parallel =
                sql.starts_with("CREATE INDEX ") || sql.starts_with("CREATE UNIQUE INDEX ");
            pieces.push(Piece { sql, parallel });
        }
    }
    pieces
}

/// A primary key or unique constraint that a unique index says all about. Every part is SQL text.
struct Key {
    table: String,
    name: String,
    primary: bool,
    nulls_not_distinct: bool,
    columns: String,
    included: Option<String>,
    storage: Option<String>,
    deferral: String,
}

impl Key {
    /// `None` for whatever is not plainly such a key.
    fn parse(sql: &str) -> Option<Self> {
        let tokens: Vec<&str> = tokens(sql).filter(|token| !token.trim().is_empty()).collect();
        let mut rest = Rest(&tokens);
        rest.words("ALTER TABLE ONLY")?;
        let mut table = rest.ident()?.to_owned();
        if rest.words(".").is_some() {
            table = format!("{table}.{}", rest.ident()?);
        }
        rest.words("ADD CONSTRAINT")?;
        let name = rest.ident()?.to_owned();
        let primary = rest.words("PRIMARY KEY").is_some();
        if !primary {
            rest.words("UNIQUE")?;
        }
        let nulls_not_distinct = rest.words("NULLS NOT DISTINCT").is_some();
        let columns = rest.columns()?;
        let included = match rest.words("INCLUDE") {
            Some(()) => Some(rest.columns()?),
            None => None,
        };
        let storage = match rest.words("WITH") {
            Some(()) => Some(rest.parenthesised()?),
            None => None,
        };
        let mut deferral = String::new();
        for words in [" DEFERRABLE", " INITIALLY DEFERRED"] {
            if rest.words(words.trim_start()).is_some() {
                deferral.push_str(words);
            }
        }
        rest.words(";")?;
        rest.0.is_empty().then_some(Self {
            table,
            name,
            primary,
            nulls_not_distinct,
            columns,
            included,
            storage,
            deferral,
        })
    }

    fn index(&self) -> String {
        let mut sql =
            format!("CREATE UNIQUE INDEX {} ON {} ({})", self.name, self.table, self.columns);
        if let Some(included) = &self.included {
            sql.push_str(&format!(" INCLUDE ({included})"));
        }
        if self.nulls_not_distinct {
            sql.push_str(" NULLS NOT DISTINCT");
        }
        if let Some(storage) = &self.storage {
            sql.push_str(&format!(" WITH ({storage})"));
        }
        sql + ";"
    }

    fn constraint(&self) -> String {
        let Self { table, name, deferral, .. } = self;
        let kind = if self.primary { "PRIMARY KEY" } else { "UNIQUE" };
        format!(
            "ALTER TABLE ONLY {table} ADD CONSTRAINT {name} {kind} USING INDEX {name}{deferral};"
        )
    }
}

/// Tokens that are still to be read.
struct Rest<'a>(&'a [&'a str]);

impl<'a> Rest<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// Steps over `words` if they come next.
    fn words(&mut self, words: &str) -> Option<()> {
        let mut rest = self.0;
        for word in words.split(' ') {
            let (first, others) = rest.split_first()?;
            if *first != word {
                return None;
            }
            rest = others;
        }
        self.0 = rest;
        Some(())
    }

    fn ident(&mut self) -> Option<&'a str> {
        self.next().filter(|token| token.starts_with(|first: char| first == '"' || is_word(first)))
    }

    /// Names in parentheses, and nothing but names.
    fn columns(&mut self) -> Option<String> {
        self.words("(")?;
        let mut columns = self.ident()?.to_owned();
        while self.words(",").is_some() {
            columns.push_str(", ");
            columns.push_str(self.ident()?);
        }
        self.words(")")?;
        Some(columns)
    }

    /// Anything without parentheses, in parentheses.
    fn parenthesised(&mut self) -> Option<String> {
        self.words("(")?;
        let mut text = String::new();
        loop {
            match self.next()? {
                ")" => return Some(text),
                "(" => return None,
                token => text.push_str(token),
            }
        }
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$' || !letter.is_ascii()
}

/// Words, blanks, quoted names, strings, and single other characters; joined they are the text.
fn tokens(sql: &str) -> impl Iterator<Item = &str> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let escapes = rest.starts_with("E'");
        let length = match first {
            '"' => quoted(rest, '"', false),
            '\'' => quoted(rest, '\'', false),
            'E' if escapes => 1 + quoted(rest.get(1..).unwrap_or_default(), '\'', true),
            _ if is_word(first) => rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
            _ if first.is_whitespace() => {
                rest.find(|letter: char| !letter.is_whitespace()).unwrap_or(rest.len())
            }
            _ => first.len_utf8(),
        };
        let (token, others) = rest.split_at_checked(length)?;
        rest = others;
        Some(token)
    })
}

/// Length of the quoted text at the beginning of `sql`. A doubled quote needs no care of its own: it
/// ends one quoted text and begins the next.
fn quoted(sql: &str, quote: char, escapes: bool) -> usize {
    let mut letters = sql.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if escapes && letter == '\\' {
            letters.next();
        } else if letter == quote {
            // In an E'' string what follows a doubled quote is escaped in the same way.
            let doubled = sql.get(at + 1..).is_some_and(|rest| rest.starts_with(quote));
            if !doubled {
                return at + 1;
            }
            letters.next();
        }
    }
    sql.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes() {
        let cases: [(&str, &[&str]); 5] = [
            ("", &[]),
            ("A;\nB;\n\n", &["A;", "B;"]),
            (
                "GRANT x ON \"a\"\";\nGRANT y\" TO b;\nC;",
                &["GRANT x ON \"a\"\";\nGRANT y\" TO b;", "C;"],
            ),
            ("X ('it''s;');Y;", &["X ('it''s;');", "Y;"]),
            (r"X (E'\';''\\');Y (E'''\'');", &[r"X (E'\';''\\');", r"Y (E'''\'');"]),
        ];
        for (sql, expected) in cases {
            assert_eq!(split(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_key_becomes_an_index_and_a_mark() {
        let cases = [
            (
                "ALTER TABLE ONLY app.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (id, \"a,(b\");\n",
                "CREATE UNIQUE INDEX t_pkey ON app.t (id, \"a,(b\");",
                "ALTER TABLE ONLY app.t ADD CONSTRAINT t_pkey PRIMARY KEY USING INDEX t_pkey;",
            ),
            (
                "ALTER TABLE ONLY \"o. \"\"d\".\"t\n\"\n    ADD CONSTRAINT \"C\" UNIQUE NULLS NOT DISTINCT (a) INCLUDE (b, c) WITH (fillfactor='70', x='on') DEFERRABLE INITIALLY DEFERRED;",
                "CREATE UNIQUE INDEX \"C\" ON \"o. \"\"d\".\"t\n\" (a) INCLUDE (b, c) NULLS NOT DISTINCT WITH (fillfactor='70',x='on');",
                "ALTER TABLE ONLY \"o. \"\"d\".\"t\n\" ADD CONSTRAINT \"C\" UNIQUE USING INDEX \"C\" DEFERRABLE INITIALLY DEFERRED;",
            ),
        ];
        for (sql, index, mark) in cases {
            let pieces = index_pieces(sql, false);
            let texts: Vec<_> = pieces.iter().map(|piece| (&*piece.sql, piece.parallel)).collect();
            assert_eq!(texts, [(index, true), (mark, false)]);
            assert_eq!(
                index_pieces(sql, true),
                [Piece { sql: sql.trim().to_owned(), parallel: false }]
            );
        }
    }

    #[test]
    fn what_is_not_plainly_a_key_stays_as_it_is() {
        for sql in [
            "ALTER TABLE ONLY t ADD CONSTRAINT c EXCLUDE USING gist (room WITH =);",
            "ALTER TABLE ONLY t ADD CONSTRAINT c PRIMARY KEY (id, during WITHOUT OVERLAPS);",
            "ALTER TABLE ONLY t ADD CONSTRAINT c UNIQUE (id) NOT ENFORCED;",
            "ALTER TABLE ONLY t ADD CONSTRAINT c UNIQUE (lower(id));",
            "ALTER TABLE t ADD CONSTRAINT c UNIQUE (id);",
            "ALTER TABLE ONLY t ADD CONSTRAINT c UNIQUE (id)",
            "ALTER TABLE ONLY t CLUSTER ON c;",
        ] {
            assert_eq!(index_pieces(sql, false), [Piece { sql: sql.to_owned(), parallel: false }]);
        }
    }

    #[test]
    fn an_index_and_its_marks_are_apart() {
        let pieces = index_pieces(
            "CREATE UNIQUE INDEX i ON app.t USING btree (x) WHERE (a = ';'::text);\n\n\nALTER TABLE ONLY app.t REPLICA IDENTITY USING INDEX i;\n",
            false,
        );
        let parallel: Vec<_> = pieces.iter().map(|piece| piece.parallel).collect();
        assert_eq!(parallel, [true, false]);
    }
}
