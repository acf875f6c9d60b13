//! Channel binding: a proof of the password that holds for one TLS connection only, so that nobody in the middle can
//! use it. It covers a hash of the server's certificate, `tls-server-end-point` of RFC 5929.

use sha2::{Digest, Sha256, Sha384, Sha512};

/// What a proof can be bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Binding {
    /// To nothing: there is no TLS, or its certificate has no hash that both sides agree on.
    Impossible,
    /// To this hash.
    EndPoint(Vec<u8>),
}

impl Binding {
    /// The binding to a certificate, by the hash of its own signature; for MD5 and SHA-1 SHA-256 stands in. Of an
    /// algorithm without such a hash, or one that is not listed here, the RFC leaves open what to do: nothing is bound.
    pub(super) fn of(certificate: &[u8]) -> Self {
        match signature_algorithm(certificate) {
            // RSA (1.2.840.113549.1.1) with MD5, SHA-1 or SHA-256; ECDSA (1.2.840.10045.4) with SHA-1 or SHA-256.
            Some([.., 0x86, 0xf7, 0x0d, 1, 1, 4 | 5 | 11] | [.., 0xce, 0x3d, 4, 1] | [.., 0xce, 0x3d, 4, 3, 2]) => {
                Self::EndPoint(Sha256::digest(certificate).to_vec())
            }
            Some([.., 0x86, 0xf7, 0x0d, 1, 1, 12] | [.., 0xce, 0x3d, 4, 3, 3]) => {
                Self::EndPoint(Sha384::digest(certificate).to_vec())
            }
            Some([.., 0x86, 0xf7, 0x0d, 1, 1, 13] | [.., 0xce, 0x3d, 4, 3, 4]) => {
                Self::EndPoint(Sha512::digest(certificate).to_vec())
            }
            _ => Self::Impossible,
        }
    }
}

/// The object identifier of the algorithm that a certificate is signed with: of the outer sequence the second item,
/// and of that the first.
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (0x30, outer, _) = item(certificate)? else { return None };
    let (0x30, _, after) = item(outer)? else { return None };
    let (0x30, algorithm, _) = item(after)? else { return None };
    let (0x06, identifier, _) = item(algorithm)? else { return None };
    Some(identifier)
}

/// The first item of DER: its tag, its content, and what follows.
fn item(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, short], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            (length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}
