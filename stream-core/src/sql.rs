//! Quoting: the one place where names and values become SQL text.

use std::fmt;

/// An identifier, quoted whenever it is printed.
#[derive(Clone, Copy)]
pub struct Ident<'a>(pub &'a str);

impl fmt::Display for Ident<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// A string constant, quoted whenever it is printed; right under either setting of
/// `standard_conforming_strings`.
#[derive(Clone, Copy)]
pub struct Literal<'a>(pub &'a str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escape = if self.0.contains('\\') { " E" } else { "" };
        write!(f, "{escape}'{}'", self.0.replace('\\', "\\\\").replace('\'', "''"))
    }
}

/// Prints `items` with `, ` between them.
pub fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&item.to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_survive_hostile_names() {
        assert_eq!(Ident("a\"b.c").to_string(), "\"a\"\"b.c\"");
        assert_eq!(Literal("it's").to_string(), "'it''s'");
        assert_eq!(Literal("a\\'b").to_string(), " E'a\\\\''b'");
        assert_eq!(list([Ident("a"), Ident("B")]), "\"a\", \"B\"");
    }
}
