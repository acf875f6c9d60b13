//! The GraphQL schema and how a request reaches it.
//!
//! Resolvers map: arguments to calls of [`crate::jobs::Requests`], jobs to types. What is decided is decided there,
//! or in the document guard before anything runs.

mod errors;
mod guard;
mod http;
mod links;
mod mutation;
mod query;
mod roles;
mod rules;
mod subscription;
mod types;

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Json, Request, Response, SDLExportOptions, Schema, SchemaBuilder, ServerError};
use chrono::{DateTime, Utc};

use self::http::Body;
pub(super) use self::http::answer;
use self::links::Links;
use self::mutation::Mutation;
use self::query::Query;
pub use self::roles::roles;
use self::subscription::{Hub, Subscription};
pub(super) use self::subscription::{Sockets, upgrade};
use super::ApiContext;
use super::auth::{Buckets, Identity};
use super::scope::RequestId;
use crate::error::{ErrorCode, Failure};
use crate::explain::Explainer;
use crate::identity::AuditLog;
use crate::jobs::Requests;
use crate::jobs::coverage::Coverage;
use crate::links::Visitor;
use crate::rules::RuleStore;
use crate::upkeep::exported::Exported;
use crate::upkeep::{Notices, ScheduledRuns, StuckRequests};

type ExporterSchema = Schema<Query, Mutation, Subscription>;

/// Most that the fields of one document may cost together; a page costs its length times its fields. The links of a
/// request count most by far: they are signed one by one, and can be hundreds of a kilobyte each.
const MOST_COMPLEXITY: usize = 20_000;

fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query, Mutation, Subscription)
        .override_output_type_description::<DateTime<Utc>>("An instant in UTC, in the format of RFC 3339.")
        .override_output_type_description::<Json<()>>("Any JSON value.")
}

/// The schema in the GraphQL schema definition language; `schema.graphql` holds the same text.
pub fn sdl() -> String {
    let options = SDLExportOptions::new().prefer_single_line_descriptions().use_space_ident();
    let text = builder().finish().sdl_with_options(options);
    // The exporter leaves blanks at the ends of some lines; a committed file has none.
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Runs documents against the schema.
#[derive(Clone)]
pub(super) struct Endpoint {
    schema: ExporterSchema,
    introspection: bool,
    request_timeout: Duration,
    buckets: Arc<Buckets>,
}

impl Endpoint {
    pub(super) fn new(context: &ApiContext) -> Self {
        let mut schema = builder()
            .extension(roles::Roles)
            .limit_complexity(MOST_COMPLEXITY)
            .limit_depth(guard::MOST_DEPTH)
            .limit_directives(guard::MOST_DIRECTIVES)
            .data::<Requests>(context.requests.clone())
            .data::<AuditLog>(context.audit.clone())
            .data::<RuleStore>(context.rules.clone())
            .data::<Explainer>(context.explainer.clone())
            .data::<Coverage>(context.coverage.clone())
            .data::<Exported>(context.exported.clone())
            .data::<StuckRequests>(context.stuck.clone())
            .data::<ScheduledRuns>(context.runs.clone())
            .data::<Notices>(context.notices.clone())
            .data(Hub::new(context.requests.clone()))
            .data(Links {
                book: context.link_book.clone(),
                store: context.store.clone(),
                settings: context.links.clone(),
            });
        if !context.introspection {
            schema = schema.disable_introspection().disable_suggestions();
        }
        Self {
            schema: schema.finish(),
            introspection: context.introspection,
            request_timeout: context.request_timeout,
            buckets: Arc::new(Buckets::new(context.rate)),
        }
    }

    /// Answers one document as this identity. The flag says whether the time for it ran out.
    async fn run(&self, body: Body, identity: Identity, visitor: Visitor, id: &RequestId) -> (Response, bool) {
        let mut timed_out = false;
        let mut response = match guard::check(&body.query, self.introspection) {
            Err(refused) => Response::from_errors(vec![refused]),
            Ok(document) => {
                let mut request = Request::new(body.query).variables(body.variables).data(identity).data(visitor);
                request.operation_name = body.operation_name;
                request.set_parsed_query(document);
                match tokio::time::timeout(self.request_timeout, self.schema.execute(request)).await {
                    Ok(response) => response,
                    Err(_) => {
                        timed_out = true;
                        Response::from_errors(vec![self.too_slow()])
                    }
                }
            }
        };
        errors::finish(&mut response, id);
        (response, timed_out)
    }

    /// Takes one request from what this identity may send.
    fn admit(&self, identity: &Identity, id: &RequestId) -> Result<(), Box<TooMuch>> {
        self.buckets.take(identity).map_err(|wait| {
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            let mut response = Response::from_errors(vec![errors::rate_limited(seconds)]);
            errors::finish(&mut response, id);
            Box::new(TooMuch { response, seconds })
        })
    }

    fn too_slow(&self) -> ServerError {
        let failure = Failure::new(
            ErrorCode::RequestTimeout,
            format!(
                "not answered within {} seconds; what was asked may have been done all the same. \
                 Repeat it, a requestData with the same idempotencyKey",
                self.request_timeout.as_secs_f64()
            ),
        );
        errors::of(failure).into_server_error(Default::default())
    }
}

/// The answer to somebody who asks too much, and when to ask again.
struct TooMuch {
    response: Response,
    seconds: u64,
}
