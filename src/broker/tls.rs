//! TLS towards the broker: whom to trust, what to show, and what went wrong, in words.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use thiserror::Error;

use super::settings::BrokerSettings;
use super::url::Scheme;

/// Why TLS cannot be set up, with the file and the remedy.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("cannot read {setting} file {}: {problem}", file.display())]
    Unreadable { setting: &'static str, file: PathBuf, problem: io::Error },
    #[error("{setting} file {} holds no {wanted} in PEM form: {problem}", file.display())]
    NotPem { setting: &'static str, file: PathBuf, wanted: &'static str, problem: pem::Error },
    #[error("{setting} file {} holds a certificate that cannot be used: {problem}", file.display())]
    BadCertificate { setting: &'static str, file: PathBuf, problem: rustls::Error },
    #[error("cert {} and key {} do not fit together: {problem}", cert.display(), key.display())]
    BadIdentity { cert: PathBuf, key: PathBuf, problem: rustls::Error },
    #[error("the system has no trusted certificates: name the broker's authority with `ca = \"FILE\"`")]
    NoSystemRoots,
    #[error("TLS cannot be set up: {0}")]
    Provider(rustls::Error),
}

/// A TLS handshake that failed, inside the I/O error of the attempt to connect.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct HandshakeError(io::Error);

impl HandshakeError {
    pub(super) fn new(problem: io::Error) -> Self {
        Self(problem)
    }

    pub(super) fn into_inner(self) -> io::Error {
        self.0
    }
}

/// Builds what `settings` ask for, or returns `None` where the connection is not encrypted.
pub(super) fn client_config(settings: &BrokerSettings) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    match settings.url.scheme {
        Scheme::Mqtt => return Ok(None),
        Scheme::Mqtts => {}
    }
    let roots = match &settings.ca {
        Some(file) => roots_from(file)?,
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?
        .with_root_certificates(roots);
    let config = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates("cert", cert)?, private_key(key)?)
            .map_err(|problem| TlsError::BadIdentity { cert: cert.clone(), key: key.clone(), problem })?,
        (Some(_), None) | (None, Some(_) | None) => builder.with_no_client_auth(),
    };
    Ok(Some(Arc::new(config)))
}

/// Puts a failed handshake into words if TLS is what failed.
pub(super) fn explain(error: &io::Error, settings: &BrokerSettings) -> Option<String> {
    error.get_ref()?.downcast_ref::<rustls::Error>().map(|error| explain_rustls(error, settings))
}

/// What to look at when the port may not be one for TLS.
pub(super) fn wrong_port(settings: &BrokerSettings) -> String {
    format!("port {}: is it the broker's mqtts:// port? (mqtt:// is without TLS)", settings.url.port)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only the library's commonest errors have a remedy")]
pub(super) fn explain_rustls(error: &rustls::Error, settings: &BrokerSettings) -> String {
    let host = &settings.url.host;
    match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            // A bad signature is that of another authority of the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => match &settings.ca {
                None => "its certificate is signed by an authority that this system does not know: \
                         name the authority's file with `ca = \"FILE\"`"
                    .to_owned(),
                Some(ca) => format!("its certificate is not signed by an authority in ca file {}", ca.display()),
            },
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("its certificate is not for the name `{host}`: put a name from the certificate into the URL")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired (or this machine's clock is wrong)".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet (or this machine's clock is wrong)".to_owned()
            }
            other => format!("its certificate is not acceptable: {other}"),
        },
        rustls::Error::InvalidMessage(_) => format!("it does not answer in TLS; {}", wrong_port(settings)),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) if settings.cert.is_none() => {
            "it wants a certificate from the gateway: set `cert` and `key`".to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("it ended the TLS handshake: {alert:?}"),
        other => format!("TLS: {other}"),
    }
}

fn roots_from(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca", file)? {
        roots.add(certificate).map_err(|problem| TlsError::BadCertificate {
            setting: "ca",
            file: file.to_owned(),
            problem,
        })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // Single certificates of the system's store that do not parse are no reason to give up.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoSystemRoots);
    }
    Ok(roots)
}

fn certificates(setting: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = |problem| TlsError::NotPem { setting, file: file.to_owned(), wanted: "certificate", problem };
    let text = read(setting, file)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>().map_err(not_pem)?;
    if found.is_empty() {
        return Err(not_pem(pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let wanted = "private key";
    PrivateKeyDer::from_pem_slice(&read("key", file)?).map_err(|problem| TlsError::NotPem {
        setting: "key",
        file: file.to_owned(),
        wanted,
        problem,
    })
}

fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|problem| TlsError::Unreadable { setting, file: file.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> BrokerSettings {
        BrokerSettings::new("mqtts://host".parse().unwrap(), "gateway")
    }

    #[test]
    fn a_missing_or_wrong_file_is_named() {
        let mut settings = settings();
        settings.ca = Some("/nowhere/ca.pem".into());
        assert!(client_config(&settings).unwrap_err().to_string().starts_with("cannot read ca file /nowhere/ca.pem: "));

        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no certificate").unwrap();
        settings.ca = Some(file.path().to_owned());
        assert!(client_config(&settings).unwrap_err().to_string().contains("holds no certificate in PEM form"));
    }

    #[test]
    fn an_unknown_authority_comes_with_the_remedy() {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(explain_rustls(&unknown, &settings()).contains("`ca = \"FILE\"`"));
        let wrong_port = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(explain_rustls(&wrong_port, &settings()).contains("does not answer in TLS; port 8883: is it"));
    }
}
