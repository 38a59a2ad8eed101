//! Checks what the compiler does not.

mod edges;
mod files;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::mutants;
use crate::workspace::Workspace;

/// One thing to put right.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    /// The file, from the top of the repository.
    path: PathBuf,
    /// The line, from 1; 0 for the file as a whole.
    line: usize,
    /// What is wrong and what to do.
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.message)
    }
}

/// A Rust file of the workspace.
struct Source {
    /// From the top of the repository.
    path: PathBuf,
    text: String,
}

impl Source {
    /// The numbered lines before the tests, which come last in a file.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = |line: &str| line.starts_with("#[cfg(test)]");
        self.text.lines().zip(1..).take_while(move |(line, _)| !tests(line)).map(|(l, n)| (n, l))
    }

    fn problem(&self, line: usize, message: String) -> Problem {
        Problem { path: self.path.clone(), line, message }
    }
}

/// Prints every problem.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let mut sources = Vec::new();
    for package in &workspace.packages {
        collect(&workspace.root, &package.directory, &mut sources)?;
    }
    let roots: Vec<_> = workspace
        .packages
        .iter()
        .flat_map(|package| &package.roots)
        .filter_map(|root| root.strip_prefix(&workspace.root).ok())
        .collect();
    let mut problems = edges::crates(&workspace.packages);
    problems.extend(edges::words(&sources));
    problems.extend(edges::modules(&sources));
    problems.extend(files::orphans(&sources, &roots));
    problems.extend(sources.iter().flat_map(files::size));
    problems.extend(sources.iter().flat_map(files::escapes));
    let mutants = mutants::problems(workspace)?;
    problems.extend(mutants.into_iter().map(|(path, message)| Problem { path, line: 0, message }));
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() {
        println!("{} files are tidy", sources.len());
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("error: {} problems", problems.len());
    Ok(ExitCode::FAILURE)
}

/// Reads all Rust files below `directory`, in the order of their names.
fn collect(root: &Path, directory: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let context = || format!("`{}`", directory.display());
    let entries = fs::read_dir(directory).with_context(context)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(context)?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(root, &path, sources)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("`{}`", path.display()))?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
            sources.push(Source { path, text });
        }
    }
    Ok(())
}

#[cfg(test)]
fn source(path: &str, text: &str) -> Source {
    Source { path: path.into(), text: text.to_owned() }
}
