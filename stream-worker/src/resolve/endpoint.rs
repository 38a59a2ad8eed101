//! What an HTTP endpoint needs from Secrets and from the environment.

use stream_api::{Documents, Http, SGStream, TargetKind, names};
use stream_sinks::cloudevent::headers::{HeaderError, Headers};

use crate::args;
use crate::config::problem::Found;
use crate::config::sink::HTTP;

/// What Secrets hold for an endpoint.
pub(crate) struct EndpointSecrets {
    /// Headers with their values.
    pub(crate) headers: Headers,
    /// Certificates that may sign the endpoint's, in PEM.
    pub(crate) ca: Option<Vec<u8>>,
}

/// The headers of a stream's endpoint; `None` when it has none, or something is wrong with them.
pub(crate) fn headers(stream: &SGStream, documents: &Documents) -> Option<Headers> {
    let Ok(TargetKind::CloudEvent(http)) = stream.spec.target.kind() else { return None };
    secrets(stream, documents, http, &mut Found::default()).map(|secrets| secrets.headers)
}

/// Follows the references of `http`; `None` when something was added to `found`.
pub(super) fn secrets(
    stream: &SGStream,
    documents: &Documents,
    http: &Http,
    found: &mut Found,
) -> Option<EndpointSecrets> {
    let namespace = names::namespace(stream);
    let secret_name =
        http.headers_secret.clone().unwrap_or_else(|| format!("{}-headers", names::name(stream)));
    let secret = documents.secret(namespace, &secret_name);
    let value_of = |variable: &str| {
        let bytes = secret.and_then(|secret| secret.value(variable));
        let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok().map(str::to_owned));
        text.filter(|text| !text.is_empty()).or_else(|| args::variable(variable))
    };
    let mut headers = Headers::default();
    let mut is_well = true;
    for (name, template) in &http.headers {
        if let Err(error) = headers.add(name, template.expose(), value_of) {
            let remedy = match &error {
                HeaderError::Unset { variable, .. } => format!(
                    ": put key `{variable}` into Secret `{namespace}/{secret_name}`, or set environment variable `{variable}`"
                ),
                _ => String::new(),
            };
            found.add(format!("{HTTP}.headers.{name}"), format!("{error}{remedy}"));
            is_well = false;
        }
    }
    let ca = match &http.ca_secret {
        None => None,
        Some(reference) => {
            let path = format!("{HTTP}.caSecret");
            let pem = found.keep(documents.secret_value(namespace, reference, &path))?;
            Some(pem.expose().as_bytes().to_vec())
        }
    };
    is_well.then_some(EndpointSecrets { headers, ca })
}
