//! The end of a multipart upload, the one request whose repetition looks like a failure: the first try may have
//! succeeded although its answer was lost, and the second then finds no upload. So an unclear answer is settled by the
//! object.

use std::time::Duration;

use aws_sdk_s3::types::{ChecksumMode, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use super::errors::Fault;
use super::{S3Store, attempts_of};
use crate::storage::{ObjectKey, ObjectMeta, ObjectStore, StorageError, UploadId, UploadedPart};

/// Putting thousands of parts together takes S3 minutes.
const TIME: Duration = Duration::from_secs(180);

impl S3Store {
    pub(super) async fn complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        size: u64,
    ) -> Result<ObjectMeta, StorageError> {
        let expected = Expected::of(parts, size);
        let named = parts.iter().map(|part| {
            // A part that the store copied itself may come without a checksum.
            let sum = Some(part.crc32c.clone()).filter(|sum| !sum.is_empty());
            let named = CompletedPart::builder().part_number(part.number.into()).e_tag(&part.etag);
            named.set_checksum_crc32_c(sum).build()
        });
        let named = CompletedMultipartUpload::builder().set_parts(Some(named.collect())).build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(&upload.0)
            .multipart_upload(named)
            .set_mpu_object_size(i64::try_from(size).ok())
            .customize()
            .config_override(attempts_of(TIME));
        let fault = match request.send().await {
            Ok(answer) if answer.e_tag().is_some() => {
                let etag = answer.e_tag().unwrap_or_default();
                expected.compare(None, etag, answer.checksum_crc32_c()).map_err(|detail| corrupt(key, detail))?;
                return Ok(ObjectMeta { size, etag: etag.to_owned() });
            }
            // 200, but not the answer to Complete.
            Ok(_) => Fault::transport("an answer without an ETag"),
            Err(error) => Fault::of(&error),
        };
        if fault.is_final() {
            return Err(self.error(fault, "complete the upload of", key));
        }
        self.settle(key, upload, fault, &expected).await
    }

    /// Looks whether the object is there, and is the one that the parts make.
    async fn settle(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        fault: Fault,
        expected: &Expected,
    ) -> Result<ObjectMeta, StorageError> {
        let look =
            self.client.head_object().bucket(&self.bucket).key(key.as_str()).checksum_mode(ChecksumMode::Enabled);
        match look.send().await {
            Ok(answer) => {
                let size = answer.content_length().and_then(|size| u64::try_from(size).ok());
                let etag = answer.e_tag().unwrap_or_default();
                if expected.compare(size, etag, answer.checksum_crc32_c()).is_ok() {
                    return Ok(ObjectMeta { size: expected.size, etag: etag.to_owned() });
                }
                // Something else has this name, an earlier object perhaps: ours is not there.
            }
            Err(error) if Fault::of(&error).not_found() => self.check().await?,
            Err(error) => return Err(self.error(Fault::of(&error), "look at", key)),
        }
        // Whether trying again can help: not if the upload is gone.
        let parts = self.client.list_parts().bucket(&self.bucket).key(key.as_str()).upload_id(&upload.0).max_parts(1);
        let fault = match parts.send().await.map_err(|error| Fault::of(&error)) {
            Err(gone) if gone.is("NoSuchUpload") => gone,
            _ => fault,
        };
        Err(self.error(fault, "complete the upload of", key))
    }
}

fn corrupt(key: &ObjectKey, detail: &'static str) -> StorageError {
    StorageError::Corrupt { key: key.to_string(), detail: detail.to_owned() }
}

/// What the object must be that these parts make.
#[derive(Debug)]
struct Expected {
    size: u64,
    count: usize,
    /// `md5 of md5s-count`, where the parts' ETags are MD5s; with server-side encryption by keys they are not.
    etag: Option<String>,
    crc32c: Option<String>,
}

impl Expected {
    fn of(parts: &[UploadedPart], size: u64) -> Self {
        let etag = parts.iter().try_fold(Md5::new(), |md5, part| Some(md5.chain_update(unhex(&part.etag)?)));
        let sums = parts.iter().try_fold(0_u32, |crc, part| {
            let sum = STANDARD.decode(&part.crc32c).ok().filter(|sum| sum.len() == 4)?;
            Some(crc32c::crc32c_append(crc, &sum))
        });
        let count = parts.len();
        let hex = |md5: Md5| md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self {
            size,
            count,
            etag: etag.map(|md5| format!("{}-{count}", hex(md5))),
            crc32c: sums.map(|sum| format!("{}-{count}", STANDARD.encode(sum.to_be_bytes()))),
        }
    }

    /// Compares what the store tells. A difference in anything that can be compared is one; a checksum is the better
    /// witness than an ETag, which is opaque by contract.
    fn compare(&self, size: Option<u64>, etag: &str, crc32c: Option<&str>) -> Result<(), &'static str> {
        if size.is_some_and(|size| size != self.size) {
            return Err("the object has another size");
        }
        if let (Some(expected), Some(found)) = (&self.crc32c, crc32c.filter(|sum| sum.contains('-'))) {
            return if expected == found { Ok(()) } else { Err("the object has another CRC-32C") };
        }
        let etag = etag.trim_matches('"');
        match &self.etag {
            Some(expected) if expected != etag => Err("the object has another ETag"),
            None if !etag.ends_with(&format!("-{}", self.count)) => Err("the object has another number of parts"),
            _ => Ok(()),
        }
    }
}

/// The bytes of an ETag that is an MD5.
fn unhex(etag: &str) -> Option<Vec<u8>> {
    let digits = etag.trim_matches('"');
    if digits.len() != 32 || !digits.is_ascii() {
        return None;
    }
    (0..32).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u16, etag: &str, crc32c: &str) -> UploadedPart {
        UploadedPart { number, etag: format!("\"{etag}\""), crc32c: crc32c.to_owned() }
    }

    #[test]
    fn an_object_is_ours_when_everything_that_can_be_compared_agrees() {
        // MD5 and CRC-32C of "hello" and of "world".
        let parts = [
            part(1, "5d41402abc4b2a76b9719d911017c592", "mnG7TA=="),
            part(2, "7d793037a0760186574b0282f2f435e7", "MaqBTg=="),
        ];
        let expected = Expected::of(&parts, 10);
        let etag = expected.etag.clone().unwrap();
        let sum = expected.crc32c.clone().unwrap();
        assert!(etag.ends_with("-2") && sum.ends_with("==-2"));
        assert!(expected.compare(Some(10), &format!("\"{etag}\""), Some(&sum)).is_ok());
        assert!(expected.compare(Some(10), &etag, None).is_ok());
        // An encrypting store has other ETags; the checksum decides.
        assert!(expected.compare(Some(10), "\"0123-2\"", Some(&sum)).is_ok());
        assert!(expected.compare(Some(11), &etag, Some(&sum)).is_err());
        assert!(expected.compare(Some(10), &etag, Some("AAAAAA==-2")).is_err());
        assert!(expected.compare(Some(10), "\"5d41402abc4b2a76b9719d911017c592-2\"", None).is_err());
        // A checksum of the whole object cannot be compared with ours of the parts.
        assert!(expected.compare(Some(10), &etag, Some("AAAAAA==")).is_ok());

        let opaque = Expected::of(&[part(1, "not-an-md5", "mnG7TA==")], 5);
        assert!(opaque.compare(Some(5), "\"x-1\"", None).is_ok());
        assert!(opaque.compare(Some(5), "\"x-2\"", None).is_err());
    }
}
