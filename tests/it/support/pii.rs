//! Personal data of invented people, one value for each entity, and tables that hold it.

use std::fmt::Write as _;

use classification::pii::Entity;

use super::decisions::canary;

/// An entity, its value, and a text around it. In no other entity's form.
pub(crate) const PERSONAL: &[(Entity, &str, &str)] = &[
    (
        Entity::Jwt,
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJjYW5hcnkifQ.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "session {} ended",
    ),
    (Entity::CloudKey, "AKIACANARYKEYSAMPLE2", "key {} found"),
    (Entity::UrlCredentials, "canaryKeyOfMap", "https://tiles.example/?api_key={}&z=3"),
    (Entity::Iban, "MT84MALT011000012345MTLCAST001S", "refund to {}"),
    (Entity::Card, "4539148803436467", "towing paid with {}"),
    (Entity::Email, "Canary.Person@Mail.Example.org", "write to {} first"),
    (Entity::Vin, "1M8GDM9AXKP042788", "vehicle {} left"),
    (Entity::UsSsn, "078-05-1120", "driver {} identified"),
    (Entity::Mac, "00:1A:2B:3C:4D:5E", "beacon {} seen"),
    (Entity::Ipv6, "2001:db8:85a3::8a2e:370:7334", "camera at {} is dark"),
    (Entity::Ipv4, "203.0.113.177", "camera at {} is dark"),
    (Entity::Phone, "+44 20 7946 0958", "towing: {}"),
];

/// What a pattern of the shipped `pii.toml` finds.
pub(crate) const PATTERN: (&str, &str, &str) = ("FLEET_PLATE", "QX-AB 4711", "parked {} away");

/// Columns whose names alone say what they hold, with the entity that they speak of.
pub(crate) const NAMED: &[(Entity, &str)] = &[
    (Entity::Plate, "licence_plate"),
    (Entity::Imei, "imei"),
    (Entity::DeviceId, "device_id"),
    (Entity::UserId, "user_id"),
    (Entity::PersonName, "driver_name"),
    (Entity::Address, "home_address"),
    (Entity::BirthDate, "date_of_birth"),
    (Entity::NationalId, "passport_number"),
    (Entity::Secret, "access_token"),
    (Entity::StreamUrl, "stream_url"),
    (Entity::Email, "operator_email"),
    (Entity::Phone, "phone"),
    (Entity::Mac, "mac_address"),
    (Entity::Ipv4, "client_ip"),
    (Entity::Vin, "vin"),
    (Entity::Iban, "bank_account"),
    (Entity::Card, "card_number"),
];

/// Names of entities with their values and texts, the pattern's last.
pub(crate) fn personal() -> Vec<(String, &'static str, String)> {
    let known =
        PERSONAL.iter().map(|(entity, value, text)| (entity.label().to_owned(), *value, text.replace("{}", value)));
    let pattern = (PATTERN.0.to_owned(), PATTERN.1, PATTERN.2.replace("{}", PATTERN.1));
    known.chain([pattern]).collect()
}

/// The value of a column that is known by its name.
pub(crate) fn named(column: &str) -> String {
    canary(&format!("named/{column}"))
}

/// What must be there: a clean text beside the others.
pub(crate) fn clean() -> String {
    canary("clean")
}

/// `remarks`: texts, documents with the texts as leaves and as keys. `people`: the columns known by their names.
pub(crate) fn warehouse() -> String {
    let mut sql =
        "CREATE TABLE remarks (id bigint, at timestamptz, note text, document jsonb, keyed json);\n".to_owned();
    let texts = personal().into_iter().map(|(_, _, text)| text).chain([clean()]);
    for (id, text) in texts.enumerate() {
        writeln!(
            sql,
            "INSERT INTO remarks VALUES ({id}, '2026-03-02T12:00Z', '{text}',
               jsonb_build_object('of', jsonb_build_array(1, '{text}')), json_build_object('{text}', true));"
        )
        .unwrap();
    }
    let names: Vec<&str> = NAMED.iter().map(|(_, column)| *column).collect();
    let values: Vec<String> = names.iter().map(|name| format!("'{}'", named(name))).collect();
    writeln!(
        sql,
        "CREATE TABLE people (at timestamptz, free text, {} text);
         INSERT INTO people VALUES ('2026-03-02T12:00Z', '{}', {});",
        names.join(" text, "),
        canary("people/free"),
        values.join(", ")
    )
    .unwrap();
    sql
}

/// Everything is `nr`, and nobody attests anything.
pub(crate) fn rules() -> String {
    let mut sql = String::new();
    let remarks = ["id", "at", "note", "document", "keyed"];
    let people = ["at", "free"].into_iter().chain(NAMED.iter().map(|(_, column)| *column));
    let tables = [("remarks", remarks.to_vec()), ("people", people.collect())];
    for (table, columns) in tables {
        for rules in ["export_tables", "data_column_classification", "column_restrictions"] {
            writeln!(sql, "DELETE FROM {rules} WHERE table_name = '{table}';").unwrap();
        }
        writeln!(sql, "INSERT INTO export_tables (table_name, time_column) VALUES ('{table}', 'at');").unwrap();
        for column in columns {
            writeln!(sql, "INSERT INTO data_column_classification VALUES ('{table}', '{column}', 'nr');").unwrap();
        }
    }
    sql
}
