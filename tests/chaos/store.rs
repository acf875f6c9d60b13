//! The S3 server as a process of its own: this program started again, taking orders for faults on its standard input.

use std::io::BufRead;
use std::path::Path;
use std::process::Stdio;

use data_exporter::local::s3::{Fault, LocalS3, Operation};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::s3;

/// The first argument of the process that serves.
pub(crate) const ROLE: &str = "serve-objects";

/// What goes wrong with requests, until something else is ordered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Storm {
    /// Half of all requests are answered 503.
    Busy,
    /// Half of all Completes are done, and the answer is lost.
    LostAnswers,
    /// Half of all Completes and copies are answered 200 with an error in the body; nothing was done.
    ErrorBodies,
    /// The same of Completes, although they were done.
    ErrorBodiesAfter,
    /// Bodies flow at this many bytes a second.
    Slow(u64),
    /// Nothing.
    Calm,
}

impl Storm {
    fn order(self) -> String {
        match self {
            Self::Busy => "busy".to_owned(),
            Self::LostAnswers => "lost".to_owned(),
            Self::ErrorBodies => "errors".to_owned(),
            Self::ErrorBodiesAfter => "errors-after".to_owned(),
            Self::Slow(rate) => format!("slow {rate}"),
            Self::Calm => "calm".to_owned(),
        }
    }
}

/// The running server. It ends when its standard input does.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) endpoint: String,
    _process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Store {
    pub(crate) async fn start(folder: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(ROLE)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut store = Self { endpoint: String::new(), _process: process, orders, answers };
        store.endpoint = store.answer().await;
        store
    }

    pub(crate) async fn order(&mut self, storm: Storm) {
        self.orders.write_all(format!("{}\n", storm.order()).as_bytes()).await.unwrap();
        assert_eq!(self.answer().await, "done");
    }

    async fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }
}

/// The process that serves: says where it listens, then carries out one order a line.
pub(crate) async fn serve(folder: &Path) {
    let server = LocalS3::start(s3::options(folder)).await.unwrap();
    println!("{}", server.endpoint());
    let faults = server.faults();
    let orders = tokio::task::spawn_blocking(move || {
        for order in std::io::stdin().lock().lines().map_while(Result::ok) {
            faults.clear();
            match order.split_once(' ').unwrap_or((&order, "")) {
                ("busy", _) => faults.often(None, 50, Fault::SlowDown),
                ("lost", _) => faults.often(Some(Operation::CompleteMultipart), 50, Fault::DropAnswer),
                ("errors", _) => {
                    faults.often(Some(Operation::CompleteMultipart), 50, Fault::ErrorBody);
                    faults.often(Some(Operation::Copy), 50, Fault::ErrorBody);
                }
                ("errors-after", _) => faults.often(Some(Operation::CompleteMultipart), 50, Fault::ErrorBodyAfter),
                ("slow", rate) => faults.bandwidth(Some(rate.parse().unwrap())),
                ("calm", _) => {}
                _ => panic!("no such order: {order}"),
            }
            println!("done");
        }
    });
    orders.await.unwrap();
    server.shutdown().await;
}
