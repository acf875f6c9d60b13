//! Operations on whole objects.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::body::{Claims, receive, send};
use super::checksums::{sums_from, sums_into};
use super::disk::{Attributes, DataFile, Object};
use super::internal;
use super::service::{Files, blocking};
use super::shelf::{Condition, check_key, now_ms, strong, timestamp};

/// The fields in which requests carry an object's attributes have the same names everywhere.
macro_rules! attributes_from {
    ($input:expr) => {
        $crate::local::s3::disk::Attributes {
            content_type: $input.content_type.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $input.content_encoding.clone(),
            content_language: $input.content_language.clone(),
            cache_control: $input.cache_control.clone(),
            metadata: $input.metadata.clone().unwrap_or_default().into_iter().collect(),
        }
    };
}
pub(super) use attributes_from;

macro_rules! describe {
    ($output:ident, $object:expr) => {{
        let object: &Object = $object;
        let attributes = object.attributes.clone();
        $output.accept_ranges = Some("bytes".to_owned());
        $output.e_tag = strong(&object.etag);
        $output.last_modified = Some(timestamp(object.modified_ms));
        $output.content_type = attributes.content_type.or_else(|| Some("binary/octet-stream".to_owned()));
        $output.content_disposition = attributes.content_disposition;
        $output.content_encoding = attributes.content_encoding;
        $output.content_language = attributes.content_language;
        $output.cache_control = attributes.cache_control;
        $output.metadata = metadata(attributes.metadata);
    }};
}

fn metadata(metadata: BTreeMap<String, String>) -> Option<Metadata> {
    (!metadata.is_empty()).then(|| metadata.into_iter().collect())
}

fn length(size: u64) -> S3Result<Option<i64>> {
    Ok(Some(i64::try_from(size).map_err(internal)?))
}

/// The part of an object that a request wants, and the `Content-Range` to say so.
fn wanted(range: Option<s3s::dto::Range>, size: u64) -> S3Result<(Range<u64>, Option<String>)> {
    let Some(range) = range else { return Ok((0..size, None)) };
    let range = range.check(size)?;
    let text = format!("bytes {}-{}/{size}", range.start, range.end - 1);
    Ok((range, Some(text)))
}

/// The conditions of a read.
fn may_read(object: &Object, if_match: Option<&ETagCondition>, if_none: Option<&ETagCondition>) -> S3Result<()> {
    let is = |condition: &ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.value() == object.etag,
    };
    if if_match.is_some_and(|condition| !is(condition)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if if_none.is_some_and(is) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

/// Where a copy comes from.
pub(super) fn copy_source(source: &CopySource) -> S3Result<(&str, &str)> {
    match source {
        CopySource::Bucket { bucket, key, .. } => Ok((bucket, key)),
        _ => Err(s3_error!(NotImplemented, "a copy's source is written bucket/key")),
    }
}

/// A second name for a data file's bytes, which never change; a real copy where the file system has no second names.
pub(super) fn duplicate(dir: &Path, file: &DataFile) -> std::io::Result<Arc<DataFile>> {
    let copy = DataFile::unused(dir);
    if std::fs::hard_link(file.path(), copy.path()).is_err() {
        std::fs::copy(file.path(), copy.path())?;
    }
    Ok(copy)
}

impl Files {
    pub(super) async fn put(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = req.input;
        check_key(&input.key)?;
        let condition = Condition::of(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let dir = self.shelf.with(&input.bucket, |bucket| {
            // Early, to spare the body; what decides is the check when the object is put.
            condition.check(bucket.objects.get(&input.key))?;
            Ok(bucket.data_dir())
        })?;
        let claims = Claims {
            length: input.content_length.and_then(|length| u64::try_from(length).ok()),
            md5: input.content_md5.clone(),
            sums: sums_from!(input),
            trailer: Claims::announced(&req.headers),
            also: None,
        };
        let received = receive(&dir, input.body.take(), claims, req.trailing_headers).await?;
        let object = Object {
            key: input.key.clone(),
            etag: received.md5,
            modified_ms: now_ms(),
            attributes: attributes_from!(input),
            sums: received.sums,
            files: vec![(received.file, received.size)],
        };
        let shelf = Arc::clone(&self.shelf);
        let object = blocking(move || shelf.put(&input.bucket, object, &condition)).await?;
        let mut output = PutObjectOutput { e_tag: strong(&object.etag), ..Default::default() };
        sums_into!(output, object.sums);
        Ok(S3Response::new(output))
    }

    pub(super) async fn get(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let object = self.shelf.object(&input.bucket, &input.key)?;
        may_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let (range, content_range) = wanted(input.range, object.size())?;
        let mut output = GetObjectOutput::default();
        describe!(output, &object);
        if content_range.is_none() {
            sums_into!(output, object.sums);
        }
        output.content_length = length(range.end - range.start)?;
        output.content_range = content_range;
        output.body = Some(send(object, range));
        // The overriding `response-…` parameters are put in by s3s, from the signed query.
        Ok(S3Response::new(output))
    }

    pub(super) async fn head(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let object = self.shelf.object(&input.bucket, &input.key)?;
        may_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let (range, content_range) = wanted(input.range, object.size())?;
        let mut output = HeadObjectOutput::default();
        describe!(output, &object);
        sums_into!(output, object.sums);
        output.content_length = length(range.end - range.start)?;
        output.content_range = content_range;
        Ok(S3Response::new(output))
    }

    pub(super) async fn copy(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = req.input;
        check_key(&input.key)?;
        let (bucket, key) = copy_source(&input.copy_source)?;
        let source = self.shelf.object(bucket, key)?;
        may_read(&source, input.copy_source_if_match.as_ref(), input.copy_source_if_none_match.as_ref())?;
        let replace = input.metadata_directive.as_ref().is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
        let attributes: Attributes = if replace { attributes_from!(input) } else { source.attributes.clone() };
        let dir = self.shelf.data_dir(&input.bucket)?;
        let shelf = Arc::clone(&self.shelf);
        let object = blocking(move || {
            let mut files = Vec::with_capacity(source.files.len());
            for (file, size) in &source.files {
                files.push((duplicate(&dir, file).map_err(internal)?, *size));
            }
            // S3 reads the object again, for an ETag and a checksum of the whole; here a copy keeps its source's, and
            // costs the same however large the object is.
            let object = Object {
                key: input.key.clone(),
                etag: source.etag.clone(),
                modified_ms: now_ms(),
                attributes,
                sums: source.sums.clone(),
                files,
            };
            shelf.put(&input.bucket, object, &Condition::Always)
        });
        let object = object.await?;
        let mut result = CopyObjectResult {
            e_tag: strong(&object.etag),
            last_modified: Some(timestamp(object.modified_ms)),
            ..Default::default()
        };
        sums_into!(result, object.sums);
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    pub(super) async fn delete(&self, bucket: String, key: String) -> S3Result<()> {
        let shelf = Arc::clone(&self.shelf);
        blocking(move || shelf.with(&bucket, |bucket| bucket.remove(&key).map_err(internal))).await
    }

    pub(super) async fn delete_many(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut deleted = Vec::new();
        for object in req.input.delete.objects {
            self.delete(req.input.bucket.clone(), object.key.clone()).await?;
            deleted.push(DeletedObject { key: Some(object.key), ..Default::default() });
        }
        let quiet = req.input.delete.quiet.unwrap_or(false);
        Ok(S3Response::new(DeleteObjectsOutput { deleted: (!quiet).then_some(deleted), ..Default::default() }))
    }
}
