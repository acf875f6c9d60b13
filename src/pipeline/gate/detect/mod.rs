//! What the gate looks for. Written apart from the search that removes personal data on the way, so that a fault of
//! the one is not a fault of the other.
//!
//! Each definition is the narrower one: what is found here, the other search finds too, so a text that went through
//! it is never refused. Only forms that are sure by themselves count; nothing is found because of a word before it.
//! Every entity has a necessary condition, a regular expression that matches somewhere in each text that holds it,
//! within one line; most texts meet none.

mod network;
mod number;
mod secret;

/// A part of a text: first byte, first byte behind it, and how sure it is, from 0 to 100. The score is at most the
/// one that `pii.toml`'s thresholds are compared with when data is removed.
pub(super) type Hit = (usize, usize, u8);

/// Looks for one entity in a text.
type Detector = fn(&str, &mut Vec<Hit>);

macro_rules! entities {
    ($($variant:ident = $label:literal, $need:expr, $detector:path;)+) => {
        /// What is looked for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Entity { $($variant,)+ }

        impl Entity {
            /// All of them.
            pub(super) const ALL: [Entity; [$($label),+].len()] = [$(Entity::$variant),+];

            /// Its name in `pii.toml`.
            pub(super) fn label(self) -> &'static str {
                match self { $(Entity::$variant => $label,)+ }
            }

            /// The necessary condition: a regular expression on bytes.
            pub(super) fn need(self) -> &'static str {
                match self { $(Entity::$variant => $need,)+ }
            }

            /// Finds it in a text.
            pub(super) fn find(self, text: &str, hits: &mut Vec<Hit>) {
                let detector: Detector = match self { $(Entity::$variant => $detector,)+ };
                detector(text, hits);
            }
        }
    };
}

entities! {
    Jwt = "JWT", "eyJ", secret::jwts;
    CloudKey = "CLOUD_KEY", secret::KEY_NEED, secret::keys;
    UrlCredentials = "URL_CREDENTIALS", secret::CREDENTIALS_NEED, secret::credentials;
    Iban = "IBAN", r"\b[A-Za-z]{2}[0-9]{2}(?:[ -]?[0-9A-Za-z]){11}", number::ibans;
    Card = "CARD", number::CARD_NEED, number::cards;
    Email = "EMAIL", "@|%40", network::emails;
    Vin = "VIN", r"\b[0-9A-Za-z]{13}[0-9]{4}\b", number::vins;
    UsSsn = "US_SSN", "[0-9]{3}-[0-9]{2}-[0-9]{4}", number::ssns;
    Mac = "MAC", "(?:[0-9A-Fa-f]{2}[:-]){5}|(?:[0-9A-Fa-f]{4}[.]){2}", network::macs;
    Ipv6 = "IPV6", "::|(?:[0-9A-Fa-f]{1,4}:){6}", network::ipv6s;
    Ipv4 = "IPV4", "[0-9][.][0-9]{1,3}[.][0-9]{1,3}[.][0-9]", network::ipv4s;
    Phone = "PHONE", "[+][0-9](?:[ -]?[0-9]){8}", number::phones;
}

/// Names that removal puts in a value's place, beside those of [`Entity`] and of the owners' patterns.
pub(super) const OTHER_LABELS: &[&str] = &[
    "PLATE",
    "IMEI",
    "DEVICE_ID",
    "USER_ID",
    "PERSON_NAME",
    "ADDRESS",
    "BIRTH_DATE",
    "NATIONAL_ID",
    "SECRET",
    "STREAM_URL",
    "REDACTED",
    "REMOVED",
];

/// Whether this byte is part of an ASCII word.
fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The byte before a position, if there is one.
fn before(text: &str, start: usize) -> Option<u8> {
    start.checked_sub(1).and_then(|position| text.as_bytes().get(position).copied())
}

/// The byte at a position, if there is one.
fn at(text: &str, position: usize) -> Option<u8> {
    text.as_bytes().get(position).copied()
}

/// Whether neither side of a part continues it as a word.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    !before(text, start).is_some_and(in_word) && !at(text, end).is_some_and(in_word)
}
