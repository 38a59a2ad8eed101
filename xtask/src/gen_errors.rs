//! Writes the page of all errors, from the places where they are made: `docs/reference/errors.md`.
//!
//! An error is explained by its own documentation comment: the cause, and a paragraph that begins with `Remedy: `. One that
//! is not fails the check.

mod scan;
mod words;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::gen_crds::write;
use crate::workspace::Workspace;
use scan::{End, Entry};

/// Where the page is.
const PAGE: &str = "docs/reference/errors.md";

const HEAD: &str = "\
# Errors

<!-- Written by `cargo xtask gen-errors` from the comments of the errors themselves. -->

What `stream-worker` prints when a stream cannot go on, why, and what to do. `<…>` stands for a value. Messages can have words before
them, such as `source:` or `target:`, that say at which end it happened. Of a row they have its key; other values, parameters and passwords are in none of them.

What becomes of the worker follows from the error, and is said at each:

| worker | exit code | |
|---|---|---|
| tries again | | It starts again from its saved position after 0.5 s, and waits longer each time, at most 60 s. After `maxRetries` of them that did not help, it ends with code 1. |
| looks again | | Nothing failed: tables changed, and it starts again at once to see them as they are. |
| ends with 1 | 1 | It stays as it is until somebody acts. Nothing is lost: the slot keeps the log, and uses disk space at the source meanwhile. |
| ends with 2 | 2 | Configuration, rights or environment are wrong: no retry can help. |
| ends with 3 | 3 | Another worker owns the stream. |

The other codes are no errors: 0 done or interrupted, 143 told to stop.
";

/// Where errors come up: the heading, and the files, each with what its errors mean unless they say so themselves. The first that fits counts.
const SECTIONS: [(&str, &[(&str, End)]); 8] = [
    (
        "Reaching a server",
        &[
            ("stream-core/src/postgres/connect", End::BadInput),
            ("stream-core/src/postgres/options", End::BadInput),
            ("stream-core/src/postgres/tls", End::BadInput),
            ("stream-core/src/postgres/error", End::Failed),
            ("stream-core/src/postgres/query", End::Depends),
        ],
    ),
    (
        "Position file",
        &[("stream-core/src/file_store", End::BadInput), ("stream-core/src/lsn", End::Failed)],
    ),
    (
        "Source: what a stream needs there",
        &[("stream-core/src/filter", End::BadInput), ("stream-core/src/postgres", End::BadInput)],
    ),
    ("Source: the log", &[("stream-core/src", End::Failed)]),
    (
        "PostgreSQL target: import of the schema",
        &[
            ("stream-sinks/src/postgres/schema", End::Failed),
            ("stream-sinks/src/postgres/import", End::Failed),
        ],
    ),
    ("PostgreSQL target", &[("stream-sinks/src/postgres", End::BadInput)]),
    ("HTTP endpoint and events", &[("stream-sinks/src", End::BadInput)]),
    ("Worker and throw-away servers", &[("stream-worker/src", End::BadInput)]),
];

/// Parts whose errors no operator meets.
const UNSEEN: [&str; 4] = [
    "stream-core/src/testing",
    "stream-core/src/throwaway/testing",
    "stream-sinks/src/testing",
    "stream-core/src/failpoint",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing, and fail where the page differs.
    #[arg(long)]
    check: bool,
}

impl Args {
    /// `--check`.
    pub(crate) fn check() -> Self {
        Self { check: true }
    }
}

/// Writes the page, or compares it.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let (page, unexplained) = page(&workspace.root)?;
    for problem in &unexplained {
        println!("{problem}");
    }
    let path = workspace.root.join(PAGE);
    let same = fs::read_to_string(&path).unwrap_or_default() == page;
    if !args.check {
        write(&path, &page)?;
        println!("{PAGE}: {} bytes", page.len());
    } else if !same {
        println!("{PAGE}: differs from the errors: run `cargo xtask gen-errors`");
    }
    let good = unexplained.is_empty() && (same || !args.check);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The page, and the errors that are not explained.
fn page(root: &Path) -> Result<(String, Vec<String>)> {
    let mut sections: [String; SECTIONS.len()] = Default::default();
    let (mut unexplained, mut all, mut ends) = (Vec::new(), Vec::new(), HashMap::new());
    for member in ["stream-core", "stream-sinks", "stream-worker"] {
        let mut files = Vec::new();
        collect(&root.join(member).join("src"), &mut files)?;
        for file in files {
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            let Some((section, end)) = section(&name) else { continue };
            let text = fs::read_to_string(&file).with_context(|| name.clone())?;
            let found = scan::scan(&text).with_context(|| name.clone())?;
            unexplained.extend(found.entries.iter().filter_map(|entry| lacks(&name, entry)));
            all.extend(found.entries.into_iter().map(|entry| (section, end, entry)));
            ends.extend(found.ends);
        }
    }
    for (section, of_file, entry) in all {
        let end = entry.end.or_else(|| ends.get(&entry.name).copied()).unwrap_or(of_file);
        sections[section].push_str(&shown(&entry, end));
    }
    let mut page = HEAD.to_owned();
    for ((heading, _), text) in SECTIONS.iter().zip(&sections) {
        let _ = write!(page, "\n## {heading}\n{text}");
    }
    Ok((page, unexplained))
}

/// All Rust files of a directory, in the order of their names.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut paths = entries.map(|one| Ok(one?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The section of a file, and what its errors mean unless they say so themselves.
fn section(file: &str) -> Option<(usize, End)> {
    if UNSEEN.iter().any(|part| file.starts_with(part)) {
        return None;
    }
    if file.starts_with("stream-core/src/throwaway") {
        return Some((SECTIONS.len() - 1, End::Failed));
    }
    SECTIONS.iter().enumerate().find_map(|(at, (_, files))| {
        let (_, end) = files.iter().find(|(prefix, _)| file.starts_with(prefix))?;
        Some((at, *end))
    })
}

/// What an error lacks, for whoever wrote it.
fn lacks(file: &str, entry: &Entry) -> Option<String> {
    let Entry { name, messages, explanation, .. } = entry;
    let lack = if messages.is_empty() {
        "no message: add a paragraph `Message: ` to its comment"
    } else if explanation.remedy.is_none() {
        "no remedy: add a paragraph `Remedy: ` to its comment, or give the error a function of its own for that"
    } else if explanation.cause.is_none() {
        "no cause: say it in its comment"
    } else {
        return None;
    };
    Some(format!("{file}: `{name}` has {lack}"))
}

/// An error as the page shows it.
fn shown(entry: &Entry, end: End) -> String {
    let mut text = String::new();
    let mut messages = entry.messages.clone();
    messages.dedup();
    let _ = writeln!(text, "\n```text\n{}\n```\n", messages.join("\n"));
    let words::Explanation { cause, remedy, .. } = &entry.explanation;
    let _ = writeln!(text, "- Cause: {}", cause.as_deref().unwrap_or("?"));
    let _ = writeln!(text, "- Remedy: {}", remedy.as_deref().unwrap_or("?"));
    let worker = match end {
        End::Retries => "tries again.",
        End::StartsAgain => "looks again.",
        End::Failed => "ends with 1.",
        End::BadInput => "ends with 2.",
        End::Fenced => "ends with 3.",
        End::GoesOn => "goes on: it is a warning.",
        End::Depends => {
            "tries again where it may pass by itself (a lost connection, a server that stops or is full, a lock); else it ends with 1 or 2."
        }
    };
    let _ = writeln!(text, "- Worker: {worker}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_explained_and_the_page_has_it() {
        let workspace = Workspace::load().unwrap();
        let (page, unexplained) = page(&workspace.root).unwrap();
        assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
        let written = fs::read_to_string(workspace.root.join(PAGE)).unwrap();
        assert!(written == page, "`{PAGE}` differs: run `cargo xtask gen-errors`");
    }

    #[test]
    fn an_error_without_a_remedy_is_named() {
        let text = "/// It is gone.\nfn gone() -> Error { Error::new(ErrorKind::Permanent, \"it is gone\") }";
        let found = scan::scan(text).unwrap();
        let lack = lacks("a.rs", &found.entries[0]).unwrap();
        assert!(lack.starts_with("a.rs: `gone` has no remedy"), "{lack}");
        let found = scan::scan(&text.replace("gone.", "gone.\n///\n/// Remedy: none.")).unwrap();
        assert_eq!(lacks("a.rs", &found.entries[0]), None);
    }

    #[test]
    fn every_file_with_an_error_has_a_section() {
        for file in ["stream-core/src/pipeline.rs", "stream-sinks/src/envelope/codec.rs"] {
            assert!(section(file).is_some(), "{file}");
        }
        assert_eq!(section("stream-core/src/testing/book.rs"), None);
    }
}
