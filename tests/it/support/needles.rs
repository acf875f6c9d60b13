//! A search for values in everything that was written: as they are, in lower case, in the usual codings, and as plain
//! hashes. It knows nothing of detectors or policies.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use md5::{Digest as _, Md5};
use sha2::{Digest as _, Sha256};

/// The shortest form that is searched for, in bytes: shorter ones would be found by chance.
const SHORTEST: usize = 8;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The characters of base64 that a value alone decides, wherever in a longer text it begins.
fn base64_of(value: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for before in 0..3_usize {
        let text = [&vec![0; before], value].concat();
        let (first, last) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            forms.push(engine.encode(&text)[first..last].to_owned());
        }
    }
    forms
}

fn url_encoded(value: &[u8], keep: impl Fn(u8) -> bool) -> String {
    value.iter().fold(String::new(), |mut text, &byte| {
        if keep(byte) {
            text.push(char::from(byte))
        } else {
            write!(text, "%{byte:02x}").unwrap()
        }
        text
    })
}

/// The forms of one value, each with its name, in lower case.
fn forms(value: &str) -> Vec<(&'static str, String)> {
    let mut forms = Vec::new();
    for value in [value.to_owned(), value.to_lowercase()] {
        let bytes = value.as_bytes();
        forms.push(("raw", value.clone()));
        forms.push(("hex", hex(bytes)));
        forms.extend(base64_of(bytes).into_iter().map(|form| ("base64", form)));
        forms.push(("URL", url_encoded(bytes, |_| false)));
        forms.push(("URL", url_encoded(bytes, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))));
        let (md5, sha256) = (Md5::digest(bytes).to_vec(), Sha256::digest(bytes).to_vec());
        for (name, digest) in [("MD5", md5), ("SHA-256", sha256)] {
            forms.push((name, hex(&digest)));
            forms.extend(base64_of(&digest).into_iter().map(|form| (name, form)));
        }
    }
    forms.into_iter().map(|(name, form)| (name, form.to_lowercase())).collect()
}

/// Values in all their forms, to be searched for at once.
pub(crate) struct Needles {
    /// Forms by their first bytes: the value, the form's name, the form.
    by_head: HashMap<[u8; SHORTEST], Vec<(usize, &'static str, String)>>,
    values: Vec<String>,
}

impl Needles {
    pub(crate) fn new<T: Into<String>>(values: impl IntoIterator<Item = T>) -> Self {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        let mut by_head: HashMap<_, Vec<_>> = HashMap::new();
        for (at, value) in values.iter().enumerate() {
            for (name, form) in forms(value) {
                let head = form.as_bytes()[..SHORTEST].try_into().unwrap();
                by_head.entry(head).or_default().push((at, name, form));
            }
        }
        Self { by_head, values }
    }

    /// The values that stand there, each with the forms in which it does.
    pub(crate) fn found(&self, text: impl AsRef<[u8]>) -> BTreeMap<&str, BTreeSet<&'static str>> {
        let text = text.as_ref().to_ascii_lowercase();
        let mut found: BTreeMap<&str, BTreeSet<&'static str>> = BTreeMap::new();
        for (at, head) in text.windows(SHORTEST).enumerate() {
            let head: &[u8; SHORTEST] = head.try_into().unwrap();
            for (value, name, form) in self.by_head.get(head).into_iter().flatten() {
                if text[at..].starts_with(form.as_bytes()) {
                    found.entry(&self.values[*value]).or_default().insert(name);
                }
            }
        }
        found
    }
}

#[test]
fn each_form_is_found_and_nothing_else() {
    let needles = Needles::new(["Jane.Doe@Example.org", "another value"]);
    let value = "Jane.Doe@Example.org";
    for (text, name) in [
        (format!("x{value}y"), "raw"),
        (value.to_lowercase(), "raw"),
        (value.to_uppercase(), "raw"),
        ("4a616E652e446f65404578616d706c652e6f7267".to_owned(), "hex"),
        ("SmFuZS5Eb2VARXhhbXBsZS5vcmc=".to_owned(), "base64"),
        // The same behind "ab " and behind "x".
        (STANDARD_NO_PAD.encode(format!("ab {value}")), "base64"),
        (STANDARD_NO_PAD.encode(format!("x{value}, and more")), "base64"),
        (URL_SAFE_NO_PAD.encode(value.to_lowercase()), "base64"),
        ("Jane.Doe%40Example.org".to_owned(), "URL"),
        ("%4A%61%6E%65%2E%44%6F%65%40%45%78%61%6D%70%6C%65%2E%6F%72%67".to_owned(), "URL"),
        (hex(&Md5::digest(value)), "MD5"),
        (hex(&Sha256::digest(value.to_lowercase())).to_uppercase(), "SHA-256"),
        (STANDARD_NO_PAD.encode(Sha256::digest(value)), "SHA-256"),
    ] {
        let found = needles.found(&text);
        assert_eq!(found.get(value).map(|forms| forms.contains(name)), Some(true), "{name}: {text}: {found:?}");
        assert_eq!(found.len(), 1);
    }
    assert!(needles.found("jane@example.org, Jane Doe, 4a616e65").is_empty());
}
