//! Scans over a wire that tears, cuts, damages and lies: a scan gives all rows, or an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use data_exporter::error::ErrorCode;
use data_exporter::warehouse::postgres::{PostgresOptions, PostgresWarehouse};
use data_exporter::warehouse::{ScanContext, ScanSpec, Warehouse, WarehouseError};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use secrecy::SecretString;

use crate::support::proxy::Proxy;
use crate::support::warehouse::{TestWarehouse, context, url};

/// Sessions of this name go over the bad wire.
const NAME: &str = "mischievous";
const ROWS: usize = 500;

async fn table(schema: &str) -> (TestWarehouse, ScanSpec) {
    let mut test = TestWarehouse::new(schema).await;
    test.run(format!(
        "CREATE TABLE t AS SELECT g::bigint AS id, CASE WHEN g % 3 > 0 THEN repeat(md5(g::text), g % 7) END AS text,
           (g / 7.0)::numeric(12,4) AS amount FROM generate_series(1, {ROWS}) g
         UNION ALL SELECT 0, repeat('long', 150000), 0"
    ))
    .await;
    let scan = test.whole("t").await;
    (test, scan)
}

fn server() -> u16 {
    url::Url::parse(&url()).unwrap().port().unwrap()
}

fn through(proxy: &Proxy) -> PostgresWarehouse {
    let mut address = url::Url::parse(&url()).unwrap();
    address.set_port(Some(proxy.port)).unwrap();
    address.set_query(Some("sslmode=disable"));
    PostgresWarehouse::new(SecretString::from(address.to_string()), PostgresOptions::default()).unwrap()
}

async fn read(warehouse: &PostgresWarehouse, scan: &ScanSpec) -> Result<RecordBatch, WarehouseError> {
    let start = ScanContext { first_row_timeout: Duration::from_secs(3), ..context(NAME) };
    let mut stream = warehouse.scan(scan, &start).await?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await? {
        batches.push(batch);
    }
    assert!(stream.next().await?.is_none(), "an end is an end");
    Ok(concat_batches(&stream.schema(), &batches).unwrap())
}

#[tokio::test]
async fn a_torn_stream_gives_the_same_rows() {
    let (test, scan) = table("wire_torn").await;
    let whole = read(&test.warehouse, &scan).await.unwrap();
    assert_eq!(whole.num_rows(), ROWS + 1);
    for seed in 0..4 {
        let proxy = Proxy::before(server(), NAME, move |number, message| {
            let mut random = StdRng::seed_from_u64(seed * 100_000 + number as u64);
            let most = if message.len() > 10_000 { 50_000 } else { 40 };
            let mut pieces = Vec::new();
            let mut rest = message.as_slice();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(random.random_range(1..=most).min(rest.len()));
                pieces.push(piece.to_vec());
                rest = after;
            }
            (pieces, true)
        })
        .await;
        assert_eq!(read(&through(&proxy), &scan).await.unwrap(), whole, "seed {seed}");
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_anywhere_is_an_error() {
    let (_test, scan) = table("wire_cut").await;
    let messages = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&messages);
    let counting = Proxy::before(server(), NAME, move |_, message| {
        counter.fetch_add(1, Ordering::Relaxed);
        (vec![message], true)
    })
    .await;
    read(&through(&counting), &scan).await.unwrap();
    // The beginning, the rows, the trailer, the end of the data, the count, and that the server is ready.
    let messages = messages.load(Ordering::Relaxed);
    assert!(messages >= ROWS + 5, "{messages}");
    let mut random = StdRng::seed_from_u64(7);
    let early = [0, 1, 2].into_iter();
    let late = (messages - 6)..messages;
    let between: Vec<usize> = (0..6).map(|_| random.random_range(3..messages - 6)).collect();
    for cut in early.chain(late).chain(between) {
        for whole_bytes in [0, 3, 7] {
            let proxy = Proxy::before(server(), NAME, move |number, mut message| {
                if number == cut {
                    message.truncate(whole_bytes.min(message.len() - 1));
                }
                (vec![message], number < cut)
            })
            .await;
            let error = read(&through(&proxy), &scan).await.expect_err("a cut stream was taken for whole");
            assert_eq!(error.code(), ErrorCode::WarehouseUnavailable, "cut in message {cut} of {messages}: {error}");
        }
    }
}

/// What is done to a message with this tag and number.
fn lie(what: &str, number: usize, mut message: Vec<u8>) -> Vec<Vec<u8>> {
    let tag = message[0];
    match (what, tag) {
        ("a row is lost", b'd') if number == 40 => vec![],
        ("a row comes twice", b'd') if number == 40 => vec![message.clone(), message],
        ("the last row is lost and the count fits", b'd') if number == ROWS + 1 => vec![],
        ("the last row is lost and the count fits", b'C') => vec![command(&format!("COPY {ROWS}"))],
        ("a row more is counted", b'C') => vec![command(&format!("COPY {}", ROWS + 2))],
        ("nothing is counted", b'C') => vec![command("COPY")],
        ("another command has ended", b'C') => vec![command("SELECT 501")],
        ("the trailer is lost", b'd') if message.len() == 7 => vec![],
        ("the end comes early", b'd') if number == 40 => {
            vec![
                vec![b'd', 0, 0, 0, 6, 0xff, 0xff],
                vec![b'c', 0, 0, 0, 4],
                command("COPY 501"),
                b"Z\0\0\0\x05T".to_vec(),
            ]
        }
        ("the data end without a word", b'c') => vec![],
        ("a length is too long", b'd') if number == 40 => {
            message[3] ^= 0x40;
            vec![message]
        }
        ("a tag is unknown", b'd') if number == 40 => {
            message[0] = b'?';
            vec![message]
        }
        ("it is text", b'H') => {
            message[5] = 0;
            vec![message]
        }
        _ => vec![message],
    }
}

fn command(tag: &str) -> Vec<u8> {
    [b"C".as_slice(), (tag.len() as i32 + 5).to_be_bytes().as_slice(), tag.as_bytes(), &[0]].concat()
}

#[tokio::test]
async fn a_stream_that_lies_is_an_error() {
    let (test, scan) = table("wire_lies").await;
    for (what, want) in [
        ("a row is lost", Some(ErrorCode::WarehouseProtocol)),
        ("a row comes twice", Some(ErrorCode::WarehouseProtocol)),
        // The lie that no reader can see; here to show that the others are found for what they are.
        ("the last row is lost and the count fits", None),
        ("a row more is counted", Some(ErrorCode::WarehouseProtocol)),
        ("nothing is counted", Some(ErrorCode::WarehouseProtocol)),
        ("another command has ended", Some(ErrorCode::WarehouseProtocol)),
        ("the trailer is lost", Some(ErrorCode::WarehouseProtocol)),
        ("the end comes early", Some(ErrorCode::WarehouseProtocol)),
        ("the data end without a word", Some(ErrorCode::WarehouseProtocol)),
        ("a length is too long", Some(ErrorCode::WarehouseProtocol)),
        ("a tag is unknown", Some(ErrorCode::WarehouseProtocol)),
        ("it is text", Some(ErrorCode::WarehouseProtocol)),
        ("nothing is done", None),
    ] {
        let proxy = Proxy::before(server(), NAME, move |number, message| (lie(what, number, message), true)).await;
        let result = read(&through(&proxy), &scan).await;
        assert_eq!(result.as_ref().err().map(WarehouseError::code), want, "{what}: {:?}", result.err());
    }
    drop(test);
}

#[tokio::test]
async fn damaged_bytes_are_an_error_or_as_many_rows() {
    let (_test, scan) = table("wire_damaged").await;
    let mut random = StdRng::seed_from_u64(11);
    let damages: Vec<_> = (0..60)
        .map(|_| (random.random_range(0..ROWS + 6), random.random_range(0..30), random.random::<u8>()))
        .collect();
    let mut errors = 0;
    // Side by side: a length that grew makes the reader wait for what never comes.
    for some in damages.chunks(15) {
        let reads = some.iter().map(async |&(damaged, place, byte)| {
            let proxy = Proxy::before(server(), NAME, move |number, mut message| {
                if number == damaged {
                    let place = place % message.len();
                    message[place] ^= byte;
                }
                (vec![message], true)
            })
            .await;
            match read(&through(&proxy), &scan).await {
                Ok(batch) => {
                    assert_eq!(batch.num_rows(), ROWS + 1, "message {damaged}, byte {place}");
                    false
                }
                Err(error) => {
                    assert!(!error.to_string().contains("the reading task ended"), "message {damaged}, byte {place}");
                    true
                }
            }
        });
        errors += join_all(reads).await.into_iter().filter(|&failed| failed).count();
    }
    assert!(errors > 10, "the damage did not arrive: {errors}");
}

#[tokio::test]
async fn a_scan_whose_wire_broke_is_ended_on_the_server() {
    let mut test = TestWarehouse::new("wire_ended").await;
    // Computes on without writing: only being told ends it.
    test.run(
        "CREATE VIEW first_then_silent AS SELECT id FROM (SELECT generate_series(1, 1000000000)::bigint AS id) g WHERE id < 100000",
    )
    .await;
    let scan = test.whole("first_then_silent").await;
    let proxy = Proxy::before(server(), NAME, |number, message| (vec![message], number < 50)).await;
    let error = read(&through(&proxy), &scan).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::WarehouseUnavailable, "{error}");
    let start = Instant::now();
    let running = format!(
        "SELECT pid::text FROM pg_stat_activity WHERE application_name = '{NAME}' AND query LIKE '%wire_ended%'"
    );
    while !test.texts(running.clone()).await.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10), "the query still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
