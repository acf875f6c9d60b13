//! GraphiQL, out of this binary: the page asks no other host for anything, and its policy forbids it to.

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// Scripts and styles come from here alone, and none stand in the page. (A dialog of GraphiQL wants to add a style
/// that keeps the page behind it from scrolling. It is refused, and the page does not scroll anyway.)
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self' data:; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

struct Asset {
    name: &'static str,
    content_type: &'static str,
    /// Packed with gzip, which every browser reads.
    packed: bool,
    bytes: &'static [u8],
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

const ASSETS: [Asset; 6] = [
    Asset { name: "init.js", content_type: SCRIPT, packed: false, bytes: include_bytes!("init.js") },
    Asset { name: "page.css", content_type: STYLE, packed: false, bytes: include_bytes!("page.css") },
    Asset {
        name: "react.js",
        content_type: SCRIPT,
        packed: true,
        bytes: include_bytes!("vendor/react.production.min.js.gz"),
    },
    Asset {
        name: "react-dom.js",
        content_type: SCRIPT,
        packed: true,
        bytes: include_bytes!("vendor/react-dom.production.min.js.gz"),
    },
    Asset {
        name: "graphiql.js",
        content_type: SCRIPT,
        packed: true,
        bytes: include_bytes!("vendor/graphiql.min.js.gz"),
    },
    Asset {
        name: "graphiql.css",
        content_type: STYLE,
        packed: true,
        bytes: include_bytes!("vendor/graphiql.min.css.gz"),
    },
];

/// `GET /graphql`.
pub(super) async fn page() -> Response {
    let mut response = include_str!("index.html").into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// `GET /graphql/assets/{name}`.
pub(super) async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let asset = ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .ok_or_else(|| Problem::bad(StatusCode::NOT_FOUND, "GraphiQL has no such file"))?;
    let mut response = asset.bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    if asset.packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}
