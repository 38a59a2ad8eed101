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

/// Functions that make an error of words, and the end that it means.
const MAKERS: [(&str, End); 2] = [("bad_input", End::BadInput), ("unexpected", End::Failed)];
/// Methods of an error type that say what each variant means.
const JUDGES: [&str; 3] = ["is_retryable", "into_error", "kind"];
/// A shorter text in a function that is explained is no message.
const SHORTEST_MESSAGE: usize = 30;

/// Reads a file.
pub(super) fn scan(text: &str) -> Result<Vec<Entry>> {
    let file = syn::parse_file(text).context("no Rust")?;
    let mut found = Found::default();
    found.visit_file(&file);
    for entry in &mut found.entries {
        if let Some(end) = found.ends.get(&entry.name) {
            entry.end = Some(*end);
        }
    }
    Ok(found.entries)
}

#[derive(Default)]
struct Found {
    entries: Vec<Entry>,
    /// What judges say, by the name of the variant.
    ends: HashMap<String, End>,
}

impl Found {
    /// A type that derives `Error`: a variant, or all of a struct.
    fn add(&mut self, name: String, attributes: &[Attribute], fields: &Fields) {
        let explanation = words::explanation(attributes);
        let mut message = explanation.message.clone();
        for attribute in attributes.iter().filter(|one| one.path().is_ident("error")) {
            let Ok(list) = attribute.meta.require_list() else { continue };
            if list.tokens.to_string() == "transparent" {
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
    fn function(&mut self, name: String, attributes: &[Attribute], block: &syn::Block) {
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

    /// The arms of a judge of type `of`.
    fn judge(&mut self, of: &str, function: &syn::ImplItemFn) {
        let mut arms = Arms::default();
        arms.visit_block(&function.block);
        for (variant, end) in arms.0 {
            self.ends.entry(format!("{of}::{variant}")).or_insert(end);
        }
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
            Item::Fn(item) => self.function(item.sig.ident.to_string(), &item.attrs, &item.block),
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
            let name = function.sig.ident.to_string();
            if JUDGES.contains(&name.as_str()) {
                self.judge(&of, function);
            }
            self.function(format!("{of}::{name}"), &function.attrs, &function.block);
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
        let maker = MAKERS.into_iter().find(|(name, _)| path.last() == Some(name));
        if maker.is_none() && !path.ends_with(&["Error", "new"]) {
            return;
        }
        let Some(text) = call.args.last().and_then(|text| self.text(text)) else { return };
        self.messages.push(text);
        let kind = call.args.first().and_then(kind_of);
        self.ends.push(maker.map(|(_, end)| end).or(kind).unwrap_or(End::Depends));
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
        Expr::Lit(literal) => match &literal.lit {
            Lit::Bool(value) => value.value.then_some(End::Retries),
            _ => None,
        },
        Expr::Block(block) => match block.block.stmts.as_slice() {
            [syn::Stmt::Expr(only, None)] => kind_of(only),
            _ => None,
        },
        _ => None,
    }
}

/// What the arms of a `match` or a `matches!` say of each variant.
#[derive(Default)]
struct Arms(Vec<(String, End)>);

impl Arms {
    fn add(&mut self, pattern: &Pat, end: End) {
        let path = match pattern {
            Pat::Or(several) => return several.cases.iter().for_each(|one| self.add(one, end)),
            Pat::Struct(one) => &one.path,
            Pat::TupleStruct(one) => &one.path,
            Pat::Path(one) => &one.path,
            _ => return,
        };
        if let (Some(first), Some(last)) = (path.segments.first(), path.segments.last())
            && first.ident == "Self"
        {
            self.0.push((last.ident.to_string(), end));
        }
    }
}

impl<'ast> Visit<'ast> for Arms {
    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let never = matches!(&*arm.body, Expr::Lit(one) if matches!(&one.lit, Lit::Bool(no) if !no.value));
        if !never {
            self.add(&arm.pat, kind_of(&arm.body).unwrap_or(End::Depends));
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let pattern = call.parse_body_with(|input: syn::parse::ParseStream<'_>| {
            input.parse::<Expr>()?;
            input.parse::<syn::Token![,]>()?;
            Pat::parse_multi(input)
        });
        if let (true, Ok(pattern)) = (call.path.is_ident("matches"), pattern) {
            self.add(&pattern, End::Retries);
        }
    }
}

/// A string literal at the beginning of tokens.
pub(super) fn literal(input: syn::parse::ParseStream<'_>) -> syn::Result<String> {
    Ok(input.parse::<LitStr>()?.value())
}
