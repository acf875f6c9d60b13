//! A topic of moto's SNS with an SQS queue behind it, and a gate before it that can be shut.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use data_exporter::notify::{SnsNotifier, SnsSettings};
use reqwest::Client;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::s3::Moto;

const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-central-1";

/// What becomes of connections to SNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// They go through.
    Open,
    /// They are cut, also those that are open.
    Shut,
    /// What is asked goes through, and no answer comes back.
    Deaf,
    /// They are answered that it is forbidden.
    Forbidden,
}

/// A message as it came out of the queue.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Delivered {
    pub(crate) fn event_id(&self) -> String {
        self.body["eventId"].as_str().unwrap().to_owned()
    }
}

/// The topic. Everything ends with it.
pub(crate) struct Topic {
    pub(crate) arn: String,
    pub(crate) endpoint: String,
    gate: watch::Sender<Gate>,
    moto: Moto,
    queue: String,
    client: Client,
    task: JoinHandle<()>,
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Topic {
    pub(crate) async fn start() -> Self {
        let moto = Moto::start().await;
        let (gate, state) = watch::channel(Gate::Open);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let behind = moto.endpoint.trim_start_matches("http://").to_owned();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, behind.clone(), state.clone()));
            }
        });
        let arn = format!("arn:aws:sns:{REGION}:{ACCOUNT}:exports");
        let topic = Self {
            queue: format!("{}/{ACCOUNT}/behind", moto.endpoint),
            arn,
            endpoint,
            gate,
            moto,
            client: Client::new(),
            task,
        };
        topic.create().await;
        topic.ask("sqs", &[("Action", "CreateQueue"), ("QueueName", "behind")]).await;
        let queue_arn = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:behind");
        topic
            .ask(
                "sns",
                &[("Action", "Subscribe"), ("TopicArn", &topic.arn), ("Protocol", "sqs"), ("Endpoint", &queue_arn)],
            )
            .await;
        topic
    }

    /// Makes the topic, if it is not there.
    pub(crate) async fn create(&self) {
        self.ask("sns", &[("Action", "CreateTopic"), ("Name", "exports")]).await;
    }

    pub(crate) fn set(&self, gate: Gate) {
        self.gate.send(gate).unwrap();
    }

    /// What sends to it, through the gate.
    pub(crate) async fn notifier(&self) -> SnsNotifier {
        self.notifier_of(&self.arn).await
    }

    /// What sends to a topic of this name, through the gate.
    pub(crate) async fn notifier_of(&self, arn: &str) -> SnsNotifier {
        let credentials = Some(("key".to_owned(), "canary-secret".into()));
        let settings = SnsSettings {
            endpoint: Some(self.endpoint.clone()),
            credentials,
            ..SnsSettings::new(arn.parse().unwrap())
        };
        SnsNotifier::connect(settings).await
    }

    /// Asks moto, past the gate. Which service is meant it reads out of the signature.
    async fn ask(&self, service: &str, fields: &[(&str, &str)]) -> String {
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=key/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let url =
            if fields.iter().any(|(_, value)| value.ends_with("Message")) { &self.queue } else { &self.moto.endpoint };
        let asked: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.client.post(url).header("authorization", scope).body(asked);
        let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{fields:?}: {text}");
        text
    }

    /// Takes what is in the queue.
    pub(crate) async fn take(&self) -> Vec<Delivered> {
        let mut found = Vec::new();
        loop {
            let answer = self.ask("sqs", &[("Action", "ReceiveMessage"), ("MaxNumberOfMessages", "10")]).await;
            let (bodies, receipts) = (between(&answer, "Body"), between(&answer, "ReceiptHandle"));
            if bodies.is_empty() {
                return found;
            }
            for (body, receipt) in bodies.iter().zip(receipts) {
                let envelope: Value = serde_json::from_str(body).unwrap();
                let attributes = envelope["MessageAttributes"].as_object().unwrap().iter();
                let text = envelope["Message"].as_str().unwrap().to_owned();
                found.push(Delivered {
                    attributes: attributes
                        .map(|(name, of)| (name.clone(), of["Value"].as_str().unwrap().to_owned()))
                        .collect(),
                    body: serde_json::from_str(&text).unwrap(),
                    text,
                });
                self.ask("sqs", &[("Action", "DeleteMessage"), ("ReceiptHandle", &receipt)]).await;
            }
        }
    }

    /// Takes messages until there are so many.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Delivered> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut found = Vec::new();
        while found.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} messages came", found.len());
            found.extend(self.take().await);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        found
    }
}

/// What stands in the elements of this name.
fn between(text: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts = text.split(&open).skip(1).map(|part| part.split(&close).next().unwrap());
    let plain = |text: &str| {
        let text = text.replace("&quot;", "\"").replace("&#34;", "\"").replace("&#39;", "'").replace("&lt;", "<");
        text.replace("&gt;", ">").replace("&#10;", "\n").replace("&#13;", "\r").replace("&amp;", "&")
    };
    parts.map(plain).collect()
}

const FORBIDDEN: &str = "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type>\
    <Code>AuthorizationError</Code><Message>User canary-foreign-text is not authorized</Message></Error>\
    <RequestId>1</RequestId></ErrorResponse>";

async fn pass(mut client: TcpStream, behind: String, mut state: watch::Receiver<Gate>) -> Option<()> {
    let gate = *state.borrow_and_update();
    match gate {
        Gate::Shut => {}
        Gate::Forbidden => {
            // The request is read as far as it comes at once; its end does not matter.
            let mut asked = vec![0; 64 * 1024];
            if client.read(&mut asked).await.ok()? == 0 {
                return None;
            }
            let answer = format!(
                "HTTP/1.1 403 Forbidden\r\ncontent-type: text/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{FORBIDDEN}",
                FORBIDDEN.len()
            );
            client.write_all(answer.as_bytes()).await.ok()?;
            client.shutdown().await.ok()?;
        }
        Gate::Open => {
            let mut server = TcpStream::connect(&behind).await.ok()?;
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = state.changed() => {}
            }
        }
        Gate::Deaf => {
            let server = TcpStream::connect(&behind).await.ok()?;
            let (mut answers, mut to_server) = server.into_split();
            let (mut from_client, _held) = client.split();
            let listening = async {
                let mut unheard = vec![0; 4096];
                while answers.read(&mut unheard).await.is_ok_and(|read| read > 0) {}
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                () = listening => {}
                _ = state.changed() => {}
            }
        }
    }
    Some(())
}
