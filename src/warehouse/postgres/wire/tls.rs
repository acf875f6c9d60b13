//! TLS as sqlx does it for the same address: the same roots, the same meaning of each `sslmode`.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::WireError;

/// Certificates or a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pem {
    /// In a file, read anew for each connection.
    File(PathBuf),
    /// As text.
    Text(String),
}

/// What the address names.
#[derive(Debug, Clone)]
pub(super) struct Certificates {
    /// Roots beside those that everybody trusts.
    pub(super) roots: Option<Pem>,
    /// Our own certificate.
    pub(super) chain: Option<Pem>,
    /// The key to it.
    pub(super) key: Option<Pem>,
}

/// Whether and how.
#[derive(Clone)]
pub(super) struct Tls {
    /// The server is asked for it.
    pub(super) ask: bool,
    /// A server without it is refused.
    pub(super) must: bool,
    /// Its certificate must come from a trusted root.
    pub(super) verify_chain: bool,
    /// And be for this host.
    pub(super) verify_name: bool,
    /// The host.
    pub(super) host: String,
    /// Files of certificates.
    pub(super) certificates: Certificates,
}

impl Tls {
    /// Shakes hands over a connection whose server has agreed to.
    pub(super) async fn wrap<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Result<TlsStream<S>, WireError> {
        let host =
            ServerName::try_from(self.host.clone()).map_err(|_| WireError::Tls("the host has no proper name"))?;
        let connector = TlsConnector::from(Arc::new(self.config().await?));
        connector.connect(host, stream).await.map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
                Some(Error::InvalidCertificate(_)) => WireError::Tls("the server's certificate is not trusted"),
                Some(_) => WireError::Tls("the handshake failed"),
                None => WireError::Io(error),
            }
        })
    }

    async fn config(&self) -> Result<ClientConfig, WireError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|_| WireError::Tls("no version of TLS"))?;
        let builder = if self.verify_chain {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots().await?), provider)
                .build()
                .map_err(|_| WireError::Tls("no certificate to trust"))?;
            if self.verify_name {
                builder.with_webpki_verifier(verifier)
            } else {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName(verifier)))
            }
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        };
        match (&self.certificates.chain, &self.certificates.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(chain), Some(key)) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain.read().await?).collect();
                let chain = chain.map_err(|_| WireError::Tls("sslcert is no PEM file of certificates"))?;
                let key = PrivateKeyDer::from_pem_slice(&key.read().await?);
                let key = key.map_err(|_| WireError::Tls("sslkey is no PEM file of a key"))?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|_| WireError::Tls("sslcert and sslkey cannot be used"))
            }
            _ => Err(WireError::Tls("sslcert and sslkey must be given together")),
        }
    }

    async fn roots(&self) -> Result<RootCertStore, WireError> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(pem) = &self.certificates.roots {
            for certificate in CertificateDer::pem_slice_iter(&pem.read().await?) {
                let added = certificate.map(|certificate| roots.add(certificate));
                if !matches!(added, Ok(Ok(()))) {
                    return Err(WireError::Tls("sslrootcert is no PEM file of certificates"));
                }
            }
        }
        Ok(roots)
    }
}

impl Pem {
    async fn read(&self) -> Result<Vec<u8>, WireError> {
        match self {
            Self::File(path) => {
                tokio::fs::read(path).await.map_err(|_| WireError::Tls("a file of certificates cannot be read"))
            }
            Self::Text(text) => Ok(text.clone().into_bytes()),
        }
    }
}

/// Takes a certificate of a trusted root for any host: `verify-ca`.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is looked at last, after the chain and the dates.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Takes any certificate whose key the server has: `prefer` and `require`, which protect from listeners only.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
