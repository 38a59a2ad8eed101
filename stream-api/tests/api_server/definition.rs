//! The definition of the resource, as users install it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::manifests::{By, mistakes};

/// Its text.
pub(crate) const DEFINITION: &str = include_str!("../../../deploy/crds/sgstreams.yaml");

/// The rules within `schema`, each with the path of the field that it is about.
fn rules(schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let below = rule["fieldPath"].as_str().unwrap_or_default();
        found.push((format!("{path}{below}"), rule.clone()));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if path.is_empty() { "" } else { "." };
        rules(field, &format!("{path}{dot}{name}"), found);
    }
}

#[test]
fn every_rule_of_the_definition_is_broken_by_one_of_the_mistakes() {
    let definition: Value = serde_saphyr::from_str(DEFINITION).unwrap();
    let mut found = Vec::new();
    rules(&definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "", &mut found);
    assert!(found.len() > 30, "{}", found.len());
    let broken: BTreeSet<_> = mistakes()
        .into_iter()
        .filter(|mistake| mistake.by == By::Rule)
        .map(|mistake| mistake.message)
        .collect();
    let mut messages = BTreeSet::new();
    for (path, rule) in found {
        let message = rule["message"].as_str().unwrap().to_owned();
        // A rule about changes is broken by a change.
        let is_about_changes = rule["rule"].as_str().unwrap().contains("oldSelf");
        assert!(is_about_changes || broken.contains(&message), "{path}: {message}");
        messages.insert(message);
    }
    let unknown: Vec<_> = broken.difference(&messages).collect();
    assert!(unknown.is_empty(), "no rule says {unknown:?}");
}
