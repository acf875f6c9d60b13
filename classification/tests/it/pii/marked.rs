//! Texts in which what must be found stands between « and », entity by entity.

use classification::pii::{Entity, Kind, PiiRules, Scanner};

/// Per entity: texts with marks, and texts in which nothing at all may be found.
pub(super) const CASES: &[(Entity, &[&str], &[&str])] = &[
    (
        Entity::Email,
        &[
            "«jane.doe@example.com»",
            "Contact «jane.doe+road@mail.example.co.uk», or «ops@example.org».",
            "<«jane@example.com»>",
            "mailto:«jane@example.com»?subject=x",
            "https://example.com/?email=«jane%40example.com»&x=1",
            "'«o'brien@example.ie»'",
            "«müller@straße.example»",
            "«иван@пример.рф»",
            "«\"jane doe\"@example.com»",
            "«jane@[192.0.2.1]»",
            "«jane@xn--mnchen-3ya.example»",
            "write «jane@example.com.Then» go",
            "user «JANE_DOE@EXAMPLE.COM»;«b@c.de»,«d@e.fr»",
            "דוא״ל: «jane@example.com» תודה",
            "\u{202b}«jane@example.com»\u{202c}",
            "📧«jane@example.com»",
        ],
        &[
            "",
            "@",
            "a@b",
            "@jane",
            "jane@",
            "speed @ 12.5",
            "lane2@A100",
            "camera@2x.png",
            "x@1.2",
            "a@.com",
            "a@-b.c1",
            "5%40",
            "50%400",
            "@example.com",
            "...@example.com",
        ],
    ),
    (
        Entity::Card,
        &[
            "«4111111111111111»",
            "paid with «4111 1111 1111 1111» 12/27",
            "«5555-5555-5555-4444»",
            "«3782 822463 10005», «371449635398431»",
            "«3056 930902 5904»",
            "«6011111111111117»;«3530111333300000»;«2223003122003222»",
            "card:«4222222222222»",
            "lane 3 «4111 1111 1111 1111» 05",
            "«4111\u{a0}1111\u{a0}1111\u{a0}1111»",
            "«4111‑1111‑1111‑1111»",
            "卡号«4111111111111111»。",
            "«6205 5000 0000 0000 004»",
        ],
        &[
            "4111111111111112",
            "0000000000000000",
            "1234567812345670",
            "13.4111111111111111",
            "4111111111111111.5",
            "A4111111111111111",
            "41111111111111111",
            "4111 1111 1111 11111",
            "4111 1111-1111 1111",
            "20261119123456789",
        ],
    ),
    (
        Entity::Iban,
        &[
            "«DE89370400440532013000»",
            "to «DE89 3704 0044 0532 0130 00» BIC COBADEFF",
            "«GB29 NWBK 6016 1331 9268 19»",
            "iban=«nl91abna0417164300»",
            "«FR14-2004-1010-0505-0001-3M02-606»",
            "«NO9386011117947»",
            "«MT84MALT011000012345MTLCAST001S»",
        ],
        &[
            "DE89370400440532013001",
            "DE8937040044053201300",
            "XX89370400440532013000",
            "DE893704004405320130001",
            "ADE89370400440532013000",
        ],
    ),
    (
        Entity::Ipv4,
        &[
            "«192.0.2.1»",
            "from «10.0.0.7»:554",
            "«8.8.8.8», «255.255.255.255».",
            "«192.168.001.010»",
            "rtsp://«10.1.2.3»/stream",
            "addr=«203.0.113.9»/24",
            "主机«203.0.113.9»",
        ],
        &[
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "v1.2.3.4",
            "version 1.2.3.4",
            "13.3771 52.5162 13.4",
            "1..2.3.4",
            "a1.2.3.4b",
            "1.2.3.4567",
        ],
    ),
    (
        Entity::Ipv6,
        &[
            "«2001:db8::1»",
            "«fe80::1%eth0»",
            "[«2001:db8:0:0:0:0:0:1»]:8080",
            "«::1»",
            "«::ffff:192.0.2.1»",
            "address:«fe80::1»",
            "at «2001:DB8::8:800:200C:417A».",
            "interface:«fe80::a»,",
            "«2001:0db8:0000:0000:0000:ff00:0042:8329»",
            "«1::»",
            "see «2001:db8::5»: down",
            "«64:ff9b::192.0.2.33»",
        ],
        &[
            "12:34:56",
            "::",
            "std::fmt",
            "abc::def",
            "1:2:3:4:5:6:7:8:9",
            "12:34:56.789",
            "a:b:c",
            ":::",
            "urn:ngsi-ld:x::y",
        ],
    ),
    (
        Entity::Mac,
        &[
            "«00:1a:2b:3c:4d:5e»",
            "«00-1A-2B-3C-4D-5E»",
            "«001a.2b3c.4d5e»",
            "mac:«00:1a:2b:3c:4d:5e»",
            "«00:11:22:33:44:55» seen",
            "MAC address «001a2b3c4d5e»",
            "device:«00:1a:2b:3c:4d:5e».",
            "«02:00:5e:10:00:00:00:1f»",
        ],
        &[
            "00:1a:2b:3c:4d",
            "12:34:56",
            "001a2b3c4d5e",
            "00:1a-2b:3c:4d:5e",
            "00:1g:2b:3c:4d:5e",
            "26-11-19-12-34-56",
            "1234.5678.9012",
        ],
    ),
    (
        Entity::Phone,
        &[
            "«+49 30 1234567»",
            "«+14155552671»",
            "«+1 (415) 555-2671»",
            "call «+44 20 7946 0958» now",
            "«+33 1 42 68 53 00»",
            "«+49 (0)30 / 123 45 67»",
            "(«+39 06 698 12345»)",
            "«0049 30 1234567»",
            "Tel.: «030 1234567»",
            "phone «555-0123-99»",
            "«(415) 555-2671»",
            "mobile: «0171 2345678»",
            "Fax «040/7654321»",
            "тел. «8 (495) 123-45-67»",
            "电话：«010-12345678»",
            "phone_number=«4155552671»",
            "whatsapp «+5511987654321», «+81-3-1234-5678»",
            "«+91 98765 43210»",
            "«+1.415.555.2671»",
            "«+49‑30‑1234567»",
            "טלפון «03-1234567»",
            "«+86 138 0013 8000»",
            "telephone number is «020 7946 0958»",
        ],
        &[
            "12+345",
            "+52.5200+013.4050/",
            "+49.12345678",
            "+12",
            "2026-11-19 12:34",
            "0012345678901",
            "mobile 2026-11-19 12:00",
            "cell 1234567",
            "hotel 1234567",
            "1234567",
            "2026-11-19T12:34:56+01:00",
            "+0012345678",
            "id +999123456789",
            "call 12",
            "+52.520008, +13.404954",
            "tel",
        ],
    ),
    (
        Entity::UsSsn,
        &["«123-45-6789»", "SSN «123 45 6789»", "social security number: «123456789»", "ssn:«078-05-1120»."],
        &[
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "123-00-4567",
            "123-45-0000",
            "123456789",
            "123 45 6789",
            "1-123-45-6789",
            "123-45-6789-0",
            "DET-123-45-678",
            "57-123-45-6789",
            "123-45-67890",
        ],
    ),
    (
        Entity::Vin,
        &[
            "«1M8GDM9AXKP042788»",
            "VIN: «1HGCM82633A004352»",
            "«5gzcz43d13s812715»",
            "Fahrgestellnummer «WVWZZZ1JZ3W386752»",
            "plate unknown, vin no. «WVWZZZ1JZ3W386752»",
        ],
        &[
            "1M8GDM9AXKP042789",
            "11111111111111111",
            "WVWZZZ1JZ3W386752",
            "1M8GDM9AXKP04278O",
            "X1M8GDM9AXKP042788",
            "ABCDEFGHJKLMNPRST",
        ],
    ),
    (
        Entity::UrlCredentials,
        &[
            "rtsp://«admin:secret»@cam.example.com/stream1",
            "rtsp://«admin:p@ss»@10.example/x",
            "postgres://«svc»@db.example/x",
            "rtsp://«admin:pa/ss»@cam.example/1",
            "https://api.example/?api_key=«abcd1234»&x=1",
            "https://x.example/?token=«t0k»",
            "password=«hunter2»",
            "rtsp://cam.example/user=admin_password=«tlJwpbo6_channel=1»",
            "db_password=\"«p q»\" x",
            "https://b.example/k?X-Amz-Signature=«ab12»&X-Amz-Credential=«AK»",
            "https://a.example/?next=http://«u:p»@b.example/",
        ],
        &[
            "https://example.com/a",
            "rtsp://cam.example.com:554/live",
            "highway=primary",
            "surface=asphalt;pass=2",
            "a://b",
            "x=1",
            "https://[2001]:80/x",
            "key=value",
            "speed=50&lane=2",
            "password=",
            "://@",
        ],
    ),
    (
        Entity::CloudKey,
        &[
            "«AKIAIOSFODNN7EXAMPLE»",
            "key «AIzaSyA1234567890abcdefghijklmnopqrstuv»",
            "«ghp_0123456789abcdefghijABCDEFGHIJ012345»",
            "«xoxb-123456789012-abcdefABCDEF»",
            "«sk_live_0123456789abcdefABCD»",
            "«glpat-abc123DEF456ghi789JK»",
            "«ASIAIMNXUBKATAPFKPKS», which has no digit",
            "«-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----» end",
            "«-----BEGIN PRIVATE KEY-----\nMIIE»",
        ],
        &[
            "AKIA",
            "AKIAIOSFODNN7EXAMPL",
            "AKIAIOSFODNN7EXAMPLE1",
            "XAKIAIOSFODNN7EXAMPLE",
            "sk-this-is-only-a-long-name-of-a-road-somewhere",
            "-----BEGIN CERTIFICATE-----",
            "AIzaShort",
            "----------------",
        ],
    ),
    (
        Entity::Jwt,
        &[
            "«eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U»",
            "Bearer «eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.».",
        ],
        &["eyJhbGciOiJIUzI1NiJ9", "eyJxx.yy.zz", "eyJ", "xeyJhbGciOiJIUzI1NiJ9.e30.x"],
    ),
];

/// The text without its marks, and what stood between them.
pub(super) fn unmarked(marked: &str) -> (String, Vec<(usize, usize)>) {
    let mut text = String::new();
    let mut spans = Vec::new();
    let mut start = 0;
    for c in marked.chars() {
        match c {
            '«' => start = text.len(),
            '»' => spans.push((start, text.len())),
            c => text.push(c),
        }
    }
    (text, spans)
}

#[test]
fn every_entity_is_found_where_it_stands_and_nowhere_else() {
    let scanner = Scanner::new(&PiiRules::default());
    let mut wrong = Vec::new();
    for (entity, found, clean) in CASES {
        for marked in *found {
            let (text, spans) = unmarked(marked);
            let findings = scanner.scan(&text);
            let seen: Vec<(usize, usize)> = findings.iter().map(|f| (f.start, f.end)).collect();
            if seen != spans || findings.iter().any(|f| f.kind != Kind::Known(*entity)) {
                let told: Vec<String> =
                    findings.iter().map(|f| format!("{:?} '{}'", f.kind, &text[f.start..f.end])).collect();
                wrong.push(format!("{entity}: {marked}: found {told:?}"));
            }
        }
        for text in *clean {
            for finding in scanner.scan(text) {
                wrong.push(format!(
                    "{entity}: '{text}' is clean: found {:?} '{}'",
                    finding.kind,
                    &text[finding.start..finding.end]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let tested: Vec<Entity> = CASES.iter().map(|case| case.0).collect();
    assert!(Entity::DETECTED.iter().all(|entity| tested.contains(entity)));
}

/// Without its detector an entity is not found: nothing else covers for it, so a detector that is off is noticed.
#[test]
fn each_detector_can_be_missed() {
    for (entity, found, _) in CASES {
        let off = classification::pii::EntityRule { enabled: false, ..PiiRules::default().entity(*entity) };
        let scanner = Scanner::new(&PiiRules::default().with(*entity, off));
        let missed = found.iter().filter(|marked| {
            let (text, spans) = unmarked(marked);
            scanner.scan(&text).iter().map(|f| (f.start, f.end)).collect::<Vec<_>>() != spans
        });
        assert!(missed.count() * 2 > found.len(), "{entity}");
    }
}

/// The byte test keeps no detector from a finding.
#[test]
fn the_fast_way_finds_what_the_slow_way_finds() {
    let scanner = Scanner::new(&PiiRules::default());
    for (_, found, clean) in CASES {
        for marked in found.iter().chain(*clean) {
            let (text, _) = unmarked(marked);
            for text in
                [text.clone(), format!("x {text} y"), format!("{text}{text}"), text.to_uppercase(), text.to_lowercase()]
            {
                assert_eq!(scanner.scan(&text), scanner.scan_thoroughly(&text), "{text}");
            }
        }
    }
}
