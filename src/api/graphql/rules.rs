//! How the fields about rules reach the rules: what the resolvers of queries and mutations share.

use async_graphql::{Context, Result};
use classification::rules::ColumnRule;
use classification::{CatalogColumn, Code, TableName};

use super::super::auth::Identity;
use super::errors;
use super::types::ChangedRule;
use crate::error::{ErrorCode, Failure};
use crate::explain::{Explainer, Explanation, Question, Sight};
use crate::identity::Actor;
use crate::jobs::Requests;
use crate::links::Visitor;
use crate::rules::{RuleEdit, RuleStore, column_of};

/// A table's name as an argument.
pub(super) fn table_named(name: &str) -> Result<TableName> {
    name.parse().map_err(|error| errors::of(Failure::new(ErrorCode::BadRequest, format!("{error}"))))
}

/// What the asker would get of a table. The fields that need counting are counted only where they are selected.
pub(super) async fn explain(context: &Context<'_>, table: &str, start: i64, end: i64) -> Result<Explanation> {
    let tenant = &context.data::<Identity>()?.tenant;
    let requests = context.data::<Requests>()?;
    let (table, window) = requests.offered(tenant, table, start, end).await.map_err(errors::of)?;
    let selected = context.look_ahead();
    let counted = ["rowsInWindow", "rowsExported", "rowsWithoutTime"].iter().any(|name| selected.field(name).exists())
        || selected.field("rowRules").field("rowsHeldBack").exists();
    let question = Question { table, tenant: tenant.clone(), window: Some(window), sight: Sight::OwnRows, counted };
    context.data::<Explainer>()?.explain(&question).await.map_err(errors::of)
}

/// Writes one rule as the asker.
pub(super) async fn edit(context: &Context<'_>, edit: RuleEdit, column: Option<&CatalogColumn>) -> Result<ChangedRule> {
    let tenant = &context.data::<Identity>()?.tenant;
    let rules = context.data::<RuleStore>()?;
    let change = rules.edit(&edit, column, tenant, &actor(context)?).await.map_err(errors::of)?;
    Ok(change.into())
}

/// Writes a column's rule, for a column that the warehouse has. Denying one does not wait for a warehouse that is away.
pub(super) async fn edit_column(context: &Context<'_>, rule: ColumnRule) -> Result<ChangedRule> {
    let looked = context.data::<Explainer>()?.columns(&rule.table_name).await;
    let column = match looked {
        Ok(catalog) => Some(column_of(&rule.table_name, &rule.column_name, &catalog).map_err(errors::of)?.clone()),
        Err(failure) if rule.classification == Code::De && failure.code != ErrorCode::TableNotFound => None,
        Err(failure) => return Err(errors::of(failure)),
    };
    edit(context, RuleEdit::Column(rule), column.as_ref()).await
}

/// Who asks, for an audit.
pub(super) fn actor(context: &Context<'_>) -> Result<Actor> {
    let identity = context.data::<Identity>()?;
    let visitor = context.data::<Visitor>()?;
    Ok(Actor {
        name: identity.subject.clone(),
        origin: visitor.address.clone().unwrap_or_else(|| "unknown address".to_owned()),
        request_id: Some(visitor.request_id.clone()),
    })
}
