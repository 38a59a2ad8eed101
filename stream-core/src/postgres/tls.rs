//! TLS for PostgreSQL: what is verified, and what binds a login to the encrypted connection.
//!
//! In: [`SslMode`] and root certificates. Out: a rustls configuration that needs no global crypto
//! provider, and the `tls-server-end-point` data of a certificate. Does no I/O but reading the
//! operating system's certificates.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, crypto::ring,
};
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::options::{RootCert, SslMode};

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file holds no certificate that can be used.
    ///
    /// Remedy: name a file with PEM certificates (`-----BEGIN CERTIFICATE-----`).
    #[error("`{}` holds no usable PEM certificate: check `sslrootcert`", .0.display())]
    RootCert(PathBuf),
    /// The operating system has no certificates to verify the server with.
    ///
    /// Remedy: install `ca-certificates`, or name a file with `sslrootcert`.
    #[error("this machine has no root certificates: name a file with `sslrootcert`")]
    NoSystemCerts,
    /// The crypto provider and the protocol versions do not fit together.
    ///
    /// Remedy: report it.
    #[error("cannot set up TLS: {0}")]
    Setup(Error),
}

/// The rustls configuration for sessions under `mode`.
///
/// # Errors
/// [`TlsError`] if certificates must be verified and there are none to verify them with.
pub fn client_config(
    mode: SslMode,
    root_cert: Option<&RootCert>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let check = match mode {
        SslMode::Disable | SslMode::Allow | SslMode::Prefer => Check::Nothing,
        SslMode::Require if root_cert.is_none() => Check::Nothing,
        SslMode::Require | SslMode::VerifyCa => Check::Chain,
        SslMode::VerifyFull => Check::ChainAndName,
    };
    let trusted = match (check, root_cert) {
        (Check::Nothing, _) => Vec::new(),
        (Check::Chain | Check::ChainAndName, Some(root)) => {
            CertificateDer::pem_slice_iter(&root.pem)
                .collect::<Result<_, _>>()
                .map_err(|_| TlsError::RootCert(root.path.clone()))?
        }
        (Check::Chain | Check::ChainAndName, None) => {
            rustls_native_certs::load_native_certs().certs
        }
    };
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(trusted.iter().cloned());
    if check != Check::Nothing && usable == 0 {
        let no_system_certs = TlsError::NoSystemCerts;
        return Err(root_cert.map_or(no_system_certs, |r| TlsError::RootCert(r.path.clone())));
    }
    let provider: Arc<CryptoProvider> = ring::default_provider().into();
    let algorithms = provider.signature_verification_algorithms;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { check, trusted, roots, algorithms }))
        .with_no_client_auth();
    // Sessions live long and are few: a cache of tickets would never be used.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The `tls-server-end-point` data ([RFC 5929](https://www.rfc-editor.org/rfc/rfc5929#section-4))
/// of a DER certificate: its hash, by the hash function it is signed with. `None` where the
/// signature has no such function (Ed25519) or leaves it to parameters (RSA-PSS).
#[must_use]
pub fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: [u8; 6] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];

    let algorithm = signature_algorithm(certificate)?;
    let (rsa, ecdsa) = (algorithm.strip_prefix(&RSA), algorithm.strip_prefix(&ECDSA));
    match rsa.or(ecdsa)? {
        // MD5 and SHA-1 are replaced by SHA-256.
        [4 | 5 | 11] if rsa.is_some() => Some(Sha256::digest(certificate).to_vec()),
        [12] if rsa.is_some() => Some(Sha384::digest(certificate).to_vec()),
        [13] if rsa.is_some() => Some(Sha512::digest(certificate).to_vec()),
        [1] | [3, 2] if ecdsa.is_some() => Some(Sha256::digest(certificate).to_vec()),
        [3, 3] if ecdsa.is_some() => Some(Sha384::digest(certificate).to_vec()),
        [3, 4] if ecdsa.is_some() => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

/// Verifies as much of a server's certificate as the mode asks for. That the server holds the
/// certificate's key is verified in every mode.
#[derive(Debug)]
struct Verifier {
    check: Check,
    trusted: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.check == Check::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        // A self-signed server certificate is often its own root; webpki would refuse it because
        // it may sign others.
        if !self.trusted.contains(end_entity) {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        if self.check == Check::ChainAndName {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// The object identifier, in DER, of the algorithm that a certificate is signed with:
/// `SEQUENCE { SEQUENCE { … }, SEQUENCE { OBJECT IDENTIFIER, … }, … }`.
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = der_element(certificate, SEQUENCE)?;
    let (_to_be_signed, rest) = der_element(certificate, SEQUENCE)?;
    let (algorithm, _) = der_element(rest, SEQUENCE)?;
    Some(der_element(algorithm, OBJECT_IDENTIFIER)?.0)
}

/// The content of the DER element that `input` starts with, and what follows it.
fn der_element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = input.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // The length is in the next one to four bytes.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length).filter(|_| *first == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_the_signature() {
        let certificate = |oid: &[u8]| {
            let mut algorithm = vec![OBJECT_IDENTIFIER, u8::try_from(oid.len()).unwrap()];
            algorithm.extend_from_slice(oid);
            // To be signed: 200 bytes, so that a long length is read.
            let mut body = vec![SEQUENCE, 0x81, 200];
            body.extend_from_slice(&[7; 200]);
            body.extend_from_slice(&[SEQUENCE, u8::try_from(algorithm.len()).unwrap()]);
            body.extend_from_slice(&algorithm);
            let mut whole = vec![SEQUENCE, 0x82];
            whole.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
            whole.extend_from_slice(&body);
            whole
        };
        let length = |oid: &[u8]| server_end_point(&certificate(oid)).map(|hash| hash.len());
        let rsa = |last| [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last];
        assert_eq!(length(&rsa(11)), Some(32));
        assert_eq!(length(&rsa(5)), Some(32));
        assert_eq!(length(&rsa(12)), Some(48));
        assert_eq!(length(&rsa(13)), Some(64));
        assert_eq!(length(&rsa(10)), None, "RSA-PSS");
        assert_eq!(length(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]), Some(48));
        assert_eq!(length(&[0x2b, 0x65, 0x70]), None, "Ed25519");

        let whole = certificate(&rsa(11));
        for end in 0..whole.len() {
            assert_eq!(server_end_point(&whole[..end]), None);
        }
        assert_eq!(server_end_point(&[SEQUENCE, 0xff, 0xff]), None);
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let root = RootCert { path: "/etc/roots.pem".into(), pem: b"nothing".to_vec() };
        let error = client_config(SslMode::VerifyCa, Some(&root)).unwrap_err();
        assert!(error.to_string().contains("`/etc/roots.pem`"), "{error}");
        assert!(client_config(SslMode::Require, None).is_ok());
    }
}
