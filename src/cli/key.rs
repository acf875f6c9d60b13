//! `data-exporter key …`: the keys of the API. A secret is printed once, by `create`, and kept by nobody here.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use super::{actor, output, settings};
use crate::config::{Needs, Source};
use crate::error::{ErrorCode, Failure};
use crate::identity::{self, Actor, KeyInfo, KeyStore, NewKey};
use crate::startup;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Makes a key and prints it. It is not shown again.
    Create {
        /// Whose exports it makes and sees.
        #[arg(long, value_name = "T")]
        tenant: String,
        /// What it may do; an admin may also do what a requester may.
        #[arg(long)]
        role: Role,
        /// What it is for.
        #[arg(long, value_name = "N")]
        name: String,
        /// Days until it ends; without this it works until it is revoked.
        #[arg(long, value_name = "D")]
        expires_days: Option<i32>,
    },
    /// Lists every key without its secret.
    List,
    /// Ends a key. It stops working everywhere within 5 seconds.
    Revoke {
        /// The id, from `key list`.
        id: Uuid,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Role {
    Requester,
    Admin,
}

pub(super) async fn run(source: &Source, command: &KeyCommand, json: bool) -> Result<ExitCode, Failure> {
    let settings = settings(source, Needs { database: true, ..Needs::default() })?;
    let store = KeyStore::new(startup::metadata(&settings).await?);
    let actor = Actor::command_line(actor());
    match command {
        KeyCommand::Create { tenant, role, name, expires_days } => {
            let role = match role {
                Role::Requester => identity::Role::Requester,
                Role::Admin => identity::Role::Admin,
            };
            let tenant = identity::tenant_of(tenant)?;
            let wanted = NewKey { tenant, role, name: name.clone(), expires_days: *expires_days };
            let (secret, info) = store.create(&wanted, &actor).await?;
            if json {
                let mut shown = json!(info);
                shown["key"] = secret.text.expose_secret().into();
                output::json(&shown);
            } else {
                output::note(&format!("key {} of tenant '{}', role {}:", info.id, info.tenant, info.role));
                output::line(secret.text.expose_secret());
                output::note("it is not shown again; send it as `Authorization: Bearer KEY`");
            }
        }
        KeyCommand::List => {
            let keys = store.list().await?;
            if json {
                output::json(&keys);
            } else {
                list(&keys);
            }
        }
        KeyCommand::Revoke { id } => {
            let Some(info) = store.revoke(*id, &actor).await? else {
                let why = format!("no key has the id {id}; `data-exporter key list` shows them");
                return Err(Failure::new(ErrorCode::BadRequest, why));
            };
            if json {
                output::json(&info);
            } else {
                output::line(&format!("key {} ('{}') stops working within 5 seconds", info.id, info.name));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(keys: &[KeyInfo]) {
    if keys.is_empty() {
        output::note("there are no keys; make one with `data-exporter key create`");
        return;
    }
    output::line(&format!(
        "{:<36}  {:<16}  {:<16}  {:<9}  {:<8}  {:<20}  {:<20}  name",
        "id", "begins with", "tenant", "role", "state", "expires", "last used"
    ));
    let at = |at: Option<chrono::DateTime<chrono::Utc>>| {
        at.map_or_else(|| "never".to_owned(), |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string())
    };
    for key in keys {
        output::line(&format!(
            "{:<36}  {:<16}  {:<16}  {:<9}  {:<8}  {:<20}  {:<20}  {}",
            key.id.to_string(),
            format!("dex_{}", key.prefix),
            key.tenant,
            key.role,
            key.state,
            at(key.expires_at),
            at(key.last_used_at),
            key.name
        ));
    }
}
