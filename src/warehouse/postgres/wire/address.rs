//! Where the server is and who we are there, exactly as sqlx understands the same URL: its environment variables and
//! its password file count here too.

use std::net::IpAddr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::super::super::Transport;
use super::tls::{Certificates, Pem, Tls};

/// A server's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A host and its port.
    Tcp(String, u16),
    /// A socket of this machine.
    Unix(PathBuf),
}

/// All that a connection needs to know.
pub(in super::super) struct Address {
    pub(super) place: Place,
    pub(super) tls: Tls,
    pub(super) user: String,
    pub(super) password: SecretString,
    pub(super) database: Option<String>,
    /// Settings for the session, as `psql` takes them from `PGOPTIONS`.
    pub(super) options: Option<String>,
}

impl Address {
    /// How connections to it are kept from others, when TLS was agreed on or not.
    pub(in super::super) fn transport(&self, encrypted: bool) -> Transport {
        let local = match &self.place {
            Place::Unix(_) => true,
            Place::Tcp(host, _) => host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
        };
        match encrypted {
            true if self.tls.verify_chain => Transport::Verified,
            true => Transport::Encrypted,
            false if local => Transport::Local,
            false => Transport::Plain,
        }
    }

    /// The address that sqlx would use; an error says what cannot be used.
    pub(in super::super) fn new(options: &PgConnectOptions) -> Result<Self, &'static str> {
        let host = options.get_host();
        if host.contains(',') {
            return Err("the address names several hosts; name one, or a name that resolves to them");
        }
        let socket = options.get_socket().cloned().or_else(|| host.starts_with('/').then(|| PathBuf::from(host)));
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let place = match socket {
            Some(folder) => Place::Unix(folder.join(format!(".s.PGSQL.{}", options.get_port()))),
            None => Place::Tcp(name.to_owned(), options.get_port()),
        };
        // sqlx tells its password and its certificates only as parts of a URL. The other parts are replaced: it
        // would write them without escaping.
        let told = options.clone().host("localhost").username("user").database("database").to_url_lossy();
        let password = percent_decode_str(told.password().unwrap_or_default()).decode_utf8_lossy().into_owned();
        let pem = |wanted: &str| {
            let (_, value) = told.query_pairs().find(|(key, _)| key == wanted)?;
            Some(match value.strip_prefix("file: ") {
                Some(path) => Pem::File(PathBuf::from(path)),
                None => Pem::Text(value.into_owned()),
            })
        };
        let mode = options.get_ssl_mode();
        let tls = Tls {
            // "allow" begins without, and no server that listens refuses that: sqlx takes it for "disable" too.
            ask: !matches!(mode, PgSslMode::Disable | PgSslMode::Allow),
            must: matches!(mode, PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull),
            verify_chain: matches!(mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull),
            verify_name: matches!(mode, PgSslMode::VerifyFull),
            host: name.to_owned(),
            certificates: Certificates { roots: pem("sslrootcert"), chain: pem("sslcert"), key: pem("sslkey") },
        };
        Ok(Self {
            place,
            tls,
            user: options.get_username().to_owned(),
            password: SecretString::from(password),
            database: options.get_database().map(str::to_owned),
            options: options.get_options().map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn address(url: &str) -> Address {
        Address::new(&url.parse().unwrap()).map_err(|error| format!("{url}: {error}")).unwrap()
    }

    #[test]
    fn every_part_of_a_url_arrives() {
        for (url, place, user, password, database) in [
            ("postgres://u:p@h/d", Place::Tcp("h".to_owned(), 5432), "u", "p", Some("d")),
            ("postgres://u@h:6000/d", Place::Tcp("h".to_owned(), 6000), "u", "", Some("d")),
            ("postgres://u:p@[::1]:6000/d", Place::Tcp("::1".to_owned(), 6000), "u", "p", Some("d")),
            // Everything that means something in a URL, in the name, the password and the database.
            (
                "postgres://a%40b%2Fc%3Ad:%25%40%2F%3A%3F%23%26%20%C3%A4@h/we%2Fird%20d%3F",
                Place::Tcp("h".to_owned(), 5432),
                "a@b/c:d",
                "%@/:?#& ä",
                Some("we/ird d?"),
            ),
            (
                "postgres://u:p@%2Fvar%2Frun%2Fpg:6000/d",
                Place::Unix("/var/run/pg/.s.PGSQL.6000".into()),
                "u",
                "p",
                Some("d"),
            ),
            (
                "postgres:///d?host=/tmp&port=6001&user=u&password=p%2Fq",
                Place::Unix("/tmp/.s.PGSQL.6001".into()),
                "u",
                "p/q",
                Some("d"),
            ),
            (
                "postgres://u:p@ignored/d?hostaddr=10.0.0.1",
                Place::Tcp("10.0.0.1".to_owned(), 5432),
                "u",
                "p",
                Some("d"),
            ),
        ] {
            let found = address(url);
            assert_eq!(found.place, place, "{url}");
            assert_eq!((found.user.as_str(), found.password.expose_secret()), (user, password), "{url}");
            assert_eq!(found.database.as_deref(), database, "{url}");
        }
        let found = address("postgres://u:p@h/d?options=-c%20geqo%3Doff&options[work_mem]=1MB");
        assert_eq!(found.options.as_deref(), Some("-c geqo=off -c work_mem=1MB"));
    }

    #[test]
    fn modes_and_certificates_are_those_of_sqlx() {
        for (mode, want) in [
            ("disable", (false, false, false, false)),
            ("allow", (false, false, false, false)),
            ("prefer", (true, false, false, false)),
            ("require", (true, true, false, false)),
            ("verify-ca", (true, true, true, false)),
            ("verify-full", (true, true, true, true)),
        ] {
            let tls = address(&format!("postgres://u:p@h/d?sslmode={mode}")).tls;
            assert_eq!((tls.ask, tls.must, tls.verify_chain, tls.verify_name), want, "{mode}");
        }
        let files = "sslrootcert=/etc/ro%20ot.pem&sslcert=c.pem&sslkey=/k.pem";
        let certificates = address(&format!("postgres://u:p@h/d?{files}")).tls.certificates;
        assert_eq!(certificates.roots, Some(Pem::File("/etc/ro ot.pem".into())));
        assert_eq!(certificates.chain, Some(Pem::File("c.pem".into())));
        assert_eq!(certificates.key, Some(Pem::File("/k.pem".into())));
        let inline =
            "postgres://u:p@h/d".parse::<PgConnectOptions>().unwrap().ssl_root_cert_from_pem(b"-----BEGIN".to_vec());
        let certificates = Address::new(&inline).map(|address| address.tls.certificates).unwrap();
        assert_eq!(certificates.roots, Some(Pem::Text("-----BEGIN".to_owned())));
    }

    #[test]
    fn what_others_could_read_is_told_from_what_they_cannot() {
        for (url, encrypted, expected) in [
            ("postgres://u:p@127.0.0.1/d", false, Transport::Local),
            ("postgres://u:p@[::1]/d", false, Transport::Local),
            ("postgres://u:p@localhost/d", false, Transport::Local),
            ("postgres://u:p@%2Ftmp/d", false, Transport::Local),
            ("postgres://u:p@10.0.0.1/d", false, Transport::Plain),
            ("postgres://u:p@localhost.example.com/d", false, Transport::Plain),
            ("postgres://u:p@h/d?sslmode=require", true, Transport::Encrypted),
            ("postgres://u:p@h/d?sslmode=verify-ca", true, Transport::Verified),
            ("postgres://u:p@h/d?sslmode=verify-full", true, Transport::Verified),
        ] {
            assert_eq!(address(url).transport(encrypted), expected, "{url}");
        }
    }

    #[test]
    fn several_hosts_are_refused_and_said_to_be() {
        let options: PgConnectOptions = "postgres://u:p@a,b/d".parse().unwrap();
        assert!(Address::new(&options).err().unwrap().contains("several hosts"));
    }
}
