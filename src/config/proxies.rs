//! Which proxies stand in front of this service, as it is set.

use ipnet::IpNet;

use super::source::Reader;

/// `EXPORTER_FORWARDED_HEADER`: where those proxies write the address of their client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedKind {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded`.
    Forwarded,
}

pub(super) fn trusted(read: &mut Reader<'_>) -> Vec<IpNet> {
    read.parsed("EXPORTER_TRUSTED_PROXIES", Vec::new(), parse)
}

pub(super) fn header(read: &mut Reader<'_>) -> ForwardedKind {
    read.parsed("EXPORTER_FORWARDED_HEADER", ForwardedKind::XForwardedFor, |text| match text {
        _ if text.eq_ignore_ascii_case("x-forwarded-for") => Ok(ForwardedKind::XForwardedFor),
        _ if text.eq_ignore_ascii_case("forwarded") => Ok(ForwardedKind::Forwarded),
        _ => Err("is neither X-Forwarded-For nor Forwarded".to_owned()),
    })
}

/// Networks such as `10.0.0.0/8`, or single addresses. A network of everybody would let anybody invent an address.
fn parse(text: &str) -> Result<Vec<IpNet>, String> {
    let network = |text: &str| match text.parse::<IpNet>() {
        Ok(network) if network.prefix_len() == 0 => {
            Err("trusts every address, so that anybody could invent one; name your proxies' networks".to_owned())
        }
        Ok(network) => Ok(network.trunc()),
        Err(_) => text.parse::<std::net::IpAddr>().map(IpNet::from).map_err(|_| {
            format!("names '{text}', which is no network; write such as 10.0.0.0/8 or fd00::/8, separated by commas")
        }),
    };
    text.split(',').map(|part| network(part.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Needs, Settings, Source};
    use super::*;

    #[test]
    fn proxies_are_networks_or_addresses_and_never_everybody() {
        for (text, expected) in [
            ("", Ok("")),
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("10.1.2.3/8, fd00::1", Ok("10.0.0.0/8 fd00::1/128")),
            ("192.0.2.1", Ok("192.0.2.1/32")),
            ("10.0.0.0/33", Err("10.0.0.0/33")),
            ("proxy.internal", Err("proxy.internal")),
            ("10.0.0.0/8,", Err("no network")),
            ("0.0.0.0/0", Err("every address")),
            ("10.0.0.0/8,::/0", Err("every address")),
        ] {
            let read = Settings::read(&Source::of([("EXPORTER_TRUSTED_PROXIES", text)]), Needs::default());
            match (read, expected) {
                (Ok(settings), Ok(expected)) => {
                    let networks: Vec<String> = settings.trusted_proxies.iter().map(IpNet::to_string).collect();
                    assert_eq!(networks.join(" "), expected, "{text}");
                }
                (Err(error), Err(words)) => {
                    let said = error.to_string();
                    assert!(said.contains("EXPORTER_TRUSTED_PROXIES") && said.contains(words), "{text}: {said}");
                }
                (read, _) => panic!("{text}: {read:?}"),
            }
        }
        for (text, expected) in [
            ("X-Forwarded-For", Some(ForwardedKind::XForwardedFor)),
            ("forwarded", Some(ForwardedKind::Forwarded)),
            ("X-Real-IP", None),
        ] {
            let read = Settings::read(&Source::of([("EXPORTER_FORWARDED_HEADER", text)]), Needs::default());
            assert_eq!(read.map(|settings| settings.forwarded_header).ok(), expected, "{text}");
        }
    }
}
