//! Documents that mean harm: each is refused with a code, soon, and the endpoint goes on.

use std::fmt::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::endpoint::{Endpoint, problem};

/// `fragment f0 { …f1 …f1 } fragment f1 { …f2 …f2 } …`: 2 to the power of `levels` fields once expanded.
fn doubling_fragments(levels: usize) -> String {
    let mut document = "{ exportTables { ...f0 } }".to_owned();
    for level in 0..levels {
        write!(document, " fragment f{level} on ExportTable {{ ...f{0} ...f{0} }}", level + 1).unwrap();
    }
    write!(document, " fragment f{levels} on ExportTable {{ name }}").unwrap();
    document
}

fn hostile_documents() -> Vec<(&'static str, String, &'static str)> {
    let many = |count: usize, each: &dyn Fn(usize) -> String| (0..count).map(each).collect::<Vec<_>>().join(" ");
    vec![
        ("brackets without end", "[".repeat(60_000), "nest deeper"),
        ("braces without end", "{a".repeat(20_000), "nest deeper"),
        ("a list nested as a value", format!("{{ request(requestId: {}{}) {{ status }} }}", "[".repeat(5_000), "]".repeat(5_000)), "nest deeper"),
        ("an object nested as a value", format!("{{ request(requestId: {}) {{ status }} }}", "{a:".repeat(5_000)), "nest deeper"),
        ("a type nested", format!("query ($v: {}) {{ __typename }}", "[".repeat(5_000)), "nest deeper"),
        ("fields nested", format!("{}{}", "{ exportTables ".repeat(40), "}".repeat(40)), "nest deeper"),
        ("fields nested a little", format!("{}name{}", "{ exportTables ".repeat(18), "}".repeat(18)), "nest deeper than 16"),
        ("brackets after an empty block string", format!("{{ a(b: \"\"\"\"\"\" {} }}", "[".repeat(9_000)), "nest deeper"),
        ("brackets after an escaped block string", format!("{{ a(b: \"\"\"\\\"\"\"\"\"\" {} }}", "[".repeat(9_000)), "nest deeper"),
        ("brackets after a comment", format!("# \"\n{}", "[".repeat(9_000)), "nest deeper"),
        ("brackets in an open block string", format!("{{ a(b: \"\"\" {}", "[".repeat(9_000)), "does not end"),
        ("an open string", "{ a(b: \"x".to_owned(), "does not end"),
        ("aliases", format!("{{ {} }}", many(31, &|n| format!("a{n}: __typename"))), "30 aliases"),
        ("aliases in fragments", format!("{{ ...f ...f }} fragment f on Query {{ {} }}", many(16, &|n| format!("a{n}: __typename"))), "30 aliases"),
        ("directives on one field", format!("{{ __typename {} }}", "@skip(if: false)".repeat(21)), "20 directives"),
        ("unknown directives", format!("{{ __typename {} }}", "@a".repeat(21)), "20 directives"),
        ("directives on many fields", format!("{{ {} }}", "__typename @skip(if: false) ".repeat(21)), "20 directives"),
        ("directives on the operation", format!("query {} {{ __typename }}", "@a".repeat(21)), "20 directives"),
        ("directives on variables", format!("query ($a: Int {}) {{ __typename }}", "@a ".repeat(21)), "20 directives"),
        ("many fields", format!("{{ {} }}", "__typename ".repeat(1_001)), "1000 selections"),
        ("many questions", format!("{{ {} }}", "exportTables { name } ".repeat(31)), "30 fields"),
        ("many questions in fragments", format!("{{ {} }} fragment f on Query {{ exportTables {{ name }} exportTables {{ name }} }}", "...f ".repeat(16)), "30 fields"),
        ("many tokens", format!("{{ {} }}", "__typename ".repeat(2_000)), "2000 tokens"),
        ("many variables", format!("query ({}) {{ __typename }}", many(800, &|n| format!("$v{n}: Int"))), "2000 tokens"),
        ("many operations", many(11, &|n| format!("query q{n} {{ __typename }}")), "10 operations"),
        ("many fragments", format!("{{ __typename }} {}", many(51, &|n| format!("fragment f{n} on Query {{ __typename }}"))), "50 fragments"),
        ("doubling fragments", doubling_fragments(28), "1000 selections"),
        ("more doubling fragments", doubling_fragments(45), "1000 selections"),
        ("a fragment in itself", "{ ...a } fragment a on Query { ...a }".to_owned(), "inside itself"),
        ("a cycle", "{ ...a } fragment a on Query { ...b } fragment b on Query { ...c } fragment c on Query { ...a }".to_owned(), "inside itself"),
        ("a cycle that nothing spreads", "{ __typename } fragment a on Query { ...b } fragment b on Query { ...a }".to_owned(), "inside itself"),
        ("an unknown fragment", "{ ...a }".to_owned(), "fragment"),
        ("a long name", format!("{{ {} }}", "a".repeat(129)), "longer than 128"),
        ("a long number", format!("{{ requests(first: {}) {{ __typename }} }}", "9".repeat(60_000)), "longer than 128"),
        ("a number beyond all bounds", "{ requests(first: 1e999) { __typename } }".to_owned(), "number"),
        ("pages of everything", "{ requests(first: 100) { edges { node { tables { name status rows bytes progress } dataRequestDownloadLinks } } } a: requests(first: 100) { edges { node { tables { name status rows bytes progress } dataRequestDownloadLinks } } } }".to_owned(), "too complex"),
        ("introspection in circles", "{ __schema { types { fields { type { fields { type { fields { name } } } } } } }".to_owned() + "}", "in circles"),
        ("nothing", String::new(), ""),
        ("no document", "hello".to_owned(), ""),
        ("an open brace", "{".to_owned(), ""),
        ("a closing brace", "}".to_owned(), ""),
        ("no fields", "{ }".to_owned(), ""),
        ("control characters", "{ \u{0}\u{1b}[31m }".to_owned(), ""),
        ("a subscription", "subscription { __typename }".to_owned(), ""),
        ("a schema definition", "type Query { a: Int }".to_owned(), ""),
    ]
}

#[tokio::test]
async fn hostile_documents_are_refused_soon_and_named_bad_requests() {
    let endpoint = Endpoint::start("api_hostile").await;
    for (name, document, says) in hostile_documents() {
        let started = Instant::now();
        let (code, message) = endpoint.refusal(&document, json!({})).await;
        assert_eq!(code, "BAD_REQUEST", "{name}: {message}");
        assert!(message.contains(says), "{name}: {message}");
        // Generous by far: what is not refused early takes minutes, or the process.
        assert!(started.elapsed() < Duration::from_secs(5), "{name} took {:?}", started.elapsed());
    }
    endpoint.data("{ exportTables { name } }", json!({})).await;
}

#[tokio::test]
async fn a_page_may_cost_what_its_fields_cost_and_no_more() {
    let endpoint = Endpoint::start("api_complexity").await;
    let links = "{ edges { node { status tables { name status rows } dataRequestDownloadLinks linksExpireAt } } }";
    let plain = "{ edges { node { status tables { name status rows } } } }";
    for (fields, most) in [(links, 20), (plain, 100)] {
        for first in [most.to_string(), "$n".to_owned()] {
            let query = format!(
                "query ($n: Int = {most}) {{ a: requests(first: {first}) {fields} b: requests {plain} c: exportTables {{ name }} d: requests(first: $n) {{ edges {{ cursor }} }} }}"
            );
            endpoint.data(&query, json!({})).await;
        }
    }
    let flood: String = (0..4).map(|n| format!("a{n}: requests(first: $n) {links} ")).collect();
    let query = format!("query ($n: Int) {{ {flood} }}");
    for n in [Value::Null, json!(20), json!(100), json!(i64::MAX)] {
        assert_eq!(endpoint.refusal(&query, json!({"n": n})).await.1, "Query is too complex.", "{n}");
    }
    endpoint.data(&query, json!({"n": 5})).await;
}

#[tokio::test]
async fn many_errors_are_told_as_a_few() {
    let endpoint = Endpoint::start("api_many_errors").await;
    let answer = endpoint.ask(&format!("{{ exportTables {{ {} }} }}", "nope ".repeat(900)), json!({})).await;
    assert_eq!(answer["errors"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn what_tools_ask_of_the_schema_is_answered() {
    let endpoint = Endpoint::start("api_introspection").await;
    let of_type = (0..9).fold("kind name".to_owned(), |inner, _| format!("kind name ofType {{ {inner} }}"));
    let query = format!(
        "query IntrospectionQuery {{ __schema {{ queryType {{ name }} mutationType {{ name }} subscriptionType {{ name }}
            types {{ ...FullType }} directives {{ name description locations args {{ ...InputValue }} }} }} }}
        fragment FullType on __Type {{ kind name description
            fields(includeDeprecated: true) {{ name description args {{ ...InputValue }} type {{ ...TypeRef }} isDeprecated deprecationReason }}
            inputFields {{ ...InputValue }} interfaces {{ ...TypeRef }}
            enumValues(includeDeprecated: true) {{ name description isDeprecated deprecationReason }}
            possibleTypes {{ ...TypeRef }} }}
        fragment InputValue on __InputValue {{ name description type {{ ...TypeRef }} defaultValue }}
        fragment TypeRef on __Type {{ {of_type} }}"
    );
    let data = endpoint.data(&query, json!({})).await;
    assert_eq!(data["__schema"]["mutationType"]["name"], "Mutation");
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_problems() {
    let endpoint = Endpoint::start("api_bodies").await;
    let whole = json!({"query": "{ __typename }"}).to_string();
    let padded = |length: usize| {
        let empty = json!({"query": "{ __typename }", "padding": ""}).to_string();
        json!({"query": "{ __typename }", "padding": "x".repeat(length - empty.len())}).to_string()
    };
    let mut invalid_utf8 = whole.clone().into_bytes();
    invalid_utf8[12] = 0xff;
    for (name, body, status) in [
        ("a batch", format!("[{whole},{whole}]").into_bytes(), 400),
        ("an empty batch", b"[]".to_vec(), 400),
        ("nothing", Vec::new(), 400),
        ("truncated JSON", whole.as_bytes()[..whole.len() - 1].to_vec(), 400),
        ("JSON and more", format!("{whole}{whole}").into_bytes(), 400),
        ("invalid UTF-8", invalid_utf8, 400),
        ("a lone surrogate", br#"{"query": "\ud800"}"#.to_vec(), 400),
        ("nested JSON", "[".repeat(60_000).into_bytes(), 400),
        (
            "nested variables",
            format!(
                r#"{{"query": "{{ __typename }}", "variables": {{"a": {}1{}}}}}"#,
                "[".repeat(20_000),
                "]".repeat(20_000)
            )
            .into_bytes(),
            400,
        ),
        ("a number", b"1".to_vec(), 400),
        ("no query", b"{}".to_vec(), 400),
        ("a query that is no text", br#"{"query": 1}"#.to_vec(), 400),
        ("variables that are a list", br#"{"query": "{ __typename }", "variables": []}"#.to_vec(), 400),
        ("a byte too many", padded(65_537).into_bytes(), 413),
        ("65 KiB", padded(65 * 1024).into_bytes(), 413),
        ("half a MiB", padded(512 * 1024).into_bytes(), 413),
        ("three MiB", padded(3 * 1024 * 1024).into_bytes(), 413),
    ] {
        // A server may close on a body that it will never read; then there is no answer to look at.
        let sent = endpoint.client.post(endpoint.url("/graphql")).header("content-type", "application/json").body(body);
        match sent.send().await {
            Ok(response) => {
                let (got, code, detail) = problem(response).await;
                assert_eq!((got, code.as_str()), (status, "BAD_REQUEST"), "{name}: {detail}");
            }
            Err(error) => assert_eq!(name, "three MiB", "{error}"),
        }
    }
    for body in [
        padded(65_536),
        r#"{"query": "{ __typename }", "variables": null, "operationName": null, "extensions": {}}"#.to_owned(),
        format!("\n {whole} \n"),
    ] {
        let response = endpoint.post(body).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.json::<Value>().await.unwrap(), json!({"data": {"__typename": "Query"}}));
    }
}
