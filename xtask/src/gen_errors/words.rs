//! What comments and message templates say, in words for a reader who does not know the code.

use std::fmt::Write as _;

use proc_macro2::{TokenStream, TokenTree};
use syn::parse::Parser as _;
use syn::{Attribute, Expr, Fields, Lit, Meta};

use super::scan::literal;

/// What a comment says of an error: its paragraphs, of which one begins with `Remedy: `.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Explanation {
    /// What is the matter.
    pub(super) cause: Option<String>,
    /// What to do.
    pub(super) remedy: Option<String>,
    /// The message, where it is not made of one template.
    pub(super) message: Option<String>,
}

/// Reads a documentation comment, up to its first heading.
pub(super) fn explanation(attributes: &[Attribute]) -> Explanation {
    let mut text = String::new();
    for attribute in attributes.iter().filter(|one| one.path().is_ident("doc")) {
        let Meta::NameValue(pair) = &attribute.meta else { continue };
        let Expr::Lit(line) = &pair.value else { continue };
        let Lit::Str(line) = &line.lit else { continue };
        let line = line.value();
        if line.trim_start().starts_with("# ") {
            break;
        }
        let _ = writeln!(text, "{}", line.trim());
    }
    let mut found = Explanation::default();
    for paragraph in text.split("\n\n") {
        let paragraph = paragraph.trim().replace('\n', " ").replace("[`", "`").replace("`]", "`");
        if let Some(remedy) = paragraph.strip_prefix("Remedy: ") {
            found.remedy = Some(remedy.to_owned());
        } else if let Some(message) = paragraph.strip_prefix("Message: ") {
            found.message = Some(without_quotes(message));
        } else if !paragraph.is_empty() && !paragraph.starts_with("Source: ") {
            let cause = found.cause.get_or_insert_default();
            if !cause.is_empty() {
                cause.push(' ');
            }
            cause.push_str(&paragraph);
        }
    }
    found
}

/// A message as printed: in a comment a placeholder is in backquotes, without which it would be taken for HTML.
fn without_quotes(text: &str) -> String {
    let is_placeholder = |part: &str| {
        part.strip_prefix('<')
            .and_then(|part| part.strip_suffix('>'))
            .is_some_and(|name| !name.contains('<'))
    };
    let parts = text.split('`').enumerate().map(|(at, part)| match at % 2 {
        1 if !is_placeholder(part) => format!("`{part}`"),
        _ => part.to_owned(),
    });
    parts.collect()
}

/// The text of a `format!` or of `#[error(…)]`, with `<name>` in place of each value.
pub(super) fn message(tokens: TokenStream, fields: Option<&Fields>) -> Option<String> {
    let read = |input: syn::parse::ParseStream<'_>| {
        let text = literal(input)?;
        Ok((text, input.parse::<TokenStream>()?))
    };
    let (template, rest) = read.parse2(tokens).ok()?;
    let given = arguments(rest);
    let mut unnamed = given.iter().cloned();
    let (mut text, mut rest) = (String::new(), template.as_str());
    while let Some(at) = rest.find(['{', '}']) {
        let (before, found) = rest.split_at(at);
        text.push_str(before);
        if found.starts_with("{{") || found.starts_with("}}") {
            text.push_str(&found[..1]);
            rest = &found[2..];
            continue;
        }
        let (inside, after) = found[1..].split_once('}')?;
        let name = inside.split(':').next().unwrap_or_default();
        let name = match name.parse() {
            Ok(place) => match fields {
                Some(fields) => place_name(fields, place),
                None => given.get(place).cloned(),
            },
            Err(_) if name.is_empty() => unnamed.next(),
            Err(_) => Some(name.to_owned()),
        };
        let _ = write!(text, "<{}>", name.as_deref().unwrap_or("…").replace('_', " "));
        rest = after;
    }
    Some(text + rest)
}

/// The names that stand for the arguments without one.
fn arguments(tokens: TokenStream) -> Vec<String> {
    let (mut names, mut words, mut is_named) = (Vec::new(), Vec::new(), false);
    let comma = |token: &TokenTree| matches!(token, TokenTree::Punct(one) if one.as_char() == ',');
    for token in tokens {
        if comma(&token) {
            if !is_named && !words.is_empty() {
                names.push(name(&words));
            }
            (words, is_named) = (Vec::new(), false);
            continue;
        }
        is_named |= matches!(&token, TokenTree::Punct(one) if one.as_char() == '=');
        words.push(token);
    }
    if !is_named && !words.is_empty() {
        names.push(name(&words));
    }
    names
}

/// What an argument is about: its last field or variable, or the function that is called first. A type that only wraps says nothing.
fn name(words: &[TokenTree]) -> String {
    let mut last = None;
    for (at, word) in words.iter().enumerate() {
        let TokenTree::Ident(ident) = word else { continue };
        let ident = ident.to_string();
        match words.get(at + 1) {
            Some(TokenTree::Group(inner)) if ident.starts_with(char::is_uppercase) => {
                return name(&inner.stream().into_iter().collect::<Vec<_>>());
            }
            Some(TokenTree::Group(_)) if last.is_some() || at > 0 => {}
            _ if ident == "self" => {}
            _ => last = Some(ident),
        }
    }
    last.unwrap_or_else(|| "…".to_owned())
}

/// What a field without a name is about.
fn place_name(fields: &Fields, place: usize) -> Option<String> {
    let syn::Type::Path(path) = &fields.iter().nth(place)?.ty else { return None };
    Some(match path.path.segments.last()?.ident.to_string().as_str() {
        "PathBuf" => "path".to_owned(),
        "Error" => "reason".to_owned(),
        _ => return None,
    })
}
