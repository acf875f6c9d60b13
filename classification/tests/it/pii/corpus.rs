//! Numbers, addresses and secrets of every country, network and form, to be found.

use classification::pii::Entity;

use super::road::Dice;

/// The examples of the IBAN registry, one for each country.
const IBANS: &[&str] = &[
    "AD1200012030200359100100",
    "AE070331234567890123456",
    "AL47212110090000000235698741",
    "AT611904300234573201",
    "AZ21NABZ00000000137010001944",
    "BA391290079401028494",
    "BE68539007547034",
    "BG80BNBG96611020345678",
    "BH67BMAG00001299123456",
    "BI4210000100010000332045181",
    "BR1800360305000010009795493C1",
    "BY13NBRB3600900000002Z00AB00",
    "CH9300762011623852957",
    "CR05015202001026284066",
    "CY17002001280000001200527600",
    "CZ6508000000192000145399",
    "DE89370400440532013000",
    "DJ2100010000000154000100186",
    "DK5000400440116243",
    "DO28BAGR00000001212453611324",
    "EE382200221020145685",
    "EG380019000500000000263180002",
    "ES9121000418450200051332",
    "FI2112345600000785",
    "FK88SC123456789012",
    "FO6264600001631634",
    "FR1420041010050500013M02606",
    "GB29NWBK60161331926819",
    "GE29NB0000000101904917",
    "GI75NWBK000000007099453",
    "GL8964710001000206",
    "GR1601101250000000012300695",
    "GT82TRAJ01020000001210029690",
    "HR1210010051863000160",
    "HU42117730161111101800000000",
    "IE29AIBK93115212345678",
    "IL620108000000099999999",
    "IQ98NBIQ850123456789012",
    "IS140159260076545510730339",
    "IT60X0542811101000000123456",
    "JO94CBJO0010000000000131000302",
    "KW81CBKU0000000000001234560101",
    "KZ86125KZT5004100100",
    "LB62099900000001001901229114",
    "LC55HEMM000100010012001200023015",
    "LI21088100002324013AA",
    "LT121000011101001000",
    "LU280019400644750000",
    "LV80BANK0000435195001",
    "LY83002048000020100120361",
    "MC5811222000010123456789030",
    "MD24AG000225100013104168",
    "ME25505000012345678951",
    "MK07250120000058984",
    "MN121234123456789123",
    "MR1300020001010000123456753",
    "MT84MALT011000012345MTLCAST001S",
    "MU17BOMM0101101030300200000MUR",
    "NI45BAPR00000013000003558124",
    "NL91ABNA0417164300",
    "NO9386011117947",
    "OM810180000001299123456",
    "PK36SCBL0000001123456702",
    "PL61109010140000071219812874",
    "PS92PALS000000000400123456702",
    "PT50000201231234567890154",
    "QA58DOHB00001234567890ABCDEFG",
    "RO49AAAA1B31007593840000",
    "RS35260005601001611379",
    "RU0304452522540817810538091310419",
    "SA0380000000608010167519",
    "SC18SSCB11010000000000001497USD",
    "SD2129010501234001",
    "SE4550000000058398257466",
    "SI56263300012039086",
    "SK3112000000198742637541",
    "SM86U0322509800000000270100",
    "SO211000001001000100141",
    "ST23000100010051845310146",
    "SV62CENR00000000000000700025",
    "TL380080012345678910157",
    "TN5910006035183598478831",
    "TR330006100519786457841326",
    "UA213223130000026007233566001",
    "VA59001123000012345678",
    "VG96VPVG0000012345678901",
    "XK051212012345678906",
    "YE15CBYE0001018861234567891234",
];

/// Networks: first digits and lengths of the numbers that they issue, and how those are grouped.
const CARDS: &[(&str, usize, &[usize])] = &[
    ("4", 16, &[4, 4, 4, 4]),
    ("4", 13, &[4, 3, 3, 3]),
    ("4", 19, &[4, 4, 4, 4, 3]),
    ("51", 16, &[4, 4, 4, 4]),
    ("55", 16, &[4, 4, 4, 4]),
    ("222100", 16, &[4, 4, 4, 4]),
    ("272099", 16, &[4, 4, 4, 4]),
    ("34", 15, &[4, 6, 5]),
    ("37", 15, &[4, 6, 5]),
    ("6011", 16, &[4, 4, 4, 4]),
    ("644", 16, &[4, 4, 4, 4]),
    ("65", 16, &[4, 4, 4, 4]),
    ("6011", 19, &[4, 4, 4, 4, 3]),
    ("300", 14, &[4, 6, 4]),
    ("3095", 14, &[4, 6, 4]),
    ("36", 14, &[4, 6, 4]),
    ("38", 14, &[4, 6, 4]),
    ("3528", 16, &[4, 4, 4, 4]),
    ("3589", 16, &[4, 4, 4, 4]),
    ("62", 16, &[4, 4, 4, 4]),
    ("62", 19, &[6, 13]),
    ("6759", 16, &[4, 4, 4, 4]),
    ("6304", 19, &[4, 4, 4, 4, 3]),
    ("5018", 16, &[4, 4, 4, 4]),
    ("5019", 16, &[4, 4, 4, 4]),
    ("2200", 16, &[4, 4, 4, 4]),
    ("2204", 16, &[4, 4, 4, 4]),
    ("508500", 16, &[4, 4, 4, 4]),
    ("606985", 16, &[4, 4, 4, 4]),
    ("606282", 16, &[4, 4, 4, 4]),
    ("506699", 16, &[4, 4, 4, 4]),
    ("506099", 19, &[4, 4, 4, 4, 3]),
    ("636", 16, &[4, 4, 4, 4]),
    ("9792", 16, &[4, 4, 4, 4]),
    ("8600", 16, &[4, 4, 4, 4]),
];

/// International numbers in the forms in which people write them, some for each region.
const PHONES: &[&str] = &[
    "+1 212 555 0123",
    "+1-416-555-0143",
    "+12125550123",
    "+1 (787) 555-0123",
    "+7 495 123-45-67",
    "+20 2 27951234",
    "+27 21 123 4567",
    "+30 21 0123 4567",
    "+31 20 123 4567",
    "+32 2 123 45 67",
    "+33 1 23 45 67 89",
    "+33 6 12 34 56 78",
    "+34 912 345 678",
    "+36 1 234 5678",
    "+39 06 1234 5678",
    "+39 347 123 4567",
    "+40 21 123 4567",
    "+41 44 668 18 00",
    "+43 1 5134500",
    "+43 664 1234567",
    "+44 20 7946 0958",
    "+44 7911 123456",
    "+45 32 12 34 56",
    "+46 8 123 456 78",
    "+47 21 23 45 67",
    "+48 22 123 45 67",
    "+49 30 1234567",
    "+49 171 1234567",
    "+49 (0) 30 1234567",
    "+49-89-12345678",
    "+51 1 234 5678",
    "+52 55 1234 5678",
    "+54 11 1234-5678",
    "+55 11 91234-5678",
    "+56 2 2123 4567",
    "+57 301 1234567",
    "+58 212-1234567",
    "+60 3-1234 5678",
    "+61 2 9374 4000",
    "+61 412 345 678",
    "+62 21 1234567",
    "+63 2 8123 4567",
    "+64 9 123 4567",
    "+65 6521 8000",
    "+66 2 123 4567",
    "+81 3-6384-9000",
    "+81 90-1234-5678",
    "+82 2-531-9000",
    "+84 24 1234 5678",
    "+86 10 6250 3000",
    "+86 138 0013 8000",
    "+90 212 123 45 67",
    "+91 22 1234 5678",
    "+91 98765 43210",
    "+92 21 1234 5678",
    "+94 11 234 5678",
    "+98 21 1234 5678",
    "+212 522 123456",
    "+213 21 12 34 56",
    "+216 71 123 456",
    "+221 33 123 45 67",
    "+225 27 21 23 45 67",
    "+233 30 212 3456",
    "+234 803 123 4567",
    "+251 11 123 4567",
    "+254 20 1234567",
    "+255 22 212 3456",
    "+351 21 123 4567",
    "+352 27 12 34 56",
    "+353 1 543 4000",
    "+354 410 1000",
    "+355 4 212 3456",
    "+356 2123 4567",
    "+357 22 123456",
    "+358 9 1234 5678",
    "+359 2 123 4567",
    "+370 5 212 3456",
    "+371 67 123 456",
    "+372 600 1234",
    "+380 44 123 4567",
    "+381 11 1234567",
    "+385 1 2345 678",
    "+386 1 234 56 78",
    "+420 234 567 890",
    "+421 2 1234 5678",
    "+502 2212 3456",
    "+503 2123 4567",
    "+506 2212 3456",
    "+507 212-3456",
    "+591 2 2123456",
    "+593 2 212 3456",
    "+595 21 123 456",
    "+598 2123 4567",
    "+852 2123 4567",
    "+853 2812 3456",
    "+880 2 1234567",
    "+886 2 1234 5678",
    "+961 1 123 456",
    "+962 6 123 4567",
    "+965 2212 3456",
    "+966 11 123 4567",
    "+968 22 123456",
    "+971 4 123 4567",
    "+972 3-123-4567",
    "+974 4412 3456",
    "+994 12 123 45 67",
    "+995 32 212 34 56",
    "+998 71 123 45 67",
];

/// National numbers behind a word that says what they are.
const HINTED: &[&str] = &[
    "Tel. 030 1234567",
    "Telefon: 089/12345678",
    "tel: 01 42 68 53 00",
    "phone: (212) 555-0123",
    "Phone number: 212.555.0123",
    "Call 1-800-555-0199",
    "mobile 07911 123456",
    "Handy: 0171-2345678",
    "fax: 020 7946 0958",
    "teléfono: 912 345 678",
    "telefono 06 1234 5678",
    "тел: 8 495 123-45-67",
    "电话: 010-62503000",
    "電話 03-6384-9000",
    "전화 02-531-9000",
    "הטלפון טלפון 03-1234567",
    "WhatsApp 0612345678",
    "SMS to me at tel 5550123",
    "telephone no. 01632 960983",
    "contact: 0131 496 0000",
    "gsm 0470 12 34 56",
];

const IPV6: &[&str] = &[
    "2001:db8:3333:4444:5555:6666:7777:8888",
    "2001:db8:3333:4444:CCCC:DDDD:EEEE:FFFF",
    "::1",
    "2001:db8::",
    "::1234:5678",
    "2001:db8::1234:5678",
    "2001:0db8:0001:0000:0000:0ab9:C0A8:0102",
    "2001:db8:1::ab9:c0a8:102",
    "::11.22.33.44",
    "2001:db8::123.123.123.123",
    "::1234:5678:91.123.4.56",
    "2001:db8:3333:4444:5555:6666:1.2.3.4",
    "fe80::1ff:fe23:4567:890a%eth2",
    "fd00:1234:5678:9abc::1",
    "ff02::1:ff00:0",
    "64:ff9b::c000:221",
];

fn grouped(digits: &str, sizes: &[usize], separator: &str) -> String {
    let mut rest = digits;
    let mut parts = Vec::new();
    for size in sizes {
        let (part, behind) = rest.split_at(*size);
        parts.push(part);
        rest = behind;
    }
    parts.join(separator)
}

/// A number with the check digit that makes the sum of Luhn a multiple of ten.
fn with_check_digit(mut digits: String) -> String {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(position, byte)| {
            let value = u32::from(byte - b'0') * if position % 2 == 0 { 2 } else { 1 };
            value / 10 + value % 10
        })
        .sum();
    digits.push(char::from(b'0' + ((10 - sum % 10) % 10) as u8));
    digits
}

fn vin_with_check_digit(dice: &mut Dice) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHJKLMNPRSTUVWXYZ0123456789";
    const VALUES: &[u32] =
        &[1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let picks: Vec<usize> = (0..17).map(|position| dice.below(if position == 0 { 23 } else { 33 }) as usize).collect();
    let sum: u32 = picks.iter().zip(WEIGHTS).map(|(pick, weight)| VALUES[*pick] * weight).sum();
    let mut vin: Vec<u8> = picks.iter().map(|pick| LETTERS[*pick]).collect();
    vin[8] = if sum % 11 == 10 { b'X' } else { b'0' + (sum % 11) as u8 };
    // One digit at least, or it would be a word.
    if vin.iter().all(u8::is_ascii_alphabetic) {
        return vin_with_check_digit(dice);
    }
    String::from_utf8(vin).unwrap()
}

/// Every entity that is found by its value, in all its forms: what stands before it, and itself. The same every time.
pub(super) fn corpus() -> Vec<(Entity, String, String)> {
    let mut dice = Dice::new(1);
    let mut corpus: Vec<(Entity, String, String)> = Vec::new();
    let mut add = |entity, before: &str, text: String| corpus.push((entity, before.to_owned(), text));
    for iban in IBANS {
        let spaced: Vec<&str> = (0..iban.len()).step_by(4).map(|at| &iban[at..iban.len().min(at + 4)]).collect();
        add(Entity::Iban, "IBAN: ", (*iban).to_owned());
        add(Entity::Iban, "to ", spaced.join(" "));
        add(Entity::Iban, "", spaced.join("-"));
        add(Entity::Iban, "to ", iban.to_lowercase());
    }
    for (prefix, length, sizes) in CARDS {
        for _ in 0..20 {
            let body: String = (prefix.len()..length - 1).map(|_| char::from(b'0' + dice.below(10) as u8)).collect();
            let card = with_check_digit(format!("{prefix}{body}"));
            add(Entity::Card, "card ", grouped(&card, sizes, " "));
            add(Entity::Card, "#", grouped(&card, sizes, "-"));
            add(Entity::Card, "paid by ", card);
        }
    }
    for phone in PHONES {
        add(Entity::Phone, "reach us: ", (*phone).to_owned());
        add(Entity::Phone, "", phone.replace(' ', "").replace("(0)", ""));
        add(Entity::Phone, "", phone.replace(' ', "\u{a0}"));
        if !phone.contains('(') {
            add(Entity::Phone, "dial ", phone.replacen('+', "00", 1));
            add(Entity::Phone, "", phone.replace([' ', '-'], "."));
        }
    }
    for hinted in HINTED {
        let digits = hinted.find(|c: char| c.is_ascii_digit() || c == '(').unwrap();
        add(Entity::Phone, &hinted[..digits], hinted[digits..].to_owned());
    }
    for address in IPV6 {
        add(Entity::Ipv6, "host ", (*address).to_owned());
        add(Entity::Ipv6, "[", (*address).to_owned());
    }
    for _ in 0..300 {
        let octet = |dice: &mut Dice| dice.below(256);
        let address = [octet(&mut dice), octet(&mut dice), octet(&mut dice), octet(&mut dice)].map(|o| o.to_string());
        add(Entity::Ipv4, "from ", address.join("."));
        let pair = |dice: &mut Dice| format!("{:02x}", dice.below(256));
        let pairs: Vec<String> = (0..6).map(|_| pair(&mut dice)).collect();
        add(Entity::Mac, "seen ", pairs.join(":"));
        if pairs.concat().bytes().any(|byte| byte.is_ascii_alphabetic()) {
            add(Entity::Mac, "seen ", pairs.join("-").to_uppercase());
            add(Entity::Mac, "seen ", grouped(&pairs.concat(), &[4, 4, 4], "."));
        }
        let vin = vin_with_check_digit(&mut dice);
        add(Entity::Vin, "vehicle ", vin.to_lowercase());
        add(Entity::Vin, "vehicle ", vin);
        let ssn = format!("{:03}-{:02}-{:04}", 1 + dice.below(665), 1 + dice.below(99), 1 + dice.below(9999));
        add(Entity::UsSsn, "of ", ssn.clone());
        add(Entity::UsSsn, "SSN ", ssn.replace('-', " "));
        let word = |dice: &mut Dice| {
            (0..1 + dice.below(10)).map(|_| char::from(b'a' + dice.below(26) as u8)).collect::<String>()
        };
        let (name, domain) = (word(&mut dice), word(&mut dice));
        let top = dice.pick(&["com", "de", "co.uk", "info", "museum", "中国", "рф", "xn--p1ai"]);
        add(Entity::Email, "mail ", format!("{name}.{}@{domain}.{top}", dice.below(100)));
    }
    secrets(&mut dice, &mut corpus);
    corpus
}

/// Tokens, keys and addresses with credentials, as services make them.
fn secrets(dice: &mut Dice, corpus: &mut Vec<(Entity, String, String)>) {
    const CAPITALS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const WORD: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut letters = |from: &[u8], count: u64| -> String {
        (0..count).map(|_| char::from(from[dice.below(from.len() as u64) as usize])).collect()
    };
    for _ in 0..100 {
        let head =
            ["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "eyJhbGciOiJSUzI1NiJ9", "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9"];
        for head in head {
            let token = format!("{head}.eyJzdWIiOi{}.{}", letters(WORD, 40), letters(WORD, 43));
            corpus.push((Entity::Jwt, "Bearer ".to_owned(), token));
        }
        for (prefix, from, count) in [
            ("AKIA", CAPITALS, 16),
            ("ASIA", CAPITALS, 16),
            ("AIza", WORD, 35),
            ("ghp_", WORD, 36),
            ("glpat-", WORD, 20),
            ("sk_live_", WORD, 24),
        ] {
            corpus.push((Entity::CloudKey, "key ".to_owned(), format!("{prefix}{}", letters(from, count))));
        }
        for before in ["https://a.example/map?api_key=", "https://a.example/x?token=", "password="] {
            corpus.push((Entity::UrlCredentials, before.to_owned(), letters(WORD, 14)));
        }
    }
}
