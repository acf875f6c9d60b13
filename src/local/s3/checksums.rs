//! The checksums that S3 knows: computed while bytes pass, compared with what a client claims, told when asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::Checksum as _;
use s3s::{S3Error, S3Result, s3_error};
use serde::{Deserialize, Serialize};

/// The algorithms, as they are written in `x-amz-checksum-algorithm`.
pub(super) const ALGORITHMS: [&str; 5] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];

/// Checksums by algorithm, in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) crc32: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) crc32c: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) crc64nvme: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha1: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
}

impl Sums {
    /// The checksum of this algorithm.
    pub(super) fn get(&self, algorithm: &str) -> Option<&String> {
        match algorithm {
            "CRC32" => self.crc32.as_ref(),
            "CRC32C" => self.crc32c.as_ref(),
            "CRC64NVME" => self.crc64nvme.as_ref(),
            "SHA1" => self.sha1.as_ref(),
            "SHA256" => self.sha256.as_ref(),
            _ => None,
        }
    }

    pub(super) fn set(&mut self, algorithm: &str, value: String) {
        let slot = match algorithm {
            "CRC32" => &mut self.crc32,
            "CRC32C" => &mut self.crc32c,
            "CRC64NVME" => &mut self.crc64nvme,
            "SHA1" => &mut self.sha1,
            "SHA256" => &mut self.sha256,
            _ => return,
        };
        *slot = Some(value);
    }

    /// A hasher for every algorithm that `wanted` accepts.
    pub(super) fn hasher(wanted: impl Fn(&str) -> bool) -> ChecksumHasher {
        ChecksumHasher {
            crc32: wanted("CRC32").then(s3s::crypto::Crc32::new),
            crc32c: wanted("CRC32C").then(s3s::crypto::Crc32c::new),
            crc64nvme: wanted("CRC64NVME").then(s3s::crypto::Crc64Nvme::new),
            sha1: wanted("SHA1").then(s3s::crypto::Sha1::new),
            sha256: wanted("SHA256").then(s3s::crypto::Sha256::new),
        }
    }

    /// What a hasher found.
    pub(super) fn of(hasher: ChecksumHasher) -> Self {
        let found = hasher.finalize();
        Self {
            crc32: found.checksum_crc32,
            crc32c: found.checksum_crc32c,
            crc64nvme: found.checksum_crc64nvme,
            sha1: found.checksum_sha1,
            sha256: found.checksum_sha256,
        }
    }

    /// Refuses a claim that differs from what was found.
    pub(super) fn verify(&self, claimed: &Sums) -> S3Result<()> {
        for algorithm in ALGORITHMS {
            if let Some(claim) = claimed.get(algorithm)
                && self.get(algorithm) != Some(claim)
            {
                return Err(mismatch(algorithm));
            }
        }
        Ok(())
    }

    /// The checksum of checksums that a multipart object has, such as `…==-3`, or `None` if a part lacks one.
    pub(super) fn composite<'a>(algorithm: &str, parts: impl Iterator<Item = &'a Sums>) -> Option<String> {
        let mut hasher = Self::hasher(|other| other == algorithm);
        let mut count = 0;
        for part in parts {
            hasher.update(&STANDARD.decode(part.get(algorithm)?).ok()?);
            count += 1;
        }
        Self::of(hasher).get(algorithm).map(|sum| format!("{sum}-{count}"))
    }
}

/// The bytes are not those that the client promised.
pub(super) fn mismatch(algorithm: &str) -> S3Error {
    s3_error!(BadDigest, "the {algorithm} checksum that was sent does not match the body")
}

/// Copies the five optional checksum fields between a request or response of s3s and [`Sums`].
macro_rules! sums_from {
    ($input:expr) => {
        $crate::local::s3::checksums::Sums {
            crc32: $input.checksum_crc32.clone(),
            crc32c: $input.checksum_crc32c.clone(),
            crc64nvme: $input.checksum_crc64nvme.clone(),
            sha1: $input.checksum_sha1.clone(),
            sha256: $input.checksum_sha256.clone(),
        }
    };
}

/// Fills the five optional checksum fields of a response of s3s.
macro_rules! sums_into {
    ($output:expr, $sums:expr) => {{
        let sums: $crate::local::s3::checksums::Sums = $sums.clone();
        $output.checksum_crc32 = sums.crc32;
        $output.checksum_crc32c = sums.crc32c;
        $output.checksum_crc64nvme = sums.crc64nvme;
        $output.checksum_sha1 = sums.sha1;
        $output.checksum_sha256 = sums.sha256;
    }};
}

pub(super) use {sums_from, sums_into};
