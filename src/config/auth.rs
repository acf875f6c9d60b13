//! How requesters prove who they are, as it is set.

use super::source::Reader;

/// How requesters prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthKind {
    /// They do not; everybody is the administrator `local`. On loopback only.
    None,
    /// They show a key or a token.
    Bearer {
        /// Whether API keys are believed.
        api_keys: bool,
        /// Whose tokens are believed.
        tokens: Option<JwtSettings>,
    },
}

/// `EXPORTER_JWT_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtSettings {
    /// `EXPORTER_JWT_ISSUER`.
    pub issuer: String,
    /// `EXPORTER_JWT_AUDIENCE`.
    pub audience: String,
    /// `EXPORTER_JWT_JWKS_URL`: https, or http on loopback.
    pub jwks_url: String,
}

/// What `EXPORTER_AUTH` names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Named {
    api_key: bool,
    jwt: bool,
}

/// Reads `EXPORTER_AUTH` and what it needs. In local mode nobody proves anything unless it is set.
pub(super) fn read(read: &mut Reader<'_>, local: bool) -> AuthKind {
    let default = Named { api_key: !local, jwt: false };
    let named = read.parsed("EXPORTER_AUTH", default, parse);
    let text = |text: &str| Ok(text.to_owned());
    let issuer = read.optional("EXPORTER_JWT_ISSUER", text);
    let audience = read.optional("EXPORTER_JWT_AUDIENCE", text);
    let jwks_url = read.optional("EXPORTER_JWT_JWKS_URL", parse_jwks_url);
    for (value, key, what) in [
        (&issuer, "EXPORTER_JWT_ISSUER", "the `iss` of the tokens that EXPORTER_AUTH=jwt believes"),
        (&audience, "EXPORTER_JWT_AUDIENCE", "the `aud` of the tokens that EXPORTER_AUTH=jwt believes"),
        (&jwks_url, "EXPORTER_JWT_JWKS_URL", "where the issuer publishes its keys"),
    ] {
        read.require(named.jwt, value, key, what);
    }
    let tokens = match (named.jwt, issuer, audience, jwks_url) {
        (true, Some(issuer), Some(audience), Some(jwks_url)) => Some(JwtSettings { issuer, audience, jwks_url }),
        _ => None,
    };
    match named {
        Named { api_key: false, jwt: false } => AuthKind::None,
        Named { api_key, .. } => AuthKind::Bearer { api_keys: api_key, tokens },
    }
}

fn parse(text: &str) -> Result<Named, String> {
    let (mut named, mut none) = (Named::default(), false);
    for kind in text.split(',').map(str::trim) {
        match kind {
            "api-key" => named.api_key = true,
            "jwt" => named.jwt = true,
            "none" => none = true,
            other => {
                return Err(format!("names '{other}'; it is none, or api-key and jwt, separated by commas"));
            }
        }
    }
    if none && named != Named::default() {
        return Err("is none and something else; everybody would be an administrator".to_owned());
    }
    Ok(named)
}

/// Keys that come over a wire that anybody can change prove nothing. The message never repeats the address, in which
/// somebody may have put a password.
fn parse_jwks_url(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|_| "is not an address of the form https://host/path".to_owned())?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("names no host".to_owned()),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must name no account: what it leads to is public".to_owned());
    }
    match url.scheme() {
        "https" => Ok(text.to_owned()),
        "http" if loopback => Ok(text.to_owned()),
        _ => Err("must begin with https://; http:// is for loopback only".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Needs, Settings, Source};
    use super::*;

    const JWT: [(&str, &str); 3] = [
        ("EXPORTER_JWT_ISSUER", "https://issuer"),
        ("EXPORTER_JWT_AUDIENCE", "exports"),
        ("EXPORTER_JWT_JWKS_URL", "https://issuer/jwks"),
    ];

    fn auth(values: &[(&str, &str)], local: bool) -> Result<AuthKind, String> {
        let source = Source::of(values.iter().copied());
        let settings = Settings::read(&source, Needs { local, ..Needs::default() });
        settings.map(|settings| settings.auth).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_the_default_and_nothing_is_in_local_mode() {
        let keys = AuthKind::Bearer { api_keys: true, tokens: None };
        assert_eq!(auth(&[], false), Ok(keys.clone()));
        assert_eq!(auth(&[], true), Ok(AuthKind::None));
        assert_eq!(auth(&[("EXPORTER_AUTH", "api-key")], true), Ok(keys.clone()));
        assert_eq!(auth(&[("EXPORTER_AUTH", "none")], false), Ok(AuthKind::None));
        let everywhere = ("EXPORTER_BIND", "0.0.0.0:80");
        assert_eq!(auth(&[everywhere], false), Ok(keys));
        for local in [true, false] {
            assert!(auth(&[everywhere, ("EXPORTER_AUTH", "none")], local).unwrap_err().contains("EXPORTER_AUTH"));
        }
        assert!(auth(&[everywhere], true).unwrap_err().contains("EXPORTER_AUTH"));
    }

    #[test]
    fn tokens_need_their_issuer() {
        let all = [&[("EXPORTER_AUTH", "jwt, api-key"), ("EXPORTER_BIND", "0.0.0.0:80")][..], &JWT].concat();
        let Ok(AuthKind::Bearer { api_keys: true, tokens: Some(tokens) }) = auth(&all, false) else { panic!() };
        assert_eq!((tokens.issuer.as_str(), tokens.audience.as_str()), ("https://issuer", "exports"));
        let missing = auth(&[("EXPORTER_AUTH", "jwt")], false).unwrap_err();
        for (key, _) in JWT {
            assert!(missing.contains(key), "{key} in {missing}");
        }
        for (url, sound) in [
            ("https://issuer/jwks", true),
            ("http://127.0.0.1:9/jwks", true),
            ("http://[::1]/jwks", true),
            ("http://localhost/jwks", true),
            ("http://issuer/jwks", false),
            ("http://127.0.0.1.evil.example/jwks", false),
            ("http://localhost@evil.example/secret", false),
            ("ftp://localhost/", false),
            ("https://u:secret@issuer/jwks", false),
            ("issuer", false),
        ] {
            let values = [&[("EXPORTER_AUTH", "jwt")][..], &JWT[..2], &[("EXPORTER_JWT_JWKS_URL", url)]].concat();
            let read = auth(&values, false);
            assert_eq!(read.is_ok(), sound, "{url}: {read:?}");
            assert!(read.is_ok() || !read.unwrap_err().contains("secret"));
        }
        for wrong in ["none,api-key", "basic", "api-key,", "Api-Key"] {
            assert!(auth(&[("EXPORTER_AUTH", wrong)], false).unwrap_err().contains("EXPORTER_AUTH"), "{wrong}");
        }
    }
}
