//! What a requester has: HTTP and nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::error::{ErrorCode, Failure};

pub(super) struct Client {
    http: reqwest::Client,
    endpoint: String,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(120))
            .build()
            .map_err(|error| Failure::new(ErrorCode::Internal, format!("no HTTP client: {error}")))?;
        Ok(Self { http, endpoint: format!("http://{address}/graphql") })
    }

    /// Asks the endpoint and returns `data`; the first error is the failure.
    pub(super) async fn ask(&self, query: &str, variables: Value) -> Result<Value, Failure> {
        let body = json!({"query": query, "variables": variables});
        let answer = self.http.post(&self.endpoint).json(&body).send().await;
        let mut answer: Value = match answer {
            Ok(answer) => answer.json().await.map_err(|_| unanswered("the endpoint's answer is not JSON"))?,
            Err(_) => return Err(unanswered("the endpoint does not answer")),
        };
        match answer["errors"][0]["message"].as_str() {
            Some(message) => Err(unanswered(message)),
            None => Ok(answer["data"].take()),
        }
    }

    /// Downloads a link, as curl would.
    pub(super) async fn download(&self, link: &str) -> Result<Bytes, Failure> {
        let answer = self.http.get(link).send().await.map_err(|_| unanswered("a download link does not answer"))?;
        if !answer.status().is_success() {
            return Err(unanswered(&format!("a download link answered {}", answer.status())));
        }
        answer.bytes().await.map_err(|_| unanswered("a download ended early"))
    }
}

fn unanswered(what: &str) -> Failure {
    Failure::new(ErrorCode::Internal, what.to_owned())
}
