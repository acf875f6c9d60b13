//! Whether bytes are well-known binary from the first to the last: what stands in the place of texts that would be
//! searched must be coordinates, with no room for anything else. A reader of its own, like the gate's others.
//!
//! ISO 13249-3, in the form that files hold: a byte for the order, a type (1 to 7, with thousands for Z and M), counts,
//! and coordinates as floats of 64 bits.

/// How deep collections may be nested.
const MAX_DEPTH: usize = 64;

/// Whether these bytes are one geometry and nothing else.
pub(super) fn is_wkb(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    geometry(&mut rest, 0, None).is_some() && rest.is_empty()
}

/// Steps over one geometry; of this type where its collection says which.
fn geometry(rest: &mut &[u8], depth: usize, within: Option<u32>) -> Option<()> {
    let (order, body) = rest.split_first().filter(|_| depth < MAX_DEPTH)?;
    *rest = body;
    let little = match order {
        0 => false,
        1 => true,
        _ => return None,
    };
    let kind = number(rest, little)?;
    let width = match kind / 1000 {
        0 => 2,
        1 | 2 => 3,
        3 => 4,
        _ => return None,
    } * size_of::<f64>();
    let kind = kind % 1000;
    if within.is_some_and(|within| within != kind) {
        return None;
    }
    match kind {
        1 => skip(rest, width),
        2 => points(rest, little, width),
        3 => {
            let rings = number(rest, little)?;
            (0..rings).try_for_each(|_| points(rest, little, width))
        }
        4..=7 => {
            let parts = number(rest, little)?;
            let within = (kind < 7).then(|| kind - 3);
            (0..parts).try_for_each(|_| geometry(rest, depth + 1, within))
        }
        _ => None,
    }
}

fn points(rest: &mut &[u8], little: bool, width: usize) -> Option<()> {
    let count = usize::try_from(number(rest, little)?).ok()?;
    skip(rest, count.checked_mul(width)?)
}

fn number(rest: &mut &[u8], little: bool) -> Option<u32> {
    let (bytes, behind) = rest.split_first_chunk::<4>()?;
    *rest = behind;
    Some(if little { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) })
}

fn skip(rest: &mut &[u8], length: usize) -> Option<()> {
    *rest = rest.get(length..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn geometry_is_geometry_to_its_last_byte() {
        let xy = "000000000000F03F 0000000000000040";
        let point = format!("01 01000000 {xy}");
        let whole = [
            point.clone(),
            format!("01 E9030000 {xy} 0000000000000000"),
            format!("00 00000001 {xy}"),
            "01 02000000 00000000".to_owned(),
            format!("01 02000000 02000000 {xy} {xy}"),
            format!("01 03000000 02000000 01000000 {xy} 02000000 {xy} {xy}"),
            format!("01 04000000 02000000 {point} {point}"),
            format!("01 07000000 02000000 {point} 01 02000000 01000000 {xy}"),
        ];
        for text in &whole {
            let found = bytes(text);
            assert!(is_wkb(&found), "{text}");
            for cut in 0..found.len() {
                assert!(!is_wkb(&found[..cut]), "{text} cut to {cut}");
            }
            assert!(!is_wkb(&[&found[..], b"0049 30 123456"].concat()), "{text} and more");
        }
        for text in [
            String::new(),
            format!("02 01000000 {xy}"),
            format!("01 08000000 {xy}"),
            format!("01 A10F0000 {xy} {xy}"),
            // A collection of points that holds a line; more points than there is room for.
            format!("01 04000000 01000000 01 02000000 01000000 {xy}"),
            format!("01 02000000 FFFFFFFF {xy}"),
            "01 07000000 01000000 ".repeat(MAX_DEPTH + 1) + "01 02000000 00000000",
        ] {
            assert!(!is_wkb(&bytes(&text)), "{text}");
        }
        assert!(!is_wkb(b"jane@example.com"));
    }
}
