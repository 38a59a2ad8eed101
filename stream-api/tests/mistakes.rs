//! Mistakes, and exactly what is said about each.

use stream_api::{ConfigMapKeyRef, SecretKeyRef, load};

const STREAM: &str = "\
apiVersion: stackgres.io/v1alpha1
kind: SGStream
metadata:
  name: orders
spec:
  source:
    type: Postgres
    postgres:
      host: db
      port: 5432
      username: {name: s, key: u}
      password: {name: s, key: p}
      debeziumProperties:
        snapshotMode: initial
  target:
    type: CloudEvent
    cloudEvent:
      http:
        url: http://e
        retryLimit: 5
  pods:
    persistentVolume:
      size: 1Gi
";

/// The target of the stream.
const CLOUD_EVENT: &str = "    type: CloudEvent
    cloudEvent:
      http:
        url: http://e
        retryLimit: 5
";

fn told(files: &[(&str, &str)]) -> String {
    let files: Vec<_> =
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    match load(&files) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

/// Replaces `from` in a good stream by `to`, and compares what is said.
fn check(from: &str, to: &str, expected: &str) {
    assert!(STREAM.contains(from), "{from}");
    assert_eq!(told(&[("s.yaml", &STREAM.replacen(from, to, 1))]), expected, "{to}");
}

#[test]
fn the_stream_itself_is_good() {
    assert_eq!(told(&[("s.yaml", STREAM)]), "");
}

#[test]
fn a_field_that_is_not_known_names_its_neighbour() {
    for (from, to, expected) in [
        (
            "      host: db\n",
            "      host: db\n      databse: x\n",
            "s.yaml:10: spec.source.postgres.databse: unknown field `databse`, did you mean `database`?",
        ),
        (
            "  pods:\n",
            "  maxretries: 1\n  pods:\n",
            "s.yaml:21: spec.maxretries: unknown field `maxretries`, did you mean `maxRetries`?",
        ),
        (
            "snapshotMode: initial",
            "snapshotmode: initial",
            "s.yaml:14: spec.source.postgres.debeziumProperties.snapshotmode: unknown field `snapshotmode`, did you mean `snapshotMode`?",
        ),
        (
            "  name: orders",
            "  name: orders\n  namspace: x",
            "s.yaml:5: metadata.namspace: unknown field `namspace`, did you mean `namespace`?",
        ),
        (
            "      size: 1Gi\n",
            "      size: 1Gi\n      weight: 1\n",
            "s.yaml:24: spec.pods.persistentVolume.weight: unknown field `weight`, expected one of `size`, `storageClass`",
        ),
        (
            "      size: 1Gi\n",
            "      size: 1Gi\n    scheduling: {tolerations: [{key: a, vlaue: b}]}\n",
            "s.yaml:24: spec.pods.scheduling.tolerations[0].vlaue: unknown field `vlaue`, did you mean `value`?",
        ),
        (
            "kind: SGStream\n",
            "kind: SGStream\nextra: 1\n",
            "s.yaml:3: extra: unknown field `extra`, expected one of `metadata`, `spec`, `status`",
        ),
    ] {
        check(from, to, expected);
    }
}

#[test]
fn a_wrong_type_names_what_is_expected_and_what_is_there() {
    for (from, to, expected) in [
        (
            "port: 5432",
            "port: '5432'",
            "s.yaml:10: spec.source.postgres.port: expected an integer, found a string: remove the quotes",
        ),
        (
            "port: 5432",
            "port: 70000",
            "s.yaml:10: spec.source.postgres.port: expected an integer from 0 to 65535, found `70000`",
        ),
        (
            "host: db",
            "host: 10",
            "s.yaml:9: spec.source.postgres.host: expected a string, found an integer: put it in quotes",
        ),
        (
            "host: db",
            "host: yes",
            "s.yaml:9: spec.source.postgres.host: expected a string, found a boolean: put it in quotes",
        ),
        (
            "host: db",
            "host: db\n      includes: public.a",
            "s.yaml:10: spec.source.postgres.includes: expected a list, found a string",
        ),
        (
            "host: db",
            "host: db\n      includes: [a, 5]",
            "s.yaml:10: spec.source.postgres.includes[1]: expected a string, found an integer: put it in quotes",
        ),
        (
            "{name: s, key: p}",
            "hunter2",
            "s.yaml:12: spec.source.postgres.password: expected an object with `name`, `key`, found a string",
        ),
        (
            "  pods:\n",
            "  paused: 'true'\n  pods:\n",
            "s.yaml:21: spec.paused: expected a boolean, found a string: remove the quotes",
        ),
        (
            "snapshotMode: initial",
            "maxBatchSize: many",
            "s.yaml:14: spec.source.postgres.debeziumProperties.maxBatchSize: expected an integer, found a string",
        ),
        (
            "snapshotMode: initial",
            "columnMaskHash: {SHA-256: [a]}",
            "s.yaml:14: spec.source.postgres.debeziumProperties.columnMaskHash.SHA-256: expected an object, found a list",
        ),
        (
            "retryLimit: 5",
            "retryLimit: -1",
            "s.yaml:20: spec.target.cloudEvent.http.retryLimit: expected an integer from 0 to 4294967295, found `-1`",
        ),
        (
            "retryLimit: 5",
            "headers: {Authorization: 12345}",
            "s.yaml:20: spec.target.cloudEvent.http.headers.Authorization: expected a string, found an integer: put it in quotes",
        ),
    ] {
        check(from, to, expected);
    }
}

#[test]
fn a_wrong_value_names_the_right_ones() {
    for (from, to, expected) in [
        (
            "snapshotMode: initial",
            "slotName: My-Slot",
            "s.yaml:14: spec.source.postgres.debeziumProperties.slotName: slotName must be 1 to 63 lower-case letters, digits and `_`",
        ),
        (
            "snapshotMode: initial",
            "snapshotMaxThreads: 0",
            "s.yaml:14: spec.source.postgres.debeziumProperties.snapshotMaxThreads: expected a nonzero u32, found `0`",
        ),
        (
            "snapshotMode: initial",
            "snapshotMode: initail",
            "s.yaml:14: spec.source.postgres.debeziumProperties.snapshotMode: unknown value `initail`, did you mean `initial`?",
        ),
        (
            "snapshotMode: initial",
            "skippedOperations: [t, x]",
            "s.yaml:14: spec.source.postgres.debeziumProperties.skippedOperations[1]: unknown value `x`, expected one of `c`, `u`, `d`, `t`, `none`",
        ),
        (
            "snapshotMode: initial",
            "snapshotMode: custom",
            "s.yaml:14: spec.source.postgres.debeziumProperties.snapshotMode: snapshotMode `custom` needs a Java class, which cannot run here: choose another mode",
        ),
        (
            "retryLimit: 5",
            "connectTimeout: 5 seconds",
            "s.yaml:20: spec.target.cloudEvent.http.connectTimeout: expected a duration such as `5s`, `500ms`, `1m30s` or `PT5S`, or `0` for no limit",
        ),
        (
            "retryLimit: 5",
            "readTimeout: 5",
            "s.yaml:20: spec.target.cloudEvent.http.readTimeout: expected a duration such as `5s`, `500ms`, `1m30s` or `PT5S`, or `0` for no limit",
        ),
        (
            "retryLimit: 5",
            "readTimeout: [5]",
            "s.yaml:20: spec.target.cloudEvent.http.readTimeout: expected a duration such as `5s`, `500ms`, `1m30s` or `PT5S`, or `0` for no limit, found a list",
        ),
        (
            "url: http://e",
            "url: e",
            "s.yaml:19: spec.target.cloudEvent.http.url: url must be an absolute http:// or https:// URL with a host",
        ),
        (
            "  name: orders",
            "  name: My_Orders",
            "s.yaml:4: metadata.name: metadata.name must be at most 56 lower-case letters, digits and -, start with a letter and not end with -",
        ),
        (
            "  pods:\n",
            "  maxRetries: -2\n  pods:\n",
            "s.yaml:21: spec.maxRetries: maxRetries must be greater or equal to -1",
        ),
        (
            "  pods:\n",
            "  reclaimPolicy: Keep\n  pods:\n",
            "s.yaml:21: spec.reclaimPolicy: unknown value `Keep`, expected one of `Retain`, `Delete`",
        ),
    ] {
        check(from, to, expected);
    }
}

#[test]
fn what_is_missing_is_named_once() {
    for (from, to, expected) in [
        ("      host: db\n", "", "s.yaml:8: spec.source.postgres.host: required field is missing"),
        ("host: db", "host:", "s.yaml:9: spec.source.postgres.host: required field is missing"),
        (
            "    type: Postgres\n",
            "    type: SGCluster\n",
            "s.yaml:6: spec.source.sgCluster: source.sgCluster is required when source.type is SGCluster",
        ),
        (
            "    type: Postgres\n",
            "    type: Oracle\n",
            "s.yaml:7: spec.source.type: unknown value `Oracle`, expected one of `SGCluster`, `Postgres`",
        ),
        (
            "    type: CloudEvent\n",
            "    type: Kafka\n",
            "s.yaml:16: spec.target.type: unknown value `Kafka`, expected one of `SGCluster`, `CloudEvent`, `PgLambda`",
        ),
        (
            "      http:\n        url: http://e\n        retryLimit: 5\n",
            "      format: json\n",
            "s.yaml:17: spec.target.cloudEvent.http: target.cloudEvent.http is required when target.type is CloudEvent",
        ),
        (
            "      password: {name: s, key: p}\n",
            "",
            "s.yaml:8: spec.source.postgres.password: username and password must be set together (or both omitted)",
        ),
        (
            CLOUD_EVENT,
            "    type: PgLambda\n    pgLambda: {}\n",
            "s.yaml:17: spec.target.pgLambda.script: exactly one of script or scriptFrom must be set",
        ),
        (
            CLOUD_EVENT,
            "    type: PgLambda\n    pgLambda: {scriptFrom: {}}\n",
            "s.yaml:17: spec.target.pgLambda.scriptFrom.secretKeyRef: exactly one of secretKeyRef or configMapKeyRef must be set",
        ),
        // The block is there under a wrong name: told as that only.
        (
            "    postgres:\n",
            "    postgress:\n",
            "s.yaml:8: spec.source.postgress: unknown field `postgress`, did you mean `postgres`?",
        ),
        // The block is there and wrong: not told as missing, too.
        (
            "      host: db\n",
            "      host: [db]\n",
            "s.yaml:9: spec.source.postgres.host: expected a string, found a list",
        ),
    ] {
        check(from, to, expected);
    }
}

#[test]
fn all_that_is_missing_is_named() {
    let head = "apiVersion: stackgres.io/v1alpha1\nkind: SGStream\nmetadata: {name: orders}\n";
    assert_eq!(
        told(&[("s.yaml", &format!("{head}spec: {{maxRetries: -2}}\n"))]),
        "s.yaml:4: spec.source: required field is missing\n\
         s.yaml:4: spec.pods: required field is missing\n\
         s.yaml:4: spec.target: required field is missing\n\
         s.yaml:4: spec.maxRetries: maxRetries must be greater or equal to -1"
    );
    // Types of Kubernetes' own are read as if nothing was required.
    check(
        "      size: 1Gi\n",
        "      size: 1Gi\n    scheduling: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a}]}]}}}\n",
        "s.yaml:24: spec.pods.scheduling.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator: required field is missing",
    );
}

#[test]
fn a_key_that_begins_as_another_one_is_told_once_and_hides_nothing() {
    check(
        "  pods:\n",
        "  metadata:\n    labels:\n      pods:\n        app: x\n        app.example.com/name: 5\n    lables: {}\n  pods:\n",
        "s.yaml:25: spec.metadata.labels.pods.app.example.com/name: expected a string, found an integer: put it in quotes\n\
         s.yaml:26: spec.metadata.lables: unknown field `lables`, did you mean `labels`?",
    );
}

#[test]
fn the_head_of_a_document_is_checked() {
    for (from, to, expected) in [
        (
            "stackgres.io/v1alpha1",
            "stackgres.io/v1",
            "s.yaml:1: apiVersion: `stackgres.io/v1` is not the version of `SGStream` that is read: write `stackgres.io/v1alpha1`",
        ),
        (
            "apiVersion: stackgres.io/v1alpha1\n",
            "",
            "s.yaml:1: apiVersion: required field is missing: write `stackgres.io/v1alpha1`",
        ),
        (
            "kind: SGStream",
            "kind: SgStreams",
            "s.yaml:2: kind: `SgStreams` is not read here: did you mean `SGStream`?",
        ),
        (
            "kind: SGStream",
            "kind: Deployment",
            "s.yaml:2: kind: `Deployment` is not read here: remove the document; kinds that are read are `SGStream`, `SGCluster`, `Secret`, `ConfigMap`",
        ),
        (
            "kind: SGStream\n",
            "",
            "s.yaml:1: kind: required field is missing: write one of `SGStream`, `SGCluster`, `Secret`, `ConfigMap`",
        ),
    ] {
        check(from, to, expected);
    }
    assert_eq!(
        told(&[("s.yaml", "- a\n")]),
        "s.yaml:1: expected an object with `apiVersion`, `kind`, found a list"
    );
}

#[test]
fn yaml_itself_may_be_wrong() {
    check(
        "      port: 5432\n",
        "      host: other\n",
        "s.yaml:10: not valid YAML: `host` is given twice: keep one",
    );
    check(
        "    postgres:\n",
        "    postgres: {\n",
        "s.yaml:10: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'",
    );
}

#[test]
fn other_kinds_are_checked_and_never_quoted() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
    assert_eq!(
        told(&[("s.yaml", &format!("{secret}data:\n  p: hunter2!\n"))]),
        "s.yaml:5: data.p: not base64: encode the value, or write it as it is under `stringData`"
    );
    assert_eq!(
        told(&[("s.yaml", &format!("{secret}stringData:\n  p: 12345\n"))]),
        "s.yaml:5: stringData.p: expected a string, found an integer: put it in quotes"
    );
    assert_eq!(
        told(&[(
            "c.yaml",
            "apiVersion: stackgres.io/v1\nkind: SGCluster\nmetadata: {name: c}\nspec:\n  postgres:\n    version: 16\n"
        )]),
        "c.yaml:6: spec.postgres.version: expected a string, found an integer: put it in quotes"
    );
}

#[test]
fn all_problems_of_all_files_come_at_once_in_order() {
    let stream = STREAM
        .replace("host: db", "hots: db")
        .replace("port: 5432", "port: x")
        .replace("retryLimit: 5", "retrylimit: 5")
        .replace("snapshotMode: initial", "snapshotMode: custom");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {nam: s}\n";
    let broken = "a: [\n";
    assert_eq!(
        told(&[("s.yaml", &format!("{stream}---\n{secret}")), ("b.yaml", broken)]),
        "\
s.yaml:8: spec.source.postgres.host: required field is missing
s.yaml:9: spec.source.postgres.hots: unknown field `hots`, did you mean `host`?
s.yaml:10: spec.source.postgres.port: expected an integer, found a string
s.yaml:14: spec.source.postgres.debeziumProperties.snapshotMode: snapshotMode `custom` needs a Java class, which cannot run here: choose another mode
s.yaml:20: spec.target.cloudEvent.http.retrylimit: unknown field `retrylimit`, did you mean `retryLimit`?
s.yaml:27: metadata.nam: unknown field `nam`, did you mean `name`?
s.yaml:27: metadata.name: required field is missing
b.yaml:1: not valid YAML: unclosed bracket '['"
    );
}

#[test]
fn a_required_field_that_is_wrong_or_empty_hides_nothing_after_it() {
    for (host, said) in
        [("host: [db]", "expected a string, found a list"), ("host:", "required field is missing")]
    {
        let stream = STREAM.replace("host: db", host).replace("retryLimit", "retrylimit");
        assert_eq!(
            told(&[("s.yaml", &stream)]),
            format!(
                "s.yaml:9: spec.source.postgres.host: {said}\n\
                 s.yaml:20: spec.target.cloudEvent.http.retrylimit: unknown field `retrylimit`, did you mean `retryLimit`?"
            )
        );
    }
}

#[test]
fn two_documents_of_one_name_are_refused() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n";
    let default = secret.replace("  name: s", "  name: s\n  namespace: default");
    let other = secret.replace("  name: s", "  name: s\n  namespace: other");
    assert_eq!(
        told(&[("a.yaml", secret), ("b.yaml", &format!("{other}---\n{default}"))]),
        "b.yaml:10: metadata.name: Secret `default/s` is already at a.yaml:4: rename or remove one"
    );
}

#[test]
fn a_reference_that_leads_nowhere_says_where_it_could_lead() {
    let files = [(
        "s.yaml".to_owned(),
        "apiVersion: v1\nkind: Secret\nmetadata: {name: creds}\ndata: {bin: /w==}\nstringData: {password: x, username: u}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: void}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: scripts}\ndata: {a.js: x}\n"
            .to_owned(),
    )];
    let documents = load(&files).unwrap();
    for (name, key, expected) in [
        (
            "cred",
            "password",
            "p: Secret `default/cred` is in none of the files: did you mean `creds`?",
        ),
        (
            "other",
            "password",
            "p: Secret `default/other` is in none of the files: add a document of kind Secret with this name to the files",
        ),
        (
            "creds",
            "pasword",
            "p: Secret `default/creds` has no key `pasword`; its keys are `bin`, `password`, `username`: add `pasword`, or correct the reference",
        ),
        (
            "void",
            "password",
            "p: Secret `default/void` has no key `password`; it has no keys at all: add `password`",
        ),
        (
            "creds",
            "bin",
            "p: key `bin` of Secret `default/creds` is not UTF-8 text: write a text there",
        ),
    ] {
        let reference = SecretKeyRef { name: name.to_owned(), key: key.to_owned() };
        let problem = documents.secret_value("default", &reference, "p").unwrap_err();
        assert_eq!(problem.to_string(), expected);
    }
    let reference = ConfigMapKeyRef { name: "scripts".to_owned(), key: "b.js".to_owned() };
    assert_eq!(
        documents.config_map_value("default", &reference, "p").unwrap_err().to_string(),
        "p: ConfigMap `default/scripts` has no key `b.js`; its keys are `a.js`: add `b.js`, or correct the reference"
    );
}
