//! Who may ask what: one table for all fields of the roots, and the one place that holds it.
//!
//! A document is looked at whole before any of it runs, so a request that is refused has done nothing. A field
//! without a decision is nobody's.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextParseQuery, NextResolve, ResolveInfo,
};
use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet};
use async_graphql::{Positioned, ServerError, ServerResult, Value, Variables};
use async_trait::async_trait;

use super::super::auth::{Identity, Role};
use super::errors;
use crate::error::{ErrorCode, Failure};
use crate::jobs::Tenant;

/// Every field of a root, and the role that it needs.
pub(super) const DECISIONS: &[(&str, &str, Role)] = &[
    ("Query", "request", Role::Requester),
    ("Query", "requests", Role::Requester),
    ("Query", "exportTables", Role::Requester),
    ("Query", "tableExportJobStatuses", Role::Requester),
    ("Query", "auditLog", Role::Admin),
    // What becomes of the asker's own export: no more than the decisions in its manifest tell.
    ("Query", "explainExport", Role::Requester),
    // The rules name columns that never leave and providers that are not exported: more than a requester is told.
    ("Query", "classification", Role::Admin),
    ("Query", "unclassifiedColumns", Role::Admin),
    ("Query", "stalledRequests", Role::Admin),
    ("Query", "notifications", Role::Admin),
    // Days are the default tenant's, and rows that are held back are counted, whoever's they are.
    ("Query", "coverage", Role::Admin),
    ("Query", "isExported", Role::Admin),
    ("Query", "exportedTables", Role::Admin),
    ("Mutation", "requestData", Role::Requester),
    ("Mutation", "requestStatus", Role::Requester),
    ("Mutation", "cancelRequest", Role::Requester),
    ("Mutation", "clearStalledRequest", Role::Admin),
    ("Mutation", "revokeLinks", Role::Admin),
    ("Mutation", "resendNotification", Role::Admin),
    ("Mutation", "setColumnClassification", Role::Admin),
    ("Mutation", "setSourceClassification", Role::Admin),
    ("Mutation", "setMetricClassification", Role::Admin),
    ("Mutation", "enableTable", Role::Admin),
    ("Mutation", "runScheduledExport", Role::Admin),
    ("Subscription", "requestProgress", Role::Requester),
];

/// Fields about rules, about what is told of all tenants, and about days of the schedule, which are the tenant `default`'s.
/// There is one set of rules for all tenants, so one tenant's administrator must not change what
/// leaves of another's: these are for administrators of the tenant `default`, to whom tables belong unless they name
/// another tenant in each row.
const OF_ALL_TENANTS: &[(&str, &str)] = &[
    ("Query", "classification"),
    ("Query", "unclassifiedColumns"),
    // They tell of the schedule, which is the tenant `default`'s, of rules, and of every tenant's requests.
    ("Query", "notifications"),
    ("Mutation", "resendNotification"),
    ("Query", "coverage"),
    ("Query", "isExported"),
    ("Query", "exportedTables"),
    ("Mutation", "setColumnClassification"),
    ("Mutation", "setSourceClassification"),
    ("Mutation", "setMetricClassification"),
    ("Mutation", "enableTable"),
    // Every tenant's rows are in a day's files.
    ("Mutation", "runScheduledExport"),
];

const ROOTS: [&str; 3] = ["Query", "Mutation", "Subscription"];

fn decision(root: &str, field: &str) -> Option<Role> {
    DECISIONS.iter().find(|(of, name, _)| *of == root && *name == field).map(|(_, _, role)| *role)
}

/// The role that each field of the roots needs, for tests and documents: `("Query.request", Role::Requester)`.
pub fn roles() -> Vec<(String, Role)> {
    DECISIONS.iter().map(|(root, field, role)| (format!("{root}.{field}"), *role)).collect()
}

fn forbidden(field: &str, role: Role) -> async_graphql::Error {
    let why = format!("{field} is for the role {}, which this key or token does not have", role.as_str());
    errors::of(Failure::new(ErrorCode::Forbidden, why))
}

fn of_another_tenant(field: &str) -> async_graphql::Error {
    let why = format!("{field} is about all tenants: it is for administrators of the tenant '{}'", Tenant::DEFAULT);
    errors::of(Failure::new(ErrorCode::Forbidden, why))
}

/// Holds the table over every document.
pub(super) struct Roles;

impl ExtensionFactory for Roles {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Held)
    }
}

struct Held;

#[async_trait]
impl Extension for Held {
    async fn parse_query(
        &self,
        context: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(context, query, variables).await?;
        let identity = context.data_opt::<Identity>();
        let mut walk = Walk { document: &document, identity, spread: BTreeSet::new() };
        for (_, operation) in document.operations.iter() {
            let root = match operation.node.ty {
                OperationType::Query => "Query",
                OperationType::Mutation => "Mutation",
                OperationType::Subscription => "Subscription",
            };
            walk.spread.clear();
            walk.fields(root, &operation.node.selection_set)?;
        }
        Ok(document)
    }

    /// What no decision was made for is refused here, whoever asks: only existing fields come this far.
    async fn resolve(
        &self,
        context: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        let of_root = ROOTS.contains(&info.parent_type) && !info.name.starts_with("__");
        if of_root && decision(info.parent_type, info.name).is_none() {
            return Err(forbidden(info.name, Role::Admin).into_server_error(info.field.name.pos));
        }
        next.run(context, info).await
    }
}

struct Walk<'d> {
    document: &'d ExecutableDocument,
    identity: Option<&'d Identity>,
    spread: BTreeSet<&'d str>,
}

impl<'d> Walk<'d> {
    /// The fields of a root, through fragments, each of which is walked once. The guard has seen to it that they do
    /// not nest deep. A field that does not exist is named by validation.
    fn fields(&mut self, root: &str, set: &'d Positioned<SelectionSet>) -> Result<(), ServerError> {
        for selection in &set.node.items {
            match &selection.node {
                Selection::Field(field) => {
                    let name = field.node.name.node.as_str();
                    if let Some(role) = decision(root, name)
                        && !self.identity.is_some_and(|identity| identity.roles.contains(&role))
                    {
                        return Err(forbidden(name, role).into_server_error(field.pos));
                    }
                    if OF_ALL_TENANTS.contains(&(root, name))
                        && self.identity.is_none_or(|identity| identity.tenant.as_str() != Tenant::DEFAULT)
                    {
                        return Err(of_another_tenant(name).into_server_error(field.pos));
                    }
                }
                Selection::InlineFragment(fragment) => self.fields(root, &fragment.node.selection_set)?,
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if self.spread.insert(name.as_str())
                        && let Some(fragment) = self.document.fragments.get(name)
                    {
                        self.fields(root, &fragment.node.selection_set)?;
                    }
                }
            }
        }
        Ok(())
    }
}
