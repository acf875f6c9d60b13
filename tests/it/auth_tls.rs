//! An issuer's keys over TLS: which certificates are trusted, by the real program.

use std::sync::atomic::Ordering;

use crate::support::issuer::{AUDIENCE, ISSUER, Signer, claims};
use crate::support::platform::Platform;
use crate::support::tls::Authority;

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_where_ssl_cert_file_names_it_and_nobody_else_is() {
    let platform = Platform::empty("auth_tls").await;
    let key = platform.key("default", data_exporter::identity::Role::Requester).await;
    let (ours, stranger, signer) = (Authority::new(), Authority::new(), Signer::ed());
    let file = platform.folder.path().join("authority.pem");
    std::fs::write(&file, ours.pem()).unwrap();
    let trust = file.to_str().unwrap();
    let token = signer.token("known", &claims("default", &["requester"]));
    for (what, authority, name, ended, trusts, accepted) in [
        ("an authority that is trusted", &ours, "localhost", false, true, true),
        ("the same where it is not", &ours, "localhost", false, false, false),
        ("another authority", &stranger, "localhost", false, true, false),
        ("another name", &ours, "issuer.example", false, true, false),
        ("a certificate that has ended", &ours, "localhost", true, true, false),
    ] {
        let (url, answered) = authority.publish(vec![signer.jwk("known")], name, ended).await;
        let mut settings = vec![
            ("EXPORTER_AUTH", "api-key,jwt"),
            ("EXPORTER_JWT_ISSUER", ISSUER),
            ("EXPORTER_JWT_AUDIENCE", AUDIENCE),
            ("EXPORTER_JWT_JWKS_URL", url.as_str()),
        ];
        if trusts {
            settings.push(("SSL_CERT_FILE", trust));
        }
        let service = platform.serve("api", "api", &settings).await;
        let (status, answer) = service.ask_as(&token, "{ exportTables { name } }").await;
        assert_eq!(status, if accepted { 200 } else { 401 }, "{what}: {answer}\n{}", service.logged());
        assert_eq!(answered.load(Ordering::SeqCst), usize::from(accepted), "{what}: nothing is asked of it");
        let told =
            service.logged().contains("EXPORTER_JWT_JWKS_URL cannot be reached, or its certificate is not trusted");
        assert_eq!(told, !accepted, "{what}: {}", service.logged());
        assert_eq!(service.ask_as(&key, "{ exportTables { name } }").await.0, 200, "{what}: API keys do not need it");
    }
}
