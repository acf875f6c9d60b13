//! Lists: objects by prefix and delimiter, open uploads, parts.

use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3Result, s3_error};

use super::checksums::sums_into;
use super::service::Files;
use super::shelf::{strong, timestamp};

const PAGE: i32 = 1000;
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A page's size: what was asked for, at most 1,000.
fn page(asked: Option<i32>) -> S3Result<usize> {
    usize::try_from(asked.unwrap_or(PAGE).min(PAGE))
        .map_err(|_| s3_error!(InvalidArgument, "a page has no negative size"))
}

/// Writes keys as the client wants them: as they are, or percent-encoded.
fn writer(encoding: Option<&EncodingType>) -> impl Fn(&str) -> String + use<> {
    let encode = encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL);
    move |key| if encode { utf8_percent_encode(key, KEPT).to_string() } else { key.to_owned() }
}

/// The common prefix that a key is listed under, if a delimiter follows the prefix in it.
fn group<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let at = key[prefix.len()..].find(delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}

impl Files {
    pub(super) fn list(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        let limit = page(input.max_keys)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let delimiter = input.delimiter.as_deref();
        let write = writer(input.encoding_type.as_ref());
        let after = match &input.continuation_token {
            Some(token) => decode_token(token)?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let mut contents = Vec::new();
        let mut groups: Vec<String> = Vec::new();
        let mut last = None;
        let truncated = self.shelf.with(&input.bucket, |bucket| {
            let from = if after >= prefix { Bound::Excluded(after.as_str()) } else { Bound::Included(prefix.as_str()) };
            for (key, object) in bucket.objects.range::<str, _>((from, Bound::Unbounded)) {
                if !key.starts_with(&prefix) {
                    break;
                }
                let group = group(key, &prefix, delimiter);
                // A group that an earlier page ended with, or that is listed already.
                if group.is_some_and(|group| group == after || groups.last().is_some_and(|last| last == group)) {
                    continue;
                }
                if contents.len() + groups.len() == limit {
                    return Ok(limit > 0);
                }
                last = Some(group.unwrap_or(key).to_owned());
                match group {
                    Some(group) => groups.push(group.to_owned()),
                    None => contents.push(Object {
                        key: Some(write(key)),
                        size: i64::try_from(object.size()).ok(),
                        e_tag: strong(&object.etag),
                        last_modified: Some(timestamp(object.modified_ms)),
                        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                        ..Default::default()
                    }),
                }
            }
            Ok(false)
        })?;
        let prefixes = groups.iter().map(|group| CommonPrefix { prefix: Some(write(group)) }).collect::<Vec<_>>();
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(write(&prefix)),
            max_keys: i32::try_from(limit).ok(),
            key_count: i32::try_from(contents.len() + prefixes.len()).ok(),
            is_truncated: Some(truncated),
            next_continuation_token: last.filter(|_| truncated).map(|last| URL_SAFE_NO_PAD.encode(last)),
            continuation_token: input.continuation_token,
            start_after: input.start_after,
            delimiter: input.delimiter,
            encoding_type: input.encoding_type,
            contents: (!contents.is_empty()).then_some(contents),
            common_prefixes: (!prefixes.is_empty()).then_some(prefixes),
            ..Default::default()
        })
    }

    pub(super) fn list_uploads(&self, input: ListMultipartUploadsInput) -> S3Result<ListMultipartUploadsOutput> {
        let limit = page(input.max_uploads)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let write = writer(input.encoding_type.as_ref());
        let after = (input.key_marker.clone().unwrap_or_default(), input.upload_id_marker.clone());
        let mut found = self.shelf.with(&input.bucket, |bucket| {
            let uploads = bucket.uploads.values().map(|upload| upload.record.clone());
            Ok(uploads.filter(|upload| upload.key.starts_with(&prefix)).collect::<Vec<_>>())
        })?;
        found.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
        // Without an id, the marker stands behind every upload of its key.
        found.retain(|upload| match &after.1 {
            Some(id) => (&upload.key, &upload.id) > (&after.0, id),
            None => upload.key > after.0,
        });
        let truncated = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| truncated).map(|upload| (write(&upload.key), upload.id.clone()));
        let uploads = found.into_iter().map(|upload| MultipartUpload {
            key: Some(write(&upload.key)),
            upload_id: Some(upload.id),
            initiated: Some(timestamp(upload.started_ms)),
            checksum_algorithm: upload.algorithm.map(ChecksumAlgorithm::from),
            ..Default::default()
        });
        Ok(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            bucket: Some(input.bucket),
            prefix: input.prefix,
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            encoding_type: input.encoding_type,
            max_uploads: i32::try_from(limit).ok(),
            is_truncated: Some(truncated),
            next_key_marker: last.as_ref().map(|last| last.0.clone()),
            next_upload_id_marker: last.map(|last| last.1),
            ..Default::default()
        })
    }

    pub(super) fn list_upload_parts(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let limit = page(input.max_parts)?;
        let after = input.part_number_marker.unwrap_or(0);
        let (mut parts, algorithm) = self.shelf.with(&input.bucket, |bucket| {
            let upload = bucket.uploads.get(&input.upload_id).filter(|upload| upload.record.key == input.key);
            let upload = upload.ok_or_else(|| s3_error!(NoSuchUpload))?;
            let parts =
                upload.parts.values().filter(|part| i32::from(part.number) > after).cloned().collect::<Vec<_>>();
            Ok((parts, upload.record.algorithm.clone()))
        })?;
        let truncated = parts.len() > limit;
        parts.truncate(limit);
        let next = parts.last().filter(|_| truncated).map(|part| part.number.into());
        let parts = parts.into_iter().map(|part| {
            let mut told = s3s::dto::Part {
                part_number: Some(part.number.into()),
                e_tag: strong(&part.etag),
                size: i64::try_from(part.size).ok(),
                last_modified: Some(timestamp(part.modified_ms)),
                ..Default::default()
            };
            sums_into!(told, part.sums);
            told
        });
        Ok(ListPartsOutput {
            parts: Some(parts.collect()),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            checksum_algorithm: algorithm.map(ChecksumAlgorithm::from),
            max_parts: i32::try_from(limit).ok(),
            part_number_marker: input.part_number_marker,
            is_truncated: Some(truncated),
            next_part_number_marker: next,
            ..Default::default()
        })
    }
}

fn decode_token(token: &str) -> S3Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| s3_error!(InvalidArgument, "continuation-token is not one of ours"))
}
