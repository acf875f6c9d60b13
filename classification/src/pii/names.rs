//! What a column's name says about its values. A name may tighten and suggest; it never loosens anything.

use super::entity::Entity;

/// Names as lower-case words. A rule matches where its words stand next to each other in a name.
const RULES: &[(Entity, &[&str])] = &[
    (Entity::Email, &["email", "e mail", "mail address", "mailaddress", "mailto"]),
    (
        Entity::StreamUrl,
        &[
            "stream url",
            "streamurl",
            "stream uri",
            "rtsp",
            "rtsp url",
            "camera url",
            "video url",
            "hls url",
            "snapshot url",
        ],
    ),
    (Entity::Mac, &["mac", "mac address", "macaddress", "bssid", "bluetooth address", "hardware address"]),
    (Entity::Ipv4, &["ip", "ip address", "ipaddress", "ipv4", "ipv6", "client ip", "remote addr"]),
    (
        Entity::Phone,
        &[
            "phone",
            "telephone",
            "telefon",
            "telefono",
            "mobile number",
            "mobile no",
            "mobilnummer",
            "msisdn",
            "tel",
            "tel no",
            "fax",
            "cell phone",
            "cellphone",
            "handy",
            "whatsapp",
        ],
    ),
    (
        Entity::Plate,
        &[
            "plate",
            "licence plate",
            "license plate",
            "number plate",
            "numberplate",
            "licenseplate",
            "licenceplate",
            "plate number",
            "kennzeichen",
            "anpr",
            "lpr",
            "alpr",
            "matricula",
            "immatriculation",
            "targa",
        ],
    ),
    (
        Entity::Vin,
        &["vin", "vehicle identification number", "chassis number", "chassis no", "fahrgestellnummer", "fin"],
    ),
    (Entity::Imei, &["imei", "imsi", "iccid", "meid", "sim number"]),
    (
        Entity::DeviceId,
        &[
            "device id",
            "deviceid",
            "device uuid",
            "device identifier",
            "advertising id",
            "idfa",
            "gaid",
            "adid",
            "android id",
            "obu id",
            "tag id",
            "transponder id",
        ],
    ),
    (
        Entity::UserId,
        &[
            "user id",
            "userid",
            "user name",
            "username",
            "login",
            "account id",
            "accountid",
            "customer id",
            "customerid",
            "driver id",
            "driverid",
            "person id",
            "member id",
            "employee id",
            "staff id",
            "rider id",
            "passenger id",
        ],
    ),
    (
        Entity::PersonName,
        &[
            "first name",
            "firstname",
            "last name",
            "lastname",
            "surname",
            "given name",
            "givenname",
            "family name",
            "familyname",
            "full name",
            "fullname",
            "driver name",
            "owner name",
            "contact name",
            "maiden name",
            "middle name",
            "person name",
            "customer name",
            "operator name",
            "reported by",
            "contact person",
            "vorname",
            "nachname",
        ],
    ),
    (
        Entity::Address,
        &[
            "home address",
            "postal address",
            "street address",
            "mailing address",
            "residence",
            "billing address",
            "wohnort",
        ],
    ),
    (
        Entity::BirthDate,
        &["birth date", "birthdate", "date of birth", "dob", "birthday", "born on", "geburtsdatum", "year of birth"],
    ),
    (
        Entity::NationalId,
        &[
            "ssn",
            "social security",
            "social security number",
            "national id",
            "passport",
            "passport number",
            "tax id",
            "tax number",
            "identity card",
            "id card",
            "driver licence",
            "driver license",
            "drivers license",
            "driving licence",
            "licence number",
            "license number",
        ],
    ),
    (Entity::Iban, &["iban", "bank account", "account number"]),
    (Entity::Card, &["card number", "cardnumber", "credit card", "creditcard", "card no", "pan", "cc number"]),
    (
        Entity::Secret,
        &[
            "token",
            "password",
            "passwd",
            "pwd",
            "secret",
            "api key",
            "apikey",
            "access key",
            "accesskey",
            "credential",
            "credentials",
            "private key",
            "session id",
            "sessionid",
            "cookie",
            "auth token",
            "authorization",
        ],
    ),
];

/// Words that make a name speak of something about the thing, not of the thing.
const ABOUT: &[&str] =
    &["count", "counts", "verified", "valid", "hash", "length", "type", "enabled", "is", "has", "num"];

/// What values of a column with this name probably are. Both `driverName` and `DRIVER_NAME` are `driver name`.
pub fn suspect(column: &str) -> Option<Entity> {
    let words = words(column);
    if words.iter().any(|word| ABOUT.contains(&word.as_str())) {
        return None;
    }
    // The longest rule that matches: `mac address` says more than `address`.
    RULES
        .iter()
        .flat_map(|(entity, names)| names.iter().map(move |name| (*entity, *name)))
        .filter(|(_, name)| {
            let parts: Vec<&str> = name.split(' ').collect();
            words.windows(parts.len()).any(|window| window.iter().map(String::as_str).eq(parts.iter().copied()))
        })
        .max_by_key(|(_, name)| name.len())
        .map(|(entity, _)| entity)
}

/// Whether a JSON member of this name holds nothing but that, so that the whole of it is a finding. Names that mean
/// harmless things in documents about roads are not among them.
pub(super) fn certain(key: &str) -> Option<Entity> {
    suspect(key).filter(|entity| {
        !matches!(entity, Entity::Address | Entity::StreamUrl | Entity::Ipv4 | Entity::UserId | Entity::DeviceId)
    })
}

/// Whether columns with these names look like the movements of single vehicles or people: something that names the
/// one that moves, where it is, and when.
pub fn looks_like_trajectories<'a>(columns: impl IntoIterator<Item = &'a str>) -> bool {
    let (mut who, mut place, mut time) = (false, false, false);
    for column in columns {
        let words = words(column);
        let has = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
        who |= has(&[
            "trip", "journey", "vehicle", "device", "driver", "tour", "probe", "user", "person", "track", "trace",
            "session", "obu",
        ]) && has(&["id", "uuid", "key", "ref", "hash", "pseudonym", "no", "number"])
            || has(&["tripid", "vehicleid", "deviceid", "driverid", "journeyid", "traceid", "trackid"]);
        place |= has(&[
            "lat",
            "latitude",
            "lon",
            "lng",
            "longitude",
            "geometry",
            "geom",
            "position",
            "location",
            "point",
            "wkt",
            "geohash",
            "coordinates",
        ]);
        time |= has(&["time", "timestamp", "at", "ts", "datetime", "recorded", "observed", "epoch"]);
    }
    who && place && time
}

/// A name's words in lower case: split at everything that is no letter or digit, and where a capital begins a word.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut lower_before = false;
    let mut characters = name.chars().peekable();
    while let Some(c) = characters.next() {
        let starts = c.is_uppercase()
            && (lower_before || !word.is_empty() && characters.peek().is_some_and(|next| next.is_lowercase()));
        if (starts || !c.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        lower_before = c.is_lowercase() || c.is_numeric();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_say_what_they_hold() {
        for (name, entity) in [
            ("email", Some(Entity::Email)),
            ("operator_email", Some(Entity::Email)),
            ("contactEMail", Some(Entity::Email)),
            ("driverName", Some(Entity::PersonName)),
            ("DRIVER_NAME", Some(Entity::PersonName)),
            ("mac_address", Some(Entity::Mac)),
            ("MACAddress", Some(Entity::Mac)),
            ("ip", Some(Entity::Ipv4)),
            ("licensePlate", Some(Entity::Plate)),
            ("stream_url", Some(Entity::StreamUrl)),
            ("date of birth", Some(Entity::BirthDate)),
            ("api-key", Some(Entity::Secret)),
            ("vin", Some(Entity::Vin)),
            ("name", None),
            ("road_name", None),
            ("address", None),
            ("description", None),
            ("description_de", None),
            ("email_count", None),
            ("shipment", None),
            ("plateau", None),
            ("machine", None),
            ("speed", None),
            ("way_id", None),
            ("", None),
        ] {
            assert_eq!(suspect(name), entity, "{name}");
        }
    }

    #[test]
    fn movements_are_somebody_somewhere_at_some_time() {
        assert!(looks_like_trajectories(["trip_id", "lat", "lon", "recorded_at"]));
        assert!(looks_like_trajectories(["vehicleId", "geom", "ts"]));
        assert!(!looks_like_trajectories(["way_id", "geometry", "updated_at"]));
        assert!(!looks_like_trajectories(["trip_id", "duration", "started_at"]));
    }
}
