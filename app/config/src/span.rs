//! Times as they are typed: "90s", "7d", "1h30m".

use std::time::Duration;

/// `90s`, `30m`, `24h`, `7d`; also `1h30m`. Not zero.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let refused = || "give a number with s, m, h or d, such as 30m, 24h or 7d".to_owned();
    let mut seconds = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
        let number: u64 = rest[..digits].parse().map_err(|_| refused())?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 60 * 60,
            b'd' => 24 * 60 * 60,
            _ => return Err(refused()),
        };
        let part = number.checked_mul(unit).ok_or("the time is too long")?;
        seconds = seconds.checked_add(part).ok_or("the time is too long")?;
        rest = &rest[digits + 1..];
    }
    if seconds == 0 {
        return Err(refused());
    }
    Ok(Duration::from_secs(seconds))
}

/// A time as it is typed: "7d", "1h30m".
pub fn span_text(time: Duration) -> String {
    let mut rest = time.as_secs();
    let mut text = String::new();
    for (unit, seconds) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= seconds {
            text.push_str(&format!("{}{unit}", rest / seconds));
            rest %= seconds;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        let seconds = |text| parse_span(text).map(|time| time.as_secs()).ok();
        let table = [("90s", 90), ("30m", 1_800), ("24h", 86_400), ("7d", 604_800), ("1h30m", 5_400)];
        for (text, expected) in table {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for bad in
            ["", "0h", "1", "h", "-1h", "1w", "1.5h", "1h ", "99999999999999999999d", "9999999999999999d"]
        {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_is_shown_as_it_can_be_typed() {
        for text in ["90s", "1h30m", "7d", "1d1h1m1s"] {
            let time = parse_span(text).unwrap();
            assert_eq!(parse_span(&span_text(time)), Ok(time), "{text}");
        }
        assert_eq!(span_text(Duration::from_secs(5_400)), "1h30m");
    }
}
