//! Certificates and TLS settings: a self-signed certificate made at first start; outbound TLS that encrypts whatever the
//! host presents, since between strangers encryption without a name is better than none (RFC 7435).

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a TLS handshake of a client of ours may take.
pub(crate) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(60);

/// What inbound and outbound connections need.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

/// Reads the certificate of the data folder, or makes it. With the file's path if it was made.
pub(crate) fn load(data: &Path, name: &str) -> Result<(Tls, Option<PathBuf>), String> {
    let folder = data.join("tls");
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    // Beside a key, one that is unfinished tells that the key is of a first start that was cut short, and not somebody's own.
    let made = !certificate.exists() && (!key.exists() || unfinished(&certificate).exists());
    if made {
        make(&folder, &certificate, &key, name)?;
    }
    let read = |path: &Path, what: &str, error: &dyn std::fmt::Display| {
        format!(
            "the TLS {what} {} cannot be read: {error}. Replace it, or remove both files to have new ones made",
            path.display()
        )
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect)
        .map_err(|error| read(&certificate, "certificate", &error))?;
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| read(&key, "key", &error))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| read(&certificate, "certificate", &error))?;
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok((Tls { server: Arc::new(server), client: Arc::new(client) }, made.then_some(certificate)))
}

fn make(folder: &Path, certificate: &Path, key: &Path, name: &str) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("no TLS certificate could be made in {}: {error}", folder.display())
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).map_err(|error| failed(&error))?;
    let pair = [(key, made.signing_key.serialize_pem()), (certificate, made.cert.pem())];
    let written = pair.iter().try_for_each(|(path, text)| write(&unfinished(path), text));
    let named =
        written.and_then(|()| pair.iter().try_for_each(|(path, _)| std::fs::rename(unfinished(path), path)));
    named.and_then(|()| std::fs::File::open(folder)?.sync_all()).map_err(|error| failed(&error))
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_added_extension("new")
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Takes any certificate; the handshake still proves that the host has its key.
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
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Protocol and cipher of a connection that is up.
pub(crate) fn facts(connection: &rustls::CommonState) -> (String, String) {
    let protocol = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLS",
    };
    let cipher = connection.negotiated_cipher_suite();
    let cipher = cipher.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
    (protocol.to_owned(), cipher.to_owned())
}

#[cfg(test)]
mod tests {
    use super::load;

    #[test]
    fn a_first_start_that_was_cut_short_is_no_hindrance() {
        let data = tempfile::tempdir().unwrap();
        let tls = data.path().join("tls");
        std::fs::create_dir(&tls).unwrap();
        let load = || load(data.path(), "mail.example");
        let put = |name: &str| std::fs::write(tls.join(name), "a part").unwrap();
        put("key.pem");
        assert!(load().is_err(), "somebody's own key is left alone");
        put("key.pem.new");
        put("cert.pem.new");
        assert_eq!(load().unwrap().1, Some(tls.join("cert.pem")));
        assert_eq!(load().unwrap().1, None, "it is there");
        assert_eq!(std::fs::read_dir(&tls).unwrap().count(), 2);
    }
}
