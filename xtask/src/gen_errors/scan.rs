//! Finds the errors of a source file, with what their comments say of them.
//!
//! In: a file's text. Out: its [`Entry`]s in their order, and what it owes an explanation for. An error is a variant of an enum
//! (or a struct) that derives `thiserror::Error`, or a function that makes an [`Error`](stream_core::Error) of words of its own.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Fields, Item, Lit, LitStr, Pat, Type};

use super::words::{self, Explanation};

/// An error that an operator can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As programmers know it: `SlotProblem::Lost`, `fenced`.
    pub(super) name: String,
    /// The messages as printed, with `<placeholders>`.
    pub(super) messages: Vec<String>,
    pub(super) explanation: Explanation,
    /// What it means for the worker; `None`: what its file says.
    pub(super) end: Option<End>,
}

/// What becomes of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It starts again after a while.
    Retries,
    /// It starts again at once, and nothing failed.
    StartsAgain,
    /// Exit code 1.
    Failed,
    /// Exit code 2.
    BadInput,
    /// Exit code 3.
    Fenced,
    /// It depends on what a server said.
    Depends,
    /// It is a warning.
    GoesOn,
}

impl End {
    /// By the name of a variant of `ErrorKind`.
    fn of_kind(kind: &str) -> Option<Self> {
        match kind {
            "Transient" => Some(Self::Retries),
            "Changed" => Some(Self::StartsAgain),
            "Permanent" => Some(Self::Failed),
            "Configuration" => Some(Self::BadInput),
            "Fenced" => Some(Self::Fenced),
            _ => None,
        }
    }
}

/// A function that makes an error of words for others, and the end that it means.
const MAKER: (&str, End) = ("bad_input", End::BadInput);
/// A shorter text in a function that is explained is no message.
const SHORTEST_MESSAGE: usize = 30;

/// Reads a file.
pub(super) fn scan(text: &str) -> Result<Found> {
    let file = syn::parse_file(text).context("no Rust")?;
    let mut found = Found::default();
    found.visit_file(&file);
    Ok(found)
}

/// What a file has.
#[derive(Default)]
pub(super) struct Found {
    /// Its errors, in their order.
    pub(super) entries: Vec<Entry>,
    /// What is decided about variants, of other files too, by their names.
    pub(super) ends: HashMap<String, End>,
}

impl Found {
    /// A type that derives `Error`: a variant, or all of a struct.
    fn add(&mut self, name: String, attributes: &[Attribute], fields: &Fields) {
        let explanation = words::explanation(attributes);
        let mut message = explanation.message.clone();
        for attribute in attributes.iter().filter(|one| one.path().is_ident("error")) {
            let Ok(list) = attribute.meta.require_list() else { continue };
            if ["transparent", "\"{0}\""].contains(&list.tokens.to_string().as_str()) {
                // What it holds is printed, and explained there.
                return;
            }
            message = message.or_else(|| words::message(list.tokens.clone(), Some(fields)));
        }
        self.entries.push(Entry {
            name,
            messages: message.into_iter().collect(),
            explanation,
            end: None,
        });
    }

    /// A function, if it makes an error of words of its own or is explained.
    fn function(&mut self, of: &str, name: &str, attributes: &[Attribute], block: &syn::Block) {
        let answers = match name {
            "is_retryable" => Answers::Retryable,
            "is_blocking" => Answers::Blocking,
            _ => Answers::Kind,
        };
        let mut arms = Arms { of: of.to_owned(), answers, found: Vec::new() };
        arms.visit_block(block);
        self.ends.extend(arms.found);
        let name = if of.is_empty() { name.to_owned() } else { format!("{of}::{name}") };
        let mut made = Made::default();
        made.visit_block(block);
        let explanation = words::explanation(attributes);
        let explained = explanation.remedy.is_some();
        if made.messages.is_empty() && !explained {
            return;
        }
        let mut messages = if made.messages.is_empty() { made.texts } else { made.messages };
        if let Some(message) = &explanation.message {
            messages = vec![message.clone()];
        }
        let end = made.ends.first().copied();
        let end = end.filter(|first| made.ends.iter().all(|end| end == first));
        let end = end.or((!made.ends.is_empty()).then_some(End::Depends));
        self.entries.push(Entry { name, messages, explanation, end });
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Enum(item) if derives_error(&item.attrs) => {
                for variant in &item.variants {
                    let name = format!("{}::{}", item.ident, variant.ident);
                    self.add(name, &variant.attrs, &variant.fields);
                }
            }
            Item::Struct(item) if derives_error(&item.attrs) => {
                self.add(item.ident.to_string(), &item.attrs, &item.fields);
            }
            Item::Mod(item) if item.attrs.iter().any(|one| one.path().is_ident("cfg")) => {}
            Item::Fn(item) => {
                self.function("", &item.sig.ident.to_string(), &item.attrs, &item.block)
            }
            other => visit::visit_item(self, other),
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let of = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map(|one| one.ident.to_string()),
            _ => None,
        };
        let of = of.unwrap_or_default();
        for function in &item.items {
            let syn::ImplItem::Fn(function) = function else { continue };
            self.function(&of, &function.sig.ident.to_string(), &function.attrs, &function.block);
        }
    }
}

fn derives_error(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|one| one.path().is_ident("derive")).any(|derive| {
        let mut found = false;
        let _ = derive.parse_nested_meta(|meta| {
            found |= meta.path.segments.last().is_some_and(|last| last.ident == "Error");
            Ok(())
        });
        found
    })
}

/// What a function makes of words.
#[derive(Default)]
struct Made {
    /// Messages that become an error here.
    messages: Vec<String>,
    ends: Vec<End>,
    /// All other texts that look like messages.
    texts: Vec<String>,
    /// Names of variables that hold a text.
    variables: HashMap<String, String>,
}

impl Made {
    fn text(&self, expression: &Expr) -> Option<String> {
        match expression {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            Expr::Macro(call) if call.mac.path.is_ident("format") => {
                words::message(call.mac.tokens.clone(), None)
            }
            Expr::Path(path) => self.variables.get(&path.path.get_ident()?.to_string()).cloned(),
            Expr::MethodCall(call) => self.text(&call.receiver),
            _ => None,
        }
    }
}

impl<'ast> Visit<'ast> for Made {
    fn visit_local(&mut self, local: &'ast syn::Local) {
        visit::visit_local(self, local);
        let (Pat::Ident(name), Some(init)) = (&local.pat, &local.init) else { return };
        if let Some(text) = self.text(&init.expr) {
            self.variables.insert(name.ident.to_string(), text);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        visit::visit_expr_call(self, call);
        let Expr::Path(path) = &*call.func else { return };
        let path: Vec<_> = path.path.segments.iter().map(|one| one.ident.to_string()).collect();
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let maker = path.last() == Some(&MAKER.0);
        if !maker && path != ["Error", "new"] {
            return;
        }
        let kind = call.args.first().and_then(kind_of).unwrap_or(End::Depends);
        self.ends.push(if maker { MAKER.1 } else { kind });
        self.messages.extend(call.args.last().and_then(|text| self.text(text)));
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let text = words::message(call.tokens.clone(), None);
        self.texts.extend(text.filter(|text| text.len() >= SHORTEST_MESSAGE));
    }
}

/// The end that an expression such as `ErrorKind::Permanent` means.
fn kind_of(expression: &Expr) -> Option<End> {
    match expression {
        Expr::Path(path) => End::of_kind(&path.path.segments.last()?.ident.to_string()),
        Expr::Block(block) => match block.block.stmts.as_slice() {
            [syn::Stmt::Expr(only, None)] => kind_of(only),
            _ => None,
        },
        _ => None,
    }
}

/// What a function answers of an error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// Whether to try again.
    Retryable,
    /// Whether it is more than a warning.
    Blocking,
    /// An `ErrorKind`, if anything.
    Kind,
}

impl Answers {
    /// What the answer `yes` means; `None`: nothing beyond what the file says.
    const fn end(self, yes: bool) -> Option<End> {
        match (self, yes) {
            (Self::Retryable, true) => Some(End::Retries),
            (Self::Blocking, false) => Some(End::GoesOn),
            (Self::Retryable | Self::Blocking | Self::Kind, _) => None,
        }
    }
}

/// What the arms of a `match` or a `matches!` say of each variant.
struct Arms {
    /// The type that `Self` is.
    of: String,
    answers: Answers,
    found: Vec<(String, End)>,
}

impl Arms {
    fn add(&mut self, pattern: &Pat, end: End) {
        let path = match pattern {
            Pat::Or(several) => return several.cases.iter().for_each(|one| self.add(one, end)),
            Pat::Guard(one) => return self.add(&one.pat, End::Depends),
            Pat::Struct(one) => &one.path,
            Pat::TupleStruct(one) => &one.path,
            Pat::Path(one) => &one.path,
            _ => return,
        };
        let names: Vec<_> = path.segments.iter().map(|one| one.ident.to_string()).collect();
        if let [of, variant] = names.as_slice() {
            let of = if of == "Self" { &self.of } else { of };
            self.found.push((format!("{of}::{variant}"), end));
        }
    }
}

impl<'ast> Visit<'ast> for Arms {
    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let end = match &*arm.body {
            Expr::Lit(syn::ExprLit { lit: Lit::Bool(yes), .. }) => self.answers.end(yes.value),
            _ if self.answers == Answers::Retryable => Some(End::Depends),
            body => kind_of(body),
        };
        if let Some(end) = end {
            self.add(&arm.pat, end);
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let pattern = call.parse_body_with(|input: syn::parse::ParseStream<'_>| {
            input.parse::<Expr>()?;
            input.parse::<syn::Token![,]>()?;
            Pat::parse_multi(input)
        });
        let is_it = call.path.is_ident("matches");
        if let (true, Ok(pattern), Some(end)) = (is_it, pattern, self.answers.end(true)) {
            self.add(&pattern, end);
        }
    }
}

/// A string literal at the beginning of tokens.
pub(super) fn literal(input: syn::parse::ParseStream<'_>) -> syn::Result<String> {
    Ok(input.parse::<LitStr>()?.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_wherever_it_is_made_with_what_is_said_of_it() {
        let found = scan(
            r#"
/// Not at the target.
///
/// # Errors
/// Remedy: not this one.
fn silent(name: &str) -> Error {
    let text = format!("table `{name}` is not there: \
                        create it");
    Error::new(ErrorKind::Configuration, text)
}
/// Gone.
///
/// Remedy: take `snapshot`,
/// a new one.
fn told(slot: &Slot) -> Error { Error::new(ErrorKind::Permanent, format!("slot {} is {{gone}}", slot.name())) }
fn no_error() -> String { format!("a long text that is never made to an error") }
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// It hangs.
    #[error("`{}` hangs for {0} s, {why}", .path.display(), why = reason())]
    Hangs { path: PathBuf },
    #[error(transparent)]
    Other(Told),
    /// It ends.
    ///
    /// Message: it `<ends>`
    ///
    /// Remedy: none.
    #[error("{}", words())]
    Ends(u8),
}
impl Problem {
    fn is_retryable(&self) -> bool { matches!(self, Self::Hangs { .. }) }
}
fn kind(problem: &Problem) -> ErrorKind {
    match problem { Problem::Ends(7) => ErrorKind::Fenced, other if true => ErrorKind::Permanent }
}
#[cfg(test)]
mod tests { fn told() { Error::new(ErrorKind::Permanent, "a test") } }
"#,
        )
        .unwrap();
        let entries: Vec<_> = found
            .entries
            .iter()
            .map(|one| {
                (one.name.as_str(), one.messages.join("|"), one.explanation.remedy.as_deref())
            })
            .collect();
        assert_eq!(
            entries,
            [
                ("silent", "table `<name>` is not there: create it".to_owned(), None),
                ("told", "slot <slot> is {gone}".to_owned(), Some("take `snapshot`, a new one.")),
                ("Problem::Hangs", "`<path>` hangs for <path> s, <why>".to_owned(), None),
                ("Problem::Ends", "it <ends>".to_owned(), Some("none.")),
            ]
        );
        assert_eq!(found.entries[0].end, Some(End::BadInput));
        assert_eq!(found.ends["Problem::Hangs"], End::Retries);
        assert_eq!(found.ends["Problem::Ends"], End::Fenced);
    }
}
