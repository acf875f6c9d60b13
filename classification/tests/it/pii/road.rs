//! Texts as the tables of a traffic platform hold them, with nothing personal in them. The same from the same seed.

use std::fmt::Write as _;

/// A small generator of random numbers, so that texts are the same everywhere.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len() as u64) as usize]
    }

    fn float(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * (self.below(1 << 40) as f64 / (1_u64 << 40) as f64)
    }
}

const ROADS: &[&str] = &[
    "Main Street",
    "Karl-Liebknecht-Straße",
    "Avenue des Champs-Élysées",
    "Rua Augusta",
    "Calle de Alcalá",
    "A100 Nord",
    "M25 J12-J13",
    "I-95 N Exit 24A",
    "US-101 S / Mission St",
    "B96a",
    "Ringstraße 12b",
    "Ostkreuz → Treptow",
    "Oberbaumbrücke",
    "5th Ave & 42nd St",
    "Route 66",
    "SR-520 EB",
    "Via Appia Nuova 1024",
    "Улица Ленина",
    "新宿通り",
    "שדרות רוטשילד",
    "شارع التحرير",
    "Willy-Brandt-Platz",
    "Kreuz Köln-Süd",
    "E55 km 12+345",
    "Pont de l'Alma",
    "High St (A40)",
    "Autobahndreieck Funkturm",
];
const WORDS: &[&str] = &[
    "accident",
    "lane closed",
    "roadworks",
    "congestion",
    "stationary traffic",
    "queue",
    "cleared",
    "left lane blocked",
    "debris",
    "diversion via A113",
    "heavy rain",
    "tunnel closed for maintenance",
    "speed limit 80",
    "expected delay 15 min",
    "both directions",
    "call sign missing",
    "mobile sensor moved",
    "contact loop defect",
    "cell tower nearby",
    "phone box removed",
    "hotel exit",
];
const SENSORS: &[&str] =
    &["DET", "LOOP", "CAM", "BT", "WIM", "VMS", "RSU", "TLC", "ANPR-SITE", "radar", "sensor", "det_"];

/// One clean text.
pub(crate) fn clean(dice: &mut Dice) -> String {
    let road = dice.pick(ROADS);
    let year = 2020 + dice.below(7);
    let (month, day) = (1 + dice.below(12), 1 + dice.below(28));
    let (hour, minute, second) = (dice.below(24), dice.below(60), dice.below(60));
    let (lon, lat) = (dice.float(-180.0, 180.0), dice.float(-85.0, 85.0));
    match dice.below(34) {
        0 => road.to_owned(),
        1 => format!("{road} {}", dice.below(400)),
        2 => format!("{}", 1_000_000 + dice.below(12_000_000_000)),
        3 => format!("way/{}", dice.below(1_400_000_000)),
        4 => format!("{lat:.6},{lon:.6}"),
        5 => format!("POINT({lon:.7} {lat:.7})"),
        6 => {
            let mut wkt = "LINESTRING(".to_owned();
            let (mut x, mut y) = (lon, lat);
            for point in 0..2 + dice.below(12) {
                x += dice.float(-0.001, 0.001);
                y += dice.float(-0.001, 0.001);
                let _ = write!(wkt, "{}{x:.6} {y:.6}", if point > 0 { ", " } else { "" });
            }
            wkt + ")"
        }
        7 => format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"),
        8 => format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:06}+00", dice.below(1_000_000)),
        9 => format!("{day:02}/{month:02}/{year} {hour:02}:{minute:02}"),
        10 => format!("{}", 1_577_836_800 + dice.below(220_000_000)),
        11 => format!("{}", 1_577_836_800_000 + dice.below(220_000_000_000)),
        12 => format!("{}", 1_577_836_800_000_000 + dice.below(220_000_000_000_000)),
        13 => format!("{}{:04}", dice.pick(SENSORS), dice.below(10_000)),
        14 => format!("{}-{:03}-{:02}-{:03}", dice.pick(SENSORS), dice.below(1000), dice.below(100), dice.below(1000)),
        15 => format!("{}:{:08}", dice.pick(SENSORS), dice.below(100_000_000)),
        16 => format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            dice.below(1 << 32),
            dice.below(1 << 16),
            dice.below(1 << 12),
            dice.below(1 << 12),
            dice.below(1 << 48)
        ),
        17 => format!("{} on {road}", dice.pick(WORDS)),
        18 => format!("{road}: {}, {} until {hour:02}:{minute:02}", dice.pick(WORDS), dice.pick(WORDS)),
        19 => format!("{} {} {hour:02}:{minute:02}", dice.pick(WORDS), dice.below(1_000_000)),
        20 => format!("{:.1} km/h", dice.float(0.0, 130.0)),
        21 => format!("{}+{:03}", dice.below(400), dice.below(1000)),
        22 => format!("v{}.{}.{}", dice.below(9), dice.below(30), dice.below(100)),
        23 => format!("{lat:+.5}{lon:+.5}/"),
        24 => format!("#{:06x}", dice.below(1 << 24)),
        25 => format!(
            "{{\"lanes\":{},\"maxspeed\":{},\"ref\":\"A{}\"}}",
            1 + dice.below(5),
            30 + 10 * dice.below(10),
            dice.below(999)
        ),
        26 => format!("u33d{:x}", dice.below(1 << 24)),
        27 => format!("https://tiles.example.org/{}/{}/{}.png", dice.below(19), dice.below(99_999), dice.below(99_999)),
        28 => format!("{year}{month:02}{day:02}T{hour:02}{minute:02}{second:02}_{}.parquet", dice.below(1000)),
        29 => format!("{year}{month:02}{day:02}{hour:02}{minute:02}{second:02}"),
        30 => format!(
            "lane {} of {}, {} veh/h, {} %",
            1 + dice.below(4),
            2 + dice.below(4),
            dice.below(2400),
            dice.below(101)
        ),
        31 => format!(
            "{:.3} {:.3} {:.3} {:.3}",
            dice.float(0.0, 200.0),
            dice.float(0.0, 200.0),
            dice.float(0.0, 99.0),
            dice.float(0.0, 9.0)
        ),
        32 => format!("urn:ngsi-ld:TrafficFlowObserved:{}:{:05}", dice.pick(SENSORS), dice.below(100_000)),
        _ => format!("{:015}", dice.below(1_000_000_000_000_000)),
    }
}
