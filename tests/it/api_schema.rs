//! The schema: the same as the committed file, described throughout, and with the names that the outside relies on.

use serde_json::{Value, json};

use crate::support::endpoint::{Endpoint, Options};

#[test]
fn the_committed_schema_is_the_one_that_is_served() {
    let committed = include_str!("../../schema.graphql");
    assert!(
        committed == data_exporter::api::sdl(),
        "schema.graphql differs from the code; write it anew with `data-exporter schema > schema.graphql`"
    );
}

#[test]
fn the_fields_of_the_original_service_keep_their_names_and_types() {
    // Without descriptions, an argument list on one line: what a client sees.
    let sdl: String = data_exporter::api::sdl()
        .lines()
        .filter(|line| !line.trim_start().starts_with('"'))
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" ");
    for field in [
        "requestData( startTime: Int!, endTime: Int!, tables: [String!], format: ExportFormat, idempotencyKey: String, compression: Compression ): String!",
        "requestStatus( requestId: String! ): RequestStatus!",
        "status: String!",
        "progress: Float!",
        "dataRequestDownloadLinks: JSON ",
    ] {
        assert!(sdl.contains(field), "{field} is not in {sdl}");
    }
}

const INTROSPECTION: &str = "{ __schema { types { name description
    fields(includeDeprecated: true) { name description args { name description } }
    inputFields { name description } enumValues { name description } } } }";

#[tokio::test]
async fn every_type_field_and_argument_is_described() {
    let endpoint = Endpoint::start("api_described").await;
    let data = endpoint.data(INTROSPECTION, json!({})).await;
    let mut silent = Vec::new();
    let mut look = |place: String, thing: &Value| {
        if thing["description"].as_str().unwrap_or_default().trim().is_empty() {
            silent.push(format!("{place}{}", thing["name"].as_str().unwrap()));
        }
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for kind in list(&data["__schema"]["types"]) {
        let name = kind["name"].as_str().unwrap().to_owned();
        // The library's own.
        if name.starts_with("__") || name == "ID" {
            continue;
        }
        look(String::new(), &kind);
        for part in ["fields", "inputFields", "enumValues"] {
            for member in list(&kind[part]) {
                look(format!("{name}."), &member);
                for argument in list(&member["args"]) {
                    look(format!("{name}.{}.", member["name"].as_str().unwrap()), &argument);
                }
            }
        }
    }
    assert_eq!(silent, Vec::<String>::new());
}

#[tokio::test]
async fn where_it_is_switched_off_the_schema_tells_nothing_of_itself() {
    let options = Options { introspection: false, ..Options::default() };
    let endpoint = Endpoint::with("api_closed", options).await;
    for query in [
        INTROSPECTION,
        "{ __type(name: \"Query\") { name } }",
        "{ exportTables { nam } }",
        "{ reqests { edges { cursor } } }",
    ] {
        let (code, message) = endpoint.refusal(query, json!({})).await;
        assert_eq!(code, "BAD_REQUEST", "{query}: {message}");
        for hint in ["mean", "exportTables", "name", "requests"] {
            assert!(!message.contains(hint), "{query}: {message}");
        }
    }
    endpoint.data("{ exportTables { __typename name } }", json!({})).await;
}
