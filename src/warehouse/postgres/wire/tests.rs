use proptest::prelude::*;

use super::binding::Binding;
use super::inbox::HEAD;
use super::*;

/// A message of the server.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag], (i32::try_from(body.len()).unwrap() + 4).to_be_bytes().as_slice(), body].concat()
}

const BEGIN: &[u8] = &[1, 0, 1, 0, 1];

/// Everything that a COPY of these rows is made of.
fn copy_of(rows: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = message(b'H', BEGIN);
    rows.iter().for_each(|row| bytes.extend(message(b'd', row)));
    bytes.extend(message(b'c', b""));
    bytes.extend(message(b'C', format!("COPY {}\0", rows.len()).as_bytes()));
    bytes.extend(message(b'Z', b"T"));
    bytes
}

/// Keeps what it is given, and wants to be emptied after so many bytes.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    since: usize,
    limit: usize,
    refuse: bool,
}

impl Sink for Kept {
    type Error = ();

    fn push(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.bytes.extend_from_slice(bytes);
        self.since += bytes.len();
        if self.refuse { Err(()) } else { Ok(()) }
    }

    fn is_full(&self) -> bool {
        self.since > self.limit
    }
}

/// Reads a stream that comes in pieces, in a buffer of this size; the server's count and what was kept.
fn read(pieces: &[&[u8]], capacity: usize, limit: usize) -> Result<(u64, Vec<u8>), Broken<()>> {
    let (mut inbox, mut copy) = (Inbox::sized(capacity), CopyOut::new());
    let mut kept = Kept { limit, ..Kept::default() };
    // A chain of readers, each of which gives one piece.
    let mut pieces = pieces.iter().filter(|piece| !piece.is_empty());
    let mut piece: &[u8] = &[];
    loop {
        let (used, step) = copy.advance(inbox.bytes(), inbox.capacity(), &mut kept)?;
        inbox.consume(used);
        match step {
            Step::End(rows) => return Ok((rows, kept.bytes)),
            Step::Full => kept.since = 0,
            Step::More => {
                if piece.is_empty() {
                    piece = pieces.next().copied().unwrap_or_default();
                }
                futures::executor::block_on(inbox.fill(&mut piece))?;
            }
        }
    }
}

fn row() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        // Longer than the buffer.
        prop::collection::vec(any::<u8>(), 90..400),
    ]
}

fn torn<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn it_does_not_matter_how_the_stream_is_torn(
        rows in prop::collection::vec(row(), 0..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        capacity in 32..200_usize,
        limit in 0..500_usize,
    ) {
        let stream = copy_of(&rows);
        let (count, bytes) = read(&torn(&stream, &cuts), capacity, limit).unwrap();
        prop_assert_eq!(count, rows.len() as u64);
        prop_assert_eq!(bytes, rows.concat());
    }

    #[test]
    fn a_stream_that_was_cut_is_never_whole(
        rows in prop::collection::vec(row(), 0..10),
        cut in any::<prop::sample::Index>(),
        capacity in 32..200_usize,
    ) {
        let stream = copy_of(&rows);
        let result = read(&[&stream[..cut.index(stream.len())]], capacity, 100);
        prop_assert!(matches!(result, Err(Broken::Wire(WireError::Closed))), "{result:?}");
    }

    #[test]
    fn damaged_bytes_are_an_error_or_the_same_frames(
        rows in prop::collection::vec(row(), 0..10),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        capacity in 32..200_usize,
    ) {
        let mut stream = copy_of(&rows);
        for (place, byte) in damage {
            let place = place.index(stream.len());
            stream[place] = byte;
        }
        if let Ok((_, bytes)) = read(&[&stream], capacity, 100) {
            prop_assert!(bytes.len() <= stream.len());
        }
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300), capacity in 32..100_usize) {
        let _ = read(&[&noise], capacity, 10);
        let begun = [message(b'H', BEGIN), noise].concat();
        let _ = read(&[&begun], capacity, 10);
        let _ = Binding::of(&begun);
    }
}

#[test]
fn only_the_messages_of_a_copy_in_their_order_make_one() {
    let (begin, data, done) = (message(b'H', BEGIN), message(b'd', b"x"), message(b'c', b""));
    let (one, ready) = (message(b'C', b"COPY 1\0"), message(b'Z', b"T"));
    let notice = message(b'N', &[b'x'; 500]);
    let refused = |state: &str, more: usize| {
        message(b'E', &[b"SERROR\0VERROR\0C", state.as_bytes(), b"\0Mchaffinch", &vec![b'x'; more], b"\0\0"].concat())
    };
    let (short, long) = (refused("22012", 0), refused("57014", 1 << 20));
    for (name, messages, want) in [
        ("as it should be", vec![&begin, &data, &done, &one, &ready], Ok(1)),
        ("notices between", vec![&begin, &notice, &data, &notice, &done, &one, &ready], Ok(1)),
        ("no beginning", vec![&data, &done, &one, &ready], Err("unexpected message")),
        ("text", vec![&message(b'H', &[0, 0, 1, 0, 0]), &data], Err("not binary")),
        ("two beginnings", vec![&begin, &begin], Err("unexpected message")),
        ("no end of the data", vec![&begin, &data, &one, &ready], Err("unexpected message")),
        ("no count", vec![&begin, &data, &done, &ready], Err("unexpected message")),
        ("another command", vec![&begin, &done, &message(b'C', b"SELECT 1\0"), &ready], Err("without its count")),
        ("an empty count", vec![&begin, &done, &message(b'C', b"COPY \0"), &ready], Err("without its count")),
        ("a negative count", vec![&begin, &done, &message(b'C', b"COPY -1\0"), &ready], Err("without its count")),
        ("data after the end", vec![&begin, &done, &data], Err("unexpected message")),
        ("an impossible length", vec![&begin, &vec![b'd', 0, 0, 0, 3]], Err("impossible length")),
        ("a negative length", vec![&begin, &vec![b'd', 0x80, 0, 0, 0]], Err("impossible length")),
        ("an endless setting", vec![&begin, &message(b'S', &[b'x'; 500])], Err("too long")),
        ("an endless beginning", vec![&message(b'H', &[1; 500])], Err("too long")),
        ("refused", vec![&short], Err("SQLSTATE 22012")),
        ("stopped", vec![&begin, &data, &short], Err("SQLSTATE 22012")),
        ("stopped after the data", vec![&begin, &data, &done, &short], Err("SQLSTATE 22012")),
        ("stopped with a long text", vec![&begin, &data, &long], Err("SQLSTATE 57014")),
        ("an error without state", vec![&message(b'E', b"Mno\0\0")], Err("without its SQLSTATE")),
        ("not an SQLSTATE", vec![&message(b'E', b"Cchaffinch\0\0")], Err("without its SQLSTATE")),
    ] {
        let stream: Vec<u8> = messages.into_iter().flatten().copied().collect();
        for piece in [1, 7, stream.len()] {
            let pieces: Vec<_> = stream.chunks(piece).collect();
            match (read(&pieces, 200, 100), want) {
                (Ok((rows, bytes)), Ok(want)) => assert_eq!((rows, bytes.as_slice()), (want, &b"x"[..]), "{name}"),
                (Err(Broken::Wire(error)), Err(want)) => {
                    assert!(error.to_string().contains(want), "{name}: {error}");
                    assert!(!format!("{error:?}").contains("chaffinch"), "{name}");
                }
                (result, _) => panic!("{name}: {result:?}"),
            }
        }
    }
}

#[test]
fn a_sink_that_fails_stops_the_copy() {
    let stream = copy_of(&[b"abc".to_vec()]);
    let mut kept = Kept { refuse: true, ..Kept::default() };
    assert!(matches!(CopyOut::new().advance(&stream, 1000, &mut kept), Err(Broken::Sink(()))));
}

#[test]
fn frames_longer_than_the_buffer_are_cut_and_the_next_is_found() {
    let stream = [message(b'N', &[7; 1000]), message(b'S', b"a\0b\0"), message(b'E', &[8; 90])].concat();
    for piece in [1, 3, 64, 2000] {
        let mut pieces = stream.chunks(piece);
        let mut reader: &[u8] = &[];
        let mut inbox = Inbox::sized(64);
        let mut found = Vec::new();
        while found.len() < 3 {
            // Pieces are joined as the inbox asks for them.
            let mut whole = reader.to_vec();
            whole.extend(pieces.by_ref().flatten());
            let whole: &'static [u8] = Box::leak(whole.into_boxed_slice());
            reader = whole;
            let frame = futures::executor::block_on(inbox.frame(&mut reader)).unwrap();
            found.push((frame.tag, frame.body.len()));
        }
        assert_eq!(found, [(b'N', 64 - HEAD), (b'S', 4), (b'E', 64 - HEAD)], "{piece}");
    }
    let endless = message(b'S', &[0; 100]);
    let frame = futures::executor::block_on(async { Inbox::sized(64).frame(&mut endless.as_slice()).await.map(drop) });
    assert!(matches!(frame, Err(WireError::Protocol("a message that is too long"))));
}

#[test]
fn a_certificate_names_the_hash_of_its_binding() {
    // The shell of a certificate: a sequence of the signed part, the algorithm, and the signature.
    let shell = |oid: &[u8]| {
        let algorithm = [&[6, oid.len() as u8], oid].concat();
        let body = [&[0x30, 2, 5, 0][..], &[0x30, algorithm.len() as u8], &algorithm, &[3, 1, 0]].concat();
        [&[0x30, 0x81, body.len() as u8][..], &body].concat()
    };
    let rsa = |last| [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last];
    let ecdsa = |last| [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last];
    for (certificate, want) in [
        (shell(&rsa(4)), Some(32)),
        (shell(&rsa(5)), Some(32)),
        (shell(&rsa(11)), Some(32)),
        (shell(&rsa(12)), Some(48)),
        (shell(&rsa(13)), Some(64)),
        (shell(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]), Some(32)),
        (shell(&ecdsa(2)), Some(32)),
        (shell(&ecdsa(3)), Some(48)),
        (shell(&ecdsa(4)), Some(64)),
        // Ed25519 and RSA-PSS have no such hash.
        (shell(&[0x2b, 0x65, 0x70]), None),
        (shell(&rsa(10)), None),
        (Vec::new(), None),
        (vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff], None),
        (vec![0x30, 0x80, 0, 0], None),
    ] {
        let want_hash = want.is_some();
        match Binding::of(&certificate) {
            Binding::EndPoint(hash) => assert_eq!(Some(hash.len()), want, "{certificate:?}"),
            Binding::Impossible => assert!(!want_hash, "{certificate:?}"),
        }
    }
}
