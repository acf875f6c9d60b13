//! Who may do what, and who sees whose: both matrices are made from the schema, so that a new field without a
//! decision or a case fails here.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use data_exporter::api::{Role, roles};
use reqwest::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::endpoint::{Endpoint, Options};
use crate::support::{issuer, metadata};

/// A field of a root as introspection tells it.
struct Field {
    root: String,
    name: String,
    /// Arguments with their types, as `Int!`.
    arguments: Vec<(String, String)>,
    /// Whether the answer has fields of its own.
    nested: bool,
}

impl Field {
    fn path(&self) -> String {
        format!("{}.{}", self.root, self.name)
    }

    /// A document that asks this field alone, its ids given.
    fn document(&self, id: &str) -> String {
        let end = issuer::now() - 86_400;
        let values = self.arguments.iter().filter(|(_, kind)| kind.ends_with('!')).map(|(name, kind)| {
            let value = match (name.as_str(), kind.as_str()) {
                ("startTime", _) => (end - 60).to_string(),
                ("endTime", _) => end.to_string(),
                (_, "String!" | "ID!") => format!("\"{id}\""),
                (_, "Int!" | "Long!") => "1".to_owned(),
                (_, "Boolean!") => "true".to_owned(),
                (_, "ClassificationCode!") => "DE".to_owned(),
                (_, "Date!") => "\"2026-03-02\"".to_owned(),
                (name, kind) => panic!("{}: give {name}: {kind} a value here", self.path()),
            };
            format!("{name}: {value}")
        });
        let values: Vec<String> = values.collect();
        let arguments = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
        let selection = if self.nested { " { __typename }" } else { "" };
        format!("{} {{ {}{arguments}{selection} }}", self.root.to_lowercase(), self.name)
    }

    fn takes_an_id(&self) -> bool {
        self.arguments.iter().any(|(name, kind)| kind.ends_with('!') && (name == "id" || name.ends_with("Id")))
    }
}

const SCHEMA: &str = "{ __schema { queryType { ...Root } mutationType { ...Root } subscriptionType { ...Root } } }
    fragment Root on __Type { name fields { name args { name type { ...Kind } } type { ...Kind } } }
    fragment Kind on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// A type in the words of the schema language, lists left out.
fn words(kind: &Value) -> String {
    match kind["kind"].as_str().unwrap() {
        "NON_NULL" => format!("{}!", words(&kind["ofType"])),
        "LIST" => words(&kind["ofType"]),
        _ => kind["name"].as_str().unwrap().to_owned(),
    }
}

fn is_nested(kind: &Value) -> bool {
    match kind["kind"].as_str().unwrap() {
        "NON_NULL" | "LIST" => is_nested(&kind["ofType"]),
        kind => kind == "OBJECT",
    }
}

async fn fields(endpoint: &Endpoint, admin: &str) -> Vec<Field> {
    let (_, answer) = endpoint.ask_as(Some(admin), SCHEMA, json!({})).await;
    let schema = &answer["data"]["__schema"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    ["queryType", "mutationType", "subscriptionType"]
        .iter()
        .flat_map(|root| {
            let root = &schema[*root];
            list(&root["fields"]).into_iter().map(|field| Field {
                root: root["name"].as_str().unwrap().to_owned(),
                name: field["name"].as_str().unwrap().to_owned(),
                arguments: list(&field["args"])
                    .iter()
                    .map(|argument| (argument["name"].as_str().unwrap().to_owned(), words(&argument["type"])))
                    .collect(),
                nested: is_nested(&field["type"]),
            })
        })
        .collect()
}

fn keys() -> Options {
    Options { keys: true, ..Options::default() }
}

#[tokio::test]
async fn every_field_has_a_decision_and_every_cell_of_the_matrix_holds() {
    let endpoint = Endpoint::with("auth_roles", keys()).await;
    let (requester, admin) =
        (endpoint.key("default", Role::Requester, None).await, endpoint.key("default", Role::Admin, None).await);
    let fields = fields(&endpoint, &admin).await;
    let decided: BTreeMap<String, Role> = roles().into_iter().collect();
    let existing: BTreeSet<String> = fields.iter().map(Field::path).collect();
    assert_eq!(decided.len(), roles().len(), "a field has two decisions");
    assert_eq!(decided.keys().cloned().collect::<BTreeSet<_>>(), existing, "decisions and fields differ");
    for field in &fields {
        let path = field.path();
        let document = field.document(&Uuid::nil().to_string());
        for (who, key, allowed) in [
            ("anonymous", None, None),
            ("requester", Some(&requester), Some(decided[&path] == Role::Requester)),
            ("admin", Some(&admin), Some(true)),
        ] {
            let (status, answer) = endpoint.ask_as(key.map(String::as_str), &document, json!({})).await;
            let code = answer["errors"][0]["extensions"]["code"].as_str();
            match allowed {
                None => assert_eq!((status, answer["code"].as_str()), (401, Some("UNAUTHENTICATED")), "{who} {path}"),
                Some(true) => {
                    assert_eq!(status, 200, "{who} {path}");
                    assert!(code != Some("FORBIDDEN"), "{who} {path}: {answer}");
                    assert!(field.root == "Subscription" || code != Some("BAD_REQUEST"), "{document}: {answer}");
                }
                Some(false) => {
                    assert_eq!((status, code), (200, Some("FORBIDDEN")), "{who} {path}");
                    assert!(answer["data"].is_null(), "{who} {path}: {answer}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_document_that_holds_one_forbidden_field_does_nothing() {
    let endpoint = Endpoint::with("auth_whole", keys()).await;
    let requester = endpoint.key("default", Role::Requester, None).await;
    for document in [
        "{ exportTables { name } auditLog { edges { cursor } } }",
        "{ a: auditLog { edges { cursor } } }",
        "{ ... on Query { auditLog { edges { cursor } } } }",
        "{ ...f } fragment f on Query { ...g } fragment g on Query { auditLog { edges { cursor } } }",
        "query a { exportTables { name } } query b { auditLog { edges { cursor } } }",
        "{ auditLog @skip(if: false) { edges { cursor } } }",
    ] {
        let request = endpoint.client.post(endpoint.url("/graphql")).bearer_auth(&requester);
        let answer =
            request.json(&json!({"query": document, "operationName": document.contains("query b").then_some("a")}));
        let answer: Value = answer.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{document}");
        assert!(answer["data"].is_null(), "{document}");
    }
}

/// Fields that take no id: what another tenant must not find in their answers is looked for in all of these.
const WITHOUT_ID: &[(&str, &str)] = &[
    (
        "Query.requests",
        "{ requests(first: 20) { edges { cursor node { requestId status tables { name } dataRequestDownloadLinks } } } }",
    ),
    ("Query.exportTables", "{ exportTables { name timeColumn } }"),
    (
        "Query.tableExportJobStatuses",
        "{ tableExportJobStatuses(first: 100) { edges { node { requestId table manifestUrl } } } }",
    ),
    ("Query.stalledRequests", "{ stalledRequests { requestId tables } }"),
    ("Query.auditLog", "{ auditLog { edges { node { target after } } } }"),
    ("Mutation.requestData", ""),
    // Another tenant's are told apart in classification_rules.
    ("Query.explainExport", ""),
    // Of all tenants, for administrators of the default one: see coverage.
    ("Query.coverage", ""),
    ("Query.isExported", ""),
    ("Query.exportedTables", ""),
    ("Query.classification", ""),
    ("Query.unclassifiedColumns", ""),
    ("Query.notifications", ""),
    ("Mutation.setColumnClassification", ""),
    ("Mutation.setSourceClassification", ""),
    ("Mutation.setMetricClassification", ""),
    ("Mutation.enableTable", ""),
    ("Mutation.runScheduledExport", ""),
];

async fn raw(client: &Client, url: &str, key: &str, body: &Value) -> String {
    // The answer names its request: by the same name here.
    let request = client.post(url).bearer_auth(key).header("x-request-id", "same");
    let response = request.json(body).send().await.unwrap();
    let mut headers: Vec<String> = response
        .headers()
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    format!("{}\n{}\n\n{}", response.status(), headers.join("\n"), response.text().await.unwrap())
}

#[tokio::test]
async fn what_is_another_tenants_answers_exactly_as_what_does_not_exist() {
    let endpoint = Endpoint::with("auth_tenants", keys()).await;
    let at: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&endpoint.pool).await.unwrap();
    let mut theirs = Vec::new();
    for (n, state) in ["QUEUED", "RUNNING", "COMPLETED", "FAILED"].iter().enumerate() {
        let job = metadata::job(&endpoint.pool, "acme", state, at - TimeDelta::minutes(n as i64)).await;
        let (table, status) = match *state {
            "COMPLETED" => ("COMPLETED", "COMPLETED"),
            "FAILED" => ("FAILED", "FAILED"),
            _ => ("EXTRACTING", "IN-PROGRESS"),
        };
        metadata::table(&endpoint.pool, job, "way", table, &[("dev/tenant=acme/secret_000.parquet", 3, 30)]).await;
        metadata::status_row(&endpoint.pool, job, "acme", "way", status, at).await;
        theirs.push(job.to_string());
    }
    let owner = endpoint.key("acme", Role::Admin, None).await;
    let fields = fields(&endpoint, &owner).await;
    let url = endpoint.url("/graphql");
    let listed: BTreeSet<&str> = WITHOUT_ID.iter().map(|(path, _)| *path).collect();
    let unlisted: BTreeSet<String> = fields.iter().filter(|field| !field.takes_an_id()).map(Field::path).collect();
    assert_eq!(unlisted, listed.iter().map(|path| (*path).to_owned()).collect(), "give a new field its case");

    for tenant in ["default", "other"] {
        let key = endpoint.key(tenant, Role::Admin, None).await;
        for field in fields.iter().filter(|field| field.takes_an_id()) {
            let unknown =
                raw(&endpoint.client, &url, &key, &json!({"query": field.document(&Uuid::now_v7().to_string())})).await;
            for id in &theirs {
                let known = raw(&endpoint.client, &url, &key, &json!({"query": field.document(id)})).await;
                assert_eq!(known, unknown, "{} as {tenant}", field.path());
            }
        }
        let whole = "query ($id: String!) { request(requestId: $id) { status progress state requestId dataRequestDownloadLinks linksExpireAt tables { name } error { code } createdAt } }";
        let filter = "query ($id: String!) { tableExportJobStatuses(filter: {requestId: $id}) { edges { node { requestId } } pageInfo { hasNextPage } } }";
        for query in [whole, filter] {
            let ask = |id: String| json!({"query": query, "variables": {"id": id}});
            let unknown = raw(&endpoint.client, &url, &key, &ask(Uuid::now_v7().to_string())).await;
            for id in &theirs {
                assert_eq!(raw(&endpoint.client, &url, &key, &ask(id.clone())).await, unknown, "{query}");
            }
        }
        for (path, query) in WITHOUT_ID.iter().filter(|(_, query)| !query.is_empty()) {
            let answer = raw(&endpoint.client, &url, &key, &json!({"query": query})).await;
            assert!(answer.contains("\"data\"") && !answer.contains("\"errors\""), "{path}: {answer}");
            for id in theirs.iter().map(String::as_str).chain(["acme", "secret"]) {
                assert!(!answer.contains(id), "{path} shows {id} to {tenant}");
            }
        }
    }
    // The owner sees them, so the above proves something.
    let (_, answer) = endpoint.ask_as(Some(&owner), WITHOUT_ID[0].1, json!({})).await;
    assert_eq!(answer["data"]["requests"]["edges"].as_array().unwrap().len(), theirs.len());

    // The same idempotency key is another request for another tenant, and a table without a tenant column is not
    // theirs to name.
    sqlx::query("UPDATE export_tables SET tenant_column = 'tenant' WHERE table_name = 'way'")
        .execute(&endpoint.pool)
        .await
        .unwrap();
    let end = at.timestamp() - 86_400;
    let mut ids = BTreeSet::new();
    for tenant in ["default", "acme", "other"] {
        let key = endpoint.key(tenant, Role::Requester, None).await;
        let submit = |tables: &str| {
            format!(
                "mutation {{ requestData(startTime: {}, endTime: {end}, tables: [{tables}], idempotencyKey: \"same\") }}",
                end - 60
            )
        };
        let (_, answer) = endpoint.ask_as(Some(&key), &submit("\"way\""), json!({})).await;
        ids.insert(answer["data"]["requestData"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned());
        let (_, answer) = endpoint.ask_as(Some(&key), &submit("\"cctv\""), json!({})).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "IDEMPOTENCY_KEY_REUSED", "{tenant}");
        let fresh = submit("\"cctv\"").replace("same", "fresh");
        let (_, answer) = endpoint.ask_as(Some(&key), &fresh, json!({})).await;
        let refused = answer["errors"][0]["extensions"]["code"].as_str();
        assert_eq!(refused, if tenant == "default" { None } else { Some("TABLE_NOT_OFFERED") }, "{tenant}: {answer}");
        let (_, answer) = endpoint.ask_as(Some(&key), "{ exportTables { name } }", json!({})).await;
        let offered = answer["data"]["exportTables"].as_array().unwrap().len();
        assert_eq!(offered, if tenant == "default" { 4 } else { 1 }, "{tenant}: {answer}");
    }
    assert_eq!(ids.len(), 3);
}
