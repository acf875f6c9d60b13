//! The kinds of personal data and secrets that are known, and what was found of them.

use std::fmt;
use std::str::FromStr;

macro_rules! entities {
    ($($(#[$doc:meta])+ $variant:ident = $label:literal,)+) => {
        /// A kind of personal data, or a secret that stands for a person or an account.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Entity { $($(#[$doc])+ $variant,)+ }

        impl Entity {
            /// Every one of them.
            pub const ALL: &'static [Entity] = &[$(Entity::$variant,)+];

            /// Its name in `pii.toml`, in manifests and in what takes a value's place.
            pub fn label(self) -> &'static str {
                match self { $(Entity::$variant => $label,)+ }
            }
        }
    };
}

entities! {
    /// JSON Web Tokens.
    Jwt = "JWT",
    /// Access keys of clouds and other services, and private keys.
    CloudKey = "CLOUD_KEY",
    /// User names, passwords and tokens inside URLs.
    UrlCredentials = "URL_CREDENTIALS",
    /// International bank account numbers.
    Iban = "IBAN",
    /// Payment card numbers.
    Card = "CARD",
    /// E-mail addresses.
    Email = "EMAIL",
    /// Vehicle identification numbers.
    Vin = "VIN",
    /// Social security numbers of the United States.
    UsSsn = "US_SSN",
    /// Hardware addresses of network interfaces.
    Mac = "MAC",
    /// Internet addresses, version 6.
    Ipv6 = "IPV6",
    /// Internet addresses, version 4.
    Ipv4 = "IPV4",
    /// Telephone numbers.
    Phone = "PHONE",
    /// Number plates; known by the column's name alone.
    Plate = "PLATE",
    /// Numbers of mobile devices and SIM cards; known by the column's name alone.
    Imei = "IMEI",
    /// Identifiers of devices; known by the column's name alone.
    DeviceId = "DEVICE_ID",
    /// Identifiers of people and accounts; known by the column's name alone.
    UserId = "USER_ID",
    /// Names of people; known by the column's name alone.
    PersonName = "PERSON_NAME",
    /// Postal addresses; known by the column's name alone.
    Address = "ADDRESS",
    /// Dates of birth; known by the column's name alone.
    BirthDate = "BIRTH_DATE",
    /// Numbers of passports, identity cards and tax payers; known by the column's name alone.
    NationalId = "NATIONAL_ID",
    /// Passwords, tokens and keys; known by the column's name alone.
    Secret = "SECRET",
    /// Addresses of video streams; known by the column's name alone.
    StreamUrl = "STREAM_URL",
}

impl Entity {
    /// The entities that are found by looking at values, the most specific first. Where findings overlap, the one
    /// that stands earlier here gives its name.
    pub const DETECTED: [Entity; 12] = [
        Entity::Jwt,
        Entity::CloudKey,
        Entity::UrlCredentials,
        Entity::Iban,
        Entity::Card,
        Entity::Email,
        Entity::Vin,
        Entity::UsSsn,
        Entity::Mac,
        Entity::Ipv6,
        Entity::Ipv4,
        Entity::Phone,
    ];
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for Entity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|entity| entity.label() == text).ok_or_else(|| {
            format!("'{text}' is no entity: write one of {}", Self::DETECTED.map(Self::label).join(", "))
        })
    }
}

/// What a finding is: an entity of this crate, or a pattern of `pii.toml` by its position there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One of the patterns that the data's owners wrote.
    Own(u16),
    /// An entity that this crate knows.
    Known(Entity),
}

/// A part of a text that is personal data. Positions are bytes, on character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Its first byte.
    pub start: usize,
    /// The first byte behind it.
    pub end: usize,
    /// How sure that is, from 0 to 100: what is sure by its form and check digits is above 80, what needs a word
    /// before it is below.
    pub score: u8,
}

impl Finding {
    pub(super) fn known(entity: Entity, start: usize, end: usize, score: u8) -> Self {
        Self { kind: Kind::Known(entity), start, end, score }
    }
}
