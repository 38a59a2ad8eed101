//! The rules that concern several fields of a stream, or the text of one: the same, with the same messages, as in the resource's definition.

use crate::connection::SecretKeyRef;
use crate::names;
use crate::problem::Problem;
use crate::properties::SnapshotMode;
use crate::source::Source;
use crate::stream::SGStream;
use crate::target::{Target, TargetKind};

/// Longest name of a stream.
const MAX_NAME_BYTES: usize = 56;

impl SGStream {
    /// Every broken rule. Empty: the stream can be started.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !is_name(names::name(self)) {
            problems.push(Problem::at(
                "metadata.name",
                "must be at most 56 lower-case letters, digits and `-`, start with a letter and not end with `-`",
            ));
        }
        source(&self.spec.source, &mut problems);
        target(&self.spec.target, &mut problems);
        if self.spec.max_retries < -1 {
            problems.push(Problem::at("spec.maxRetries", "must be greater or equal to -1"));
        }
        problems
    }
}

fn source(source: &Source, problems: &mut Vec<Problem>) {
    let capture = match source.kind() {
        Ok(kind) => kind.capture(),
        Err(problem) => return problems.push(problem),
    };
    credentials(capture.path, capture.username, capture.password, problems);
    if capture.properties.slot_name.as_deref().is_some_and(|name| !is_slot_name(name)) {
        problems.push(Problem::at(
            format!("{}.debeziumProperties.slotName", capture.path),
            "must be 1 to 63 lower-case letters, digits and `_`",
        ));
    }
    if capture.properties.snapshot_mode == SnapshotMode::Custom {
        problems.push(Problem::at(
            format!("{}.debeziumProperties.snapshotMode", capture.path),
            "`custom` needs a Java class, which cannot run here: choose another mode",
        ));
    }
}

fn target(target: &Target, problems: &mut Vec<Problem>) {
    match target.kind() {
        Ok(TargetKind::SGCluster(block)) => {
            let (username, password) = (block.username.as_ref(), block.password.as_ref());
            credentials("spec.target.sgCluster", username, password, problems);
        }
        Ok(TargetKind::CloudEvent(http)) => {
            url("spec.target.cloudEvent.http.url", &http.url, problems);
        }
        Ok(TargetKind::PgLambda(block)) => {
            problems.extend(block.code().err());
            if let Some(address) = block.knative.http.as_ref().and_then(|http| http.url.as_ref()) {
                url("spec.target.pgLambda.knative.http.url", address, problems);
            }
        }
        Err(problem) => problems.push(problem),
    }
}

fn credentials(
    block: &str,
    username: Option<&SecretKeyRef>,
    password: Option<&SecretKeyRef>,
    problems: &mut Vec<Problem>,
) {
    let missing = match (username, password) {
        (Some(_), None) => "password",
        (None, Some(_)) => "username",
        (Some(_), Some(_)) | (None, None) => return,
    };
    problems.push(Problem::at(
        format!("{block}.{missing}"),
        "username and password must be set together (or both omitted)",
    ));
}

fn url(path: &str, url: &str, problems: &mut Vec<Problem>) {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let has_host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':', '?']));
    if !has_host || url.contains(char::is_whitespace) {
        problems
            .push(Problem::at(path, "url must be an absolute http:// or https:// URL with a host"));
    }
}

/// Whether `^[a-z]([-a-z0-9]*[a-z0-9])?$` matches.
fn is_name(name: &str) -> bool {
    let is_letter = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '-');
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(is_letter)
}

/// Whether PostgreSQL [allows](https://www.postgresql.org/docs/current/warm-standby.html#STREAMING-REPLICATION-SLOTS) the name for a slot.
fn is_slot_name(name: &str) -> bool {
    let is_letter = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '_');
    (1..=names::MAX_NAME_BYTES).contains(&name.len()) && name.chars().all(is_letter)
}
