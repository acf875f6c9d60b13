//! The line between one worker and the metadata database: a TCP proxy that can fall silent, be late, or be cut.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Bytes pass.
    Open,
    /// Bytes pass after this time.
    Late(Duration),
    /// Nothing passes, and nobody is told: connections stay open, and what was sent arrives later.
    Silent,
    /// Connections end, and new ones with the first that is asked over them.
    Cut,
}

/// A running proxy; it ends with this.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    mode: watch::Sender<Mode>,
    task: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
        self.mode.send_replace(Mode::Cut);
    }
}

impl Line {
    /// To the server at this port.
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, changes) = watch::channel(Mode::Open);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, changes.clone()));
            }
        });
        Self { port, mode, task }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn carry(mut client: TcpStream, server: u16, mut mode: watch::Receiver<Mode>) -> Option<()> {
    let server = match passes(&mut mode).await {
        Some(()) => TcpStream::connect(("127.0.0.1", server)).await.ok(),
        None => None,
    };
    let Some(server) = server else {
        // As balancers do: what is asked is taken, and there is no answer.
        let _ = client.read(&mut [0; 64]).await;
        return None;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = one_way(from_client, to_server, mode.clone()) => {}
        _ = one_way(from_server, to_client, mode) => {}
    }
    Some(())
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mode: watch::Receiver<Mode>,
) -> Option<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut cut = mode.clone();
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.ok()?,
            _ = cut.wait_for(|mode| *mode == Mode::Cut) => return None,
        };
        passes(&mut mode).await?;
        if read == 0 {
            return None;
        }
        to.write_all(&buffer[..read]).await.ok()?;
    }
}

/// Waits until bytes may pass; `None` when the line is cut.
async fn passes(mode: &mut watch::Receiver<Mode>) -> Option<()> {
    let now = *mode.wait_for(|mode| *mode != Mode::Silent).await.ok()?;
    match now {
        Mode::Cut => None,
        Mode::Late(pause) => {
            tokio::time::sleep(pause).await;
            Some(())
        }
        Mode::Open | Mode::Silent => Some(()),
    }
}
