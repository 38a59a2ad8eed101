//! Decides which entries of a dump are imported.
//!
//! In: the graph, what is wanted, what the target has. Out: entries to import, in the dump's order, and
//! what is left out though somebody might expect it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use stream_core::relation::TableName;

use super::graph::Graph;
use super::target::Target;
use super::{LeftOut, SchemaError, Wanted};

/// What is imported, and what is not.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// Indexes of entries, ascending.
    pub(super) entries: BTreeSet<usize>,
    /// What the target has to do without.
    pub(super) left_out: Vec<LeftOut>,
}

/// Selects.
pub(super) fn select(
    graph: &Graph<'_>,
    wanted: &Wanted,
    target: &Target,
) -> Result<Selection, SchemaError> {
    let captured = captured(graph, wanted, target)?;
    let base = closure(graph, target, captured);
    let blocked = blocked(graph, &base);
    let free = |at: &usize| !blocked.contains_key(at);

    let mut entries: BTreeSet<usize> = if wanted.everything {
        (0..graph.entries.len()).filter(free).collect()
    } else {
        with_parts(graph, target, base, &free)
    };
    let there = already_there(graph, &entries, target);
    let mut left_out: Vec<LeftOut> = blocked
        .iter()
        .filter(|&(&at, _)| !graph.entry(at).is_some_and(|entry| target.has(entry)))
        .filter(|&(&at, _)| match graph.subject_of(at) {
            Some(subject) => entries.contains(&subject) && !there.contains(&subject),
            None => wanted.everything && stands_for_itself(graph.kind(at)),
        })
        .filter_map(|(&at, &cause)| explain(graph, at, cause))
        .collect();
    left_out.sort_by(|a, b| (&a.table, &a.kind, &a.name).cmp(&(&b.table, &b.kind, &b.name)));
    entries.retain(|at| !there.contains(at));
    leave_out_extensions(graph, target, &mut entries, &mut left_out)?;
    Ok(Selection { entries, left_out })
}

/// The captured tables' entries.
fn captured(
    graph: &Graph<'_>,
    wanted: &Wanted,
    target: &Target,
) -> Result<BTreeSet<usize>, SchemaError> {
    let tables: HashMap<TableName, usize> = (0..graph.entries.len())
        .filter(|&at| graph.kind(at) == "TABLE")
        .filter_map(|at| Some((graph.name(at)?, at)))
        .collect();
    let mut captured = BTreeSet::new();
    for table in &wanted.tables {
        match tables.get(table) {
            Some(&at) => {
                captured.insert(at);
            }
            None if target.has_relation(table) => {}
            None => return Err(SchemaError::NoTable { table: table.clone() }),
        }
    }
    Ok(captured)
}

/// The given entries and all that must exist before they can be made; what exists needs nothing.
fn closure(graph: &Graph<'_>, target: &Target, from: BTreeSet<usize>) -> BTreeSet<usize> {
    let mut found = from.clone();
    let mut pending: Vec<usize> = from.into_iter().collect();
    while let Some(at) = pending.pop() {
        if graph.entry(at).is_some_and(|entry| target.has(entry)) {
            continue;
        }
        pending.extend(graph.needs_at_birth(at).filter(|&need| found.insert(need)));
    }
    found
}

/// Entries that cannot be imported, each with the entry that is the cause: tables that are not captured,
/// what is never imported, and whatever needs one of these.
fn blocked(graph: &Graph<'_>, base: &BTreeSet<usize>) -> HashMap<usize, usize> {
    let mut needed_by: HashMap<usize, Vec<usize>> = HashMap::new();
    for at in 0..graph.entries.len() {
        for need in graph.needs_of(at) {
            needed_by.entry(need).or_default().push(at);
        }
    }
    // Without its second step a view would stay a dummy.
    for (&view, &rule) in &graph.second_step {
        needed_by.entry(rule).or_default().push(view);
    }
    let mut pending: Vec<(usize, usize)> = (0..graph.entries.len())
        .filter(|at| !base.contains(at))
        .filter(|&at| is_table(graph.kind(at)) || is_never_imported(graph.kind(at)))
        .map(|at| (at, at))
        .collect();
    let mut blocked = HashMap::new();
    while let Some((at, cause)) = pending.pop() {
        if base.contains(&at) || blocked.contains_key(&at) {
            continue;
        }
        blocked.insert(at, cause);
        pending.extend(needed_by.get(&at).into_iter().flatten().map(|&user| (user, cause)));
    }
    blocked
}

fn is_table(kind: &str) -> bool {
    matches!(kind, "TABLE" | "FOREIGN TABLE")
}

/// What concerns the database as a whole, replication, or rows. User mappings hold passwords.
fn is_never_imported(kind: &str) -> bool {
    matches!(
        kind,
        "ENCODING"
            | "STDSTRINGS"
            | "SEARCHPATH"
            | "DATABASE"
            | "DATABASE PROPERTIES"
            | "TABLE DATA"
            | "SEQUENCE SET"
            | "STATISTICS DATA"
            | "MATERIALIZED VIEW DATA"
            | "USER MAPPING"
    ) || ["PUBLICATION", "SUBSCRIPTION", "BLOB", "LARGE OBJECT"]
        .iter()
        .any(|prefix| kind.starts_with(prefix))
}

/// Adds everything that is part of the given entries, and what that needs, until nothing more comes.
fn with_parts(
    graph: &Graph<'_>,
    target: &Target,
    base: BTreeSet<usize>,
    free: &impl Fn(&usize) -> bool,
) -> BTreeSet<usize> {
    let mut parts: HashMap<usize, Vec<usize>> = HashMap::new();
    for at in (0..graph.entries.len()).filter(free) {
        if let Some(subject) = graph.subject_of(at) {
            parts.entry(subject).or_default().push(at);
        }
    }
    let mut found = base.clone();
    let mut pending: Vec<usize> = base.into_iter().collect();
    while let Some(at) = pending.pop() {
        if graph.entry(at).is_some_and(|entry| target.has(entry)) {
            continue;
        }
        let mut next: BTreeSet<usize> = parts.get(&at).into_iter().flatten().copied().collect();
        next.extend(graph.needs_at_birth(at).filter(free));
        pending.extend(next.into_iter().filter(|&at| found.insert(at)));
    }
    found
}

/// Whether an entry of this kind, if it is part of no other, would be missed at the target.
fn stands_for_itself(kind: &str) -> bool {
    kind == "USER MAPPING" || !(is_table(kind) || is_never_imported(kind) || is_note(kind))
}

/// What says something about an object and is none itself.
fn is_note(kind: &str) -> bool {
    matches!(kind, "COMMENT" | "SECURITY LABEL" | "ACL" | "DEFAULT ACL")
}

fn explain(graph: &Graph<'_>, at: usize, cause: usize) -> Option<LeftOut> {
    let entry = graph.entry(at)?;
    let secret = entry.kind == "USER MAPPING";
    let reason = if secret {
        "it may hold a password".to_owned()
    } else {
        let cause_kind = graph.kind(cause).to_lowercase();
        format!("it needs {cause_kind} `{}`, which is not imported", graph.name(cause)?)
    };
    Some(LeftOut {
        kind: entry.kind.clone(),
        table: graph.table(at).filter(|&table| table != at).and_then(|table| graph.name(table)),
        name: entry.name.clone(),
        reason,
        statement: (!secret).then(|| entry.definition.trim().to_owned()),
    })
}

/// Of the selected entries those that the target has, with all their parts.
fn already_there(graph: &Graph<'_>, entries: &BTreeSet<usize>, target: &Target) -> BTreeSet<usize> {
    let exists = |at: usize| {
        graph.with_subjects(at).any(|at| graph.entry(at).is_some_and(|entry| target.has(entry)))
    };
    let mut there: BTreeSet<usize> = entries.iter().copied().filter(|&at| exists(at)).collect();
    // A table that becomes a partition of one that is there gets the indexes of that one with it.
    for &at in entries.iter().filter(|&&at| graph.kind(at) == "INDEX ATTACH") {
        let Some(child) = graph.subject_of(at) else { continue };
        let inherited = graph
            .needs_of(at)
            .filter(|&need| need != child && matches!(graph.kind(need), "INDEX" | "CONSTRAINT"))
            .any(exists);
        if inherited {
            there.extend([at, child]);
        }
    }
    entries
        .iter()
        .copied()
        .filter(|&at| graph.with_subjects(at).any(|at| there.contains(&at)))
        .collect()
}

/// Leaves out extensions that the target's server does not offer, if nothing needs them.
fn leave_out_extensions(
    graph: &Graph<'_>,
    target: &Target,
    entries: &mut BTreeSet<usize>,
    left_out: &mut Vec<LeftOut>,
) -> Result<(), SchemaError> {
    let missing: BTreeSet<usize> = entries
        .iter()
        .copied()
        .filter(|&at| graph.kind(at) == "EXTENSION")
        .filter(|&at| graph.entry(at).is_some_and(|entry| !target.offers(&entry.name)))
        .collect();
    let mut needed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for &at in entries.iter().filter(|&&at| !is_note(graph.kind(at))) {
        let extension = graph.needs_of(at).find(|need| missing.contains(need));
        if let (Some(extension), Some(entry)) =
            (extension.and_then(|at| graph.entry(at)), graph.entry(at))
        {
            let user = format!("{} `{}`", entry.kind, entry.name);
            needed.entry(extension.name.clone()).or_default().push(user);
        }
    }
    if !needed.is_empty() {
        return Err(SchemaError::NoExtension { missing: needed });
    }
    left_out.extend(missing.iter().filter_map(|&at| graph.entry(at)).map(|entry| LeftOut {
        kind: entry.kind.clone(),
        table: None,
        name: entry.name.clone(),
        reason: "the target's server does not offer it".to_owned(),
        statement: Some(entry.definition.trim().to_owned()),
    }));
    entries.retain(|&at| !graph.with_subjects(at).any(|at| missing.contains(&at)));
    Ok(())
}
