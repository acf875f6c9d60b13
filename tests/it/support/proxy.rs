//! A proxy before a PostgreSQL that does mischief to scans, and to nothing else: what the server sends from the
//! beginning of the COPY on goes through a function of the test.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What becomes of one message of the server: pieces to write one after the other, and whether to go on.
pub(crate) type Mischief = dyn Fn(usize, Vec<u8>) -> (Vec<Vec<u8>>, bool) + Send + Sync;

/// A running proxy; it ends with this.
pub(crate) struct Proxy {
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Before the server at this port. Sessions whose name holds `name` are those that `mischief` is done to; it is
    /// given each message from the beginning of the COPY on, with its number from 0.
    pub(crate) async fn before(
        server: u16,
        name: &'static str,
        mischief: impl Fn(usize, Vec<u8>) -> (Vec<Vec<u8>>, bool) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mischief: Arc<Mischief> = Arc::new(mischief);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, server, name, Arc::clone(&mischief)));
            }
        });
        Self { port, task }
    }
}

async fn serve(mut client: TcpStream, server: u16, name: &str, mischief: Arc<Mischief>) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", server)).await.ok()?;
    client.set_nodelay(true).ok()?;
    // The first message has a length and no tag.
    let length = client.read_u32().await.ok()?;
    let mut first = vec![0; length as usize - 4];
    client.read_exact(&mut first).await.ok()?;
    server.write_all(&length.to_be_bytes()).await.ok()?;
    server.write_all(&first).await.ok()?;
    if !first.windows(name.len()).any(|window| window == name.as_bytes()) {
        copy_bidirectional(&mut client, &mut server).await.ok()?;
        return None;
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // Held until the server's side ends: whether the client still talks must not matter.
    let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut number = None;
    loop {
        let mut message = vec![0; 5];
        if from_server.read_exact(&mut message).await.is_err() {
            break;
        }
        let length = u32::from_be_bytes(message[1..5].try_into().unwrap()) as usize - 4;
        message.resize(5 + length, 0);
        from_server.read_exact(&mut message[5..]).await.ok()?;
        if message[0] == b'H' {
            number = Some(0);
        }
        let (pieces, go_on) = match &mut number {
            None => (vec![message], true),
            Some(number) => {
                *number += 1;
                mischief(*number - 1, message)
            }
        };
        for piece in pieces {
            to_client.write_all(&piece).await.ok()?;
            tokio::task::yield_now().await;
        }
        if !go_on {
            break;
        }
    }
    up.abort();
    Some(())
}
