//! Multipart uploads, as strict as S3: a part must be what its checksums say, and Complete must name every part by
//! its ETag, in order, each of at least 5 MiB but the last.

use std::sync::Arc;

use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};
use uuid::Uuid;

use super::body::{Claims, Received, hex, receive, send};
use super::checksums::{ALGORITHMS, Sums, sums_from, sums_into};
use super::disk::{Bucket, Object, Part, Upload, UploadRecord};
use super::internal;
use super::objects::{attributes_from, copy_source};
use super::service::{Files, blocking};
use super::shelf::{Condition, check_key, now_ms, strong, timestamp};

/// The smallest part that is not the last.
const MIN_PART: u64 = 5 * 1024 * 1024;
/// The largest part.
const MAX_PART: u64 = 5 * 1024 * 1024 * 1024;

fn part_number(number: i32) -> S3Result<u16> {
    match u16::try_from(number) {
        Ok(number @ 1..=10_000) => Ok(number),
        _ => Err(s3_error!(InvalidArgument, "a part number is from 1 to 10000")),
    }
}

fn upload<'a>(bucket: &'a Bucket, key: &str, id: &str) -> S3Result<&'a Upload> {
    bucket.uploads.get(id).filter(|upload| upload.record.key == key).ok_or_else(|| s3_error!(NoSuchUpload))
}

/// Checks the parts that Complete names against those that have arrived, and gives them in order.
fn chosen(upload: &Upload, named: &[CompletedPart]) -> S3Result<Vec<Part>> {
    if named.is_empty() {
        return Err(s3_error!(MalformedXML, "Complete names no part"));
    }
    let mut parts: Vec<Part> = Vec::with_capacity(named.len());
    for name in named {
        let number = part_number(name.part_number.unwrap_or(0))?;
        if parts.last().is_some_and(|last| last.number >= number) {
            return Err(s3_error!(InvalidPartOrder, "parts are named in rising order of their numbers"));
        }
        let part = upload.parts.get(&number).ok_or_else(|| s3_error!(InvalidPart, "part {number} was not uploaded"))?;
        if name.e_tag.as_ref().map(ETag::value) != Some(part.etag.as_str()) {
            return Err(s3_error!(InvalidPart, "part {number} has another ETag"));
        }
        let claimed = sums_from!(name);
        if let Some(algorithm) = &upload.record.algorithm
            && claimed.get(algorithm).is_none()
        {
            return Err(s3_error!(InvalidRequest, "Complete must give the {algorithm} checksum of part {number}"));
        }
        if part.sums.verify(&claimed).is_err() {
            return Err(s3_error!(InvalidPart, "part {number} has another checksum"));
        }
        parts.push(part.clone());
    }
    let (_, all_but_last) = parts.split_last().ok_or_else(|| s3_error!(MalformedXML))?;
    if let Some(part) = all_but_last.iter().find(|part| part.size < MIN_PART) {
        return Err(s3_error!(EntityTooSmall, "part {} has {} bytes, fewer than {MIN_PART}", part.number, part.size));
    }
    Ok(parts)
}

/// `md5 of the parts' md5s-count`, as S3 makes the ETag of a multipart object.
fn multipart_etag(parts: &[Part]) -> S3Result<String> {
    let mut md5 = Md5::new();
    for part in parts {
        let digits = part.etag.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
        let bytes: Result<Vec<u8>, _> = digits.map(|pair| u8::from_str_radix(pair, 16)).collect();
        md5.update(&bytes.map_err(internal)?);
    }
    Ok(format!("{}-{}", hex(&md5.finalize()), parts.len()))
}

impl Files {
    pub(super) async fn create_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        check_key(&input.key)?;
        let algorithm = input.checksum_algorithm.as_ref().map(|algorithm| algorithm.as_str().to_owned());
        if algorithm.as_ref().is_some_and(|algorithm| !ALGORITHMS.contains(&algorithm.as_str())) {
            return Err(s3_error!(InvalidRequest, "x-amz-checksum-algorithm is not one that S3 knows"));
        }
        let record = UploadRecord {
            id: Uuid::new_v4().simple().to_string(),
            key: input.key.clone(),
            attributes: attributes_from!(input),
            algorithm,
            started_ms: now_ms(),
        };
        let id = record.id.clone();
        let shelf = Arc::clone(&self.shelf);
        let bucket = input.bucket.clone();
        blocking(move || shelf.with(&bucket, |bucket| bucket.open_upload(record).map_err(internal))).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: input.checksum_type,
            ..Default::default()
        }))
    }

    /// The folder for a part's bytes, and the checksum that its upload wants of every part.
    fn expects(&self, bucket: &str, key: &str, id: &str) -> S3Result<(std::path::PathBuf, Option<String>)> {
        self.shelf.with(bucket, |bucket| {
            let algorithm = upload(bucket, key, id)?.record.algorithm.clone();
            Ok((bucket.data_dir(), algorithm))
        })
    }

    async fn keep_part(&self, bucket: String, id: String, number: u16, received: Received) -> S3Result<Part> {
        if received.size > MAX_PART {
            return Err(s3_error!(EntityTooLarge));
        }
        let part = Part {
            number,
            etag: received.md5,
            modified_ms: now_ms(),
            sums: received.sums,
            file: received.file,
            size: received.size,
        };
        let shelf = Arc::clone(&self.shelf);
        let kept = part.clone();
        let there =
            blocking(move || shelf.with(&bucket, |bucket| bucket.put_part(&id, kept).map_err(internal))).await?;
        if there { Ok(part) } else { Err(s3_error!(NoSuchUpload)) }
    }

    pub(super) async fn put_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let mut input = req.input;
        let number = part_number(input.part_number)?;
        let (dir, algorithm) = self.expects(&input.bucket, &input.key, &input.upload_id)?;
        let claims = Claims {
            length: input.content_length.and_then(|length| u64::try_from(length).ok()),
            md5: input.content_md5.clone(),
            sums: sums_from!(input),
            trailer: Claims::announced(&req.headers),
            also: None,
        };
        if let Some(algorithm) = &algorithm
            && claims.sums.get(algorithm).is_none()
            && claims.trailer != Some(algorithm.as_str())
        {
            return Err(s3_error!(InvalidRequest, "every part of this upload must come with its {algorithm} checksum"));
        }
        let received = receive(&dir, input.body.take(), claims, req.trailing_headers).await?;
        let part = self.keep_part(input.bucket, input.upload_id, number, received).await?;
        let mut output = UploadPartOutput { e_tag: strong(&part.etag), ..Default::default() };
        sums_into!(output, part.sums);
        Ok(S3Response::new(output))
    }

    pub(super) async fn copy_part(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = req.input;
        let number = part_number(input.part_number)?;
        let (bucket, key) = copy_source(&input.copy_source)?;
        let source = self.shelf.object(bucket, key)?;
        if let Some(ETagCondition::ETag(etag)) = &input.copy_source_if_match
            && etag.value() != source.etag
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let range = match &input.copy_source_range {
            None => 0..source.size(),
            Some(text) => {
                let range =
                    s3s::dto::Range::parse(text).map_err(|_| s3_error!(InvalidArgument, "x-amz-copy-source-range"))?;
                range.check(source.size())?
            }
        };
        let (dir, algorithm) = self.expects(&input.bucket, &input.key, &input.upload_id)?;
        let claims = Claims { length: Some(range.end - range.start), also: algorithm, ..Claims::default() };
        let received = receive(&dir, Some(send(source, range)), claims, None).await?;
        let part = self.keep_part(input.bucket, input.upload_id, number, received).await?;
        let mut result = CopyPartResult {
            e_tag: strong(&part.etag),
            last_modified: Some(timestamp(part.modified_ms)),
            ..Default::default()
        };
        sums_into!(result, part.sums);
        Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() }))
    }

    pub(super) async fn complete_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let condition = Condition::of(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let shelf = Arc::clone(&self.shelf);
        let (bucket_name, key, id, size) =
            (input.bucket.clone(), input.key.clone(), input.upload_id, input.mpu_object_size);
        let work = move || {
            shelf.with(&bucket_name, |bucket| {
                let upload = upload(bucket, &key, &id)?;
                let parts = chosen(upload, &named)?;
                if size.is_some_and(|size| u64::try_from(size).ok() != Some(parts.iter().map(|part| part.size).sum())) {
                    return Err(s3_error!(InvalidRequest, "the parts are not as long as x-amz-mp-object-size says"));
                }
                condition.check(bucket.objects.get(&key))?;
                let mut sums = Sums::default();
                if let Some(algorithm) = &upload.record.algorithm
                    && let Some(sum) = Sums::composite(algorithm, parts.iter().map(|part| &part.sums))
                {
                    sums.set(algorithm, sum);
                }
                let object = Object {
                    key,
                    etag: multipart_etag(&parts)?,
                    modified_ms: now_ms(),
                    attributes: upload.record.attributes.clone(),
                    sums,
                    files: parts.into_iter().map(|part| (part.file, part.size)).collect(),
                };
                bucket.close_upload(&id, Some(object)).map_err(internal)
            })
        };
        let object = blocking(work).await?.ok_or_else(|| s3_error!(InternalError))?;
        let mut output = CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: strong(&object.etag),
            ..Default::default()
        };
        sums_into!(output, object.sums);
        Ok(S3Response::new(output))
    }

    pub(super) async fn abort_upload(&self, input: AbortMultipartUploadInput) -> S3Result<()> {
        let shelf = Arc::clone(&self.shelf);
        let work = move || {
            shelf.with(&input.bucket, |bucket| {
                upload(bucket, &input.key, &input.upload_id)?;
                bucket.close_upload(&input.upload_id, None).map_err(internal)
            })
        };
        blocking(work).await.map(|_| ())
    }
}
