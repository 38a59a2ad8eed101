//! Certificates that hold, and those that do not.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::fixture::{deliver, options};
use crate::server::{OK, Server};

/// An authority of this name.
pub(crate) fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// What a server needs that has a certificate of `authority` for `name`.
pub(crate) fn config(
    authority: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    is_expired: bool,
) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if is_expired {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    }
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}

async fn server(
    authority: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    is_expired: bool,
) -> Server {
    let config = config(authority, name, is_expired);
    Server::start_with(Some(TlsAcceptor::from(Arc::new(config))), |_, _| OK).await
}

/// What comes of a delivery to `localhost`.
async fn outcome(
    server: &Server,
    trusted: Option<&CertifiedIssuer<'static, KeyPair>>,
    verify_hostname: bool,
) -> Result<(), String> {
    let mut options = options(&format!("https://localhost:{}/", server.address.port()));
    options.retry_limit = Some(1);
    options.ca = trusted.map(|authority| authority.pem().into_bytes());
    options.verify_hostname = verify_hostname;
    deliver(options).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_certificate_of_the_named_authority_holds() {
    let authority = authority("ours");
    let server = server(&authority, "localhost", false).await;
    outcome(&server, Some(&authority), true).await.unwrap();
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn one_that_does_not_hold_is_told_and_nothing_is_sent() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    for (name, is_expired, trusted, reason) in [
        ("localhost", false, Some(&theirs), "UnknownIssuer"),
        ("localhost", true, Some(&ours), "certificate expired"),
        ("elsewhere.example", false, Some(&ours), "certificate not valid for name"),
    ] {
        let server = server(&ours, name, is_expired).await;
        let told = outcome(&server, trusted, true).await.unwrap_err();
        assert!(told.contains("in 2 attempts"), "{told}");
        assert!(told.contains("its certificate cannot be trusted"), "{told}");
        assert!(told.contains("`caSecret`") && told.contains(reason), "{told}");
        assert!(server.received().is_empty());
    }
}

#[tokio::test]
async fn a_wrong_name_is_passed_over_where_the_user_says_so_and_nothing_else() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let server = server(&ours, "elsewhere.example", false).await;
    outcome(&server, Some(&ours), false).await.unwrap();
    let told = outcome(&server, Some(&theirs), false).await.unwrap_err();
    assert!(told.contains("its certificate cannot be trusted"), "{told}");
}
