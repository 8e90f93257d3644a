//! Whose certificate counts.
//!
//! On loopback none is verified: an app's own probe endpoint has a self-signed certificate or one for its public
//! name, kubelet does not verify it either, and nobody sits between. Everywhere else the certificate is verified
//! against Mozilla's roots, which are compiled in so that an empty image works, and the system's own beside them
//! (SSL_CERT_FILE, SSL_CERT_DIR, or the usual bundle), for companies with their own authority.
//!
//! HTTP/1.1 only, as everything here.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;
use tracing::debug;

/// The configuration with which any certificate will do. Only for hosts that are this machine by their spelling.
pub(super) fn unverified() -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(AnyCertificate(provider.clone()));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The configuration with which the certificate must be valid for the host's name. Reads the system's bundle: some
/// hundred kilobytes and milliseconds, so it is for the first request that needs it.
pub(super) fn verified() -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // What cannot be read or parsed there is left out: the roots that are compiled in are there in any case, and a
    // certificate that would have needed the others is refused with its reason.
    let compiled_in = roots.len();
    let (system, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    debug!(
        name: "certificates_read", compiled_in, system,
        "certificates are verified by {compiled_in} authorities that are compiled in and {system} of the system's"
    );
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts every certificate and, since a signature by an unknown key proves nothing, every signature: so
/// certificates that the verifier cannot even parse (X.509 version 1) work, as they do for kubelet.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
