use axum::http::HeaderValue;
use proptest::prelude::*;

use super::*;

const PROXIES: [&str; 3] = ["10.0.0.0/8", "192.0.2.1/32", "2001:db8:ffff::/48"];

fn proxies(header: ForwardedHeader) -> Proxies {
    Proxies { trusted: PROXIES.iter().map(|network| network.parse().unwrap()).collect(), header }
}

fn client(header: ForwardedHeader, peer: &str, lines: &[(&'static str, &[u8])]) -> String {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    proxies(header).client(peer.parse().unwrap(), &headers).0.to_string()
}

#[test]
fn of_x_forwarded_for_only_what_trusted_proxies_added_counts() {
    for (what, peer, lines, expected) in [
        ("nobody is between", "203.0.113.7", &[][..], "203.0.113.7"),
        ("a proxy that adds nothing", "10.0.0.1", &[], "10.0.0.1"),
        ("a client behind a proxy", "10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
        ("a client that invents one without a proxy", "203.0.113.7", &["198.51.100.1"], "203.0.113.7"),
        ("a client that names a proxy without one", "203.0.113.7", &["10.0.0.1"], "203.0.113.7"),
        ("a client that invents one before a proxy", "10.0.0.1", &["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("a client that invents a line", "10.0.0.1", &["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        ("a client that invents a proxy", "10.0.0.1", &["198.51.100.1, 10.0.0.9, 203.0.113.7"], "203.0.113.7"),
        ("two proxies", "10.0.0.1", &["198.51.100.1, 203.0.113.7, 192.0.2.1"], "203.0.113.7"),
        ("two proxies, a line each", "10.0.0.1", &["203.0.113.7", "192.0.2.1"], "203.0.113.7"),
        ("all are proxies: the first of them asks", "10.0.0.1", &["10.9.9.9, 192.0.2.1"], "10.9.9.9"),
        ("what cannot be read hides what is before it", "10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
        ("and the proxy before it is known", "10.0.0.1", &["203.0.113.7, garbage, 192.0.2.1"], "192.0.2.1"),
        ("an empty entry", "10.0.0.1", &["203.0.113.7,"], "10.0.0.1"),
        ("an empty line", "10.0.0.1", &[""], "10.0.0.1"),
        ("a port", "10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
        ("version 6", "10.0.0.1", &["2001:db8::7"], "2001:db8::7"),
        ("version 6 with a port", "10.0.0.1", &["[2001:db8::7]:443"], "2001:db8::7"),
        ("version 6 in brackets", "10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
        ("version 4 within 6 at the other end", "::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
        ("version 4 within 6 in the header", "10.0.0.1", &["203.0.113.7, ::ffff:10.2.0.1"], "203.0.113.7"),
        ("a proxy of version 6", "2001:db8:ffff::1", &["203.0.113.7"], "203.0.113.7"),
        ("a neighbour of a proxy", "192.0.2.2", &["203.0.113.7"], "192.0.2.2"),
        ("a name", "10.0.0.1", &["localhost"], "10.0.0.1"),
        ("a number", "10.0.0.1", &["3405803783"], "10.0.0.1"),
        ("octal", "10.0.0.1", &["0313.0.113.7"], "10.0.0.1"),
        ("two in one entry", "10.0.0.1", &["203.0.113.7 198.51.100.1"], "10.0.0.1"),
        ("an injection", "10.0.0.1", &["203.0.113.7'; DROP TABLE x"], "10.0.0.1"),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", line.as_bytes())).collect();
        assert_eq!(client(ForwardedHeader::XForwardedFor, peer, &lines), expected, "{what}");
    }
    assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &[("x-forwarded-for", b"\xff")]), "10.0.0.1");
    // A proxy passes on what it does not write itself.
    let both: [(&str, &[u8]); 2] = [("forwarded", b"for=198.51.100.1"), ("x-forwarded-for", b"203.0.113.7")];
    assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &both), "203.0.113.7");
    assert_eq!(client(ForwardedHeader::Forwarded, "10.0.0.1", &both), "198.51.100.1");
}

#[test]
fn of_forwarded_too() {
    for (what, lines, expected) in [
        ("a client behind a proxy", &["for=203.0.113.7"][..], "203.0.113.7"),
        ("with more", &["by=10.0.0.1;For=\"203.0.113.7:99\";proto=https;host=example.com"], "203.0.113.7"),
        ("version 6", &["for=\"[2001:db8::7]:4711\""], "2001:db8::7"),
        ("several", &["for=198.51.100.1, for=203.0.113.7;proto=https, for=192.0.2.1"], "203.0.113.7"),
        ("lines", &["for=198.51.100.1", "for=203.0.113.7"], "203.0.113.7"),
        ("hidden", &["for=198.51.100.1, for=_secret"], "10.0.0.1"),
        ("unknown", &["for=unknown"], "10.0.0.1"),
        ("without for", &["for=198.51.100.1, proto=https"], "10.0.0.1"),
        ("an open quote of a client", &["for=\"198.51.100.1", "for=203.0.113.7"], "203.0.113.7"),
        ("an open quote in the same line", &["for=\", for=203.0.113.7"], "203.0.113.7"),
        ("a host with a comma", &["for=203.0.113.7;host=\"x, for=198.51.100.1\""], "10.0.0.1"),
        ("a host with two", &["for=203.0.113.7;host=\"x, for=198.51.100.1, y\""], "10.0.0.1"),
        ("a host with a semicolon", &["for=203.0.113.7;host=\"x;for=198.51.100.1\""], "10.0.0.1"),
        ("an address twice", &["for=203.0.113.7;for=198.51.100.1"], "10.0.0.1"),
        ("the other header's form", &["203.0.113.7"], "10.0.0.1"),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("forwarded", line.as_bytes())).collect();
        assert_eq!(client(ForwardedHeader::Forwarded, "10.0.0.1", &lines), expected, "{what}");
    }
}

proptest! {
    /// Whatever a client sends, what the proxy adds after it decides.
    #[test]
    fn nothing_that_a_client_sends_is_believed(
        sent in prop::collection::vec("[ -~]{0,40}", 0..4),
        forwarded: bool,
        same_line: bool,
    ) {
        let (header, name, added) = match forwarded {
            true => (ForwardedHeader::Forwarded, "forwarded", "for=203.0.113.7"),
            false => (ForwardedHeader::XForwardedFor, "x-forwarded-for", "203.0.113.7"),
        };
        let mut lines = sent;
        match lines.last_mut() {
            Some(last) if same_line => *last = format!("{last}, {added}"),
            _ => lines.push(added.to_owned()),
        }
        let lines: Vec<_> = lines.iter().map(|line| (name, line.as_bytes())).collect();
        prop_assert_eq!(client(header, "10.0.0.1", &lines), "203.0.113.7");
    }
}
