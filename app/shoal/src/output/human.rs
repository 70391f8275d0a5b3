//! Sizes, times and lists as people read them. Programs read `-o json`.

use std::time::Duration;

/// A time in its two largest units: "3 d 4 h", "12 min 5 s", "1.2 ms".
pub(crate) fn duration(time: Duration) -> String {
    let (seconds, micros) = (time.as_secs(), time.as_micros());
    match seconds {
        0 if micros < 1_000 => format!("{micros} us"),
        0 if micros < 10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        0 => format!("{} ms", micros / 1_000),
        1..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn two(large: u64, unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {small_unit}") }
}

/// How long ago something was, from milliseconds: "now", "12 s ago".
pub(crate) fn ago(millis: u64) -> String {
    if millis < 1_000 {
        "now".to_owned()
    } else {
        format!("{} ago", duration(Duration::from_secs(millis / 1_000)))
    }
}

/// A size with one decimal: "312 B", "1.5 GiB".
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    // Tenths, rounded down, so that no value shows as 1024.0 of its unit.
    let mut tenths = u128::from(bytes) * 10 / 1_024;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while tenths >= 10_240 {
        tenths /= 1_024;
        unit = units.next();
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, unit.unwrap_or(&"EiB"))
}

/// Packets and what they weigh: "1204 (1.5 MiB)".
pub(crate) fn packets(count: u64, weight: u64) -> String {
    if count == 0 { "0".to_owned() } else { format!("{count} ({})", bytes(weight)) }
}

/// Some of a thing: "1 host", "3 hosts".
pub(crate) fn count(count: impl TryInto<u64>, thing: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// "a, b, c"; "-" if there is none.
pub(crate) fn list(entries: impl Iterator<Item = String>) -> String {
    let entries: Vec<String> = entries.collect();
    if entries.is_empty() { "-".to_owned() } else { entries.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_shows_its_two_largest_units() {
        let table = [
            (Duration::from_micros(480), "480 us"),
            (Duration::from_micros(1_290), "1.2 ms"),
            (Duration::from_millis(320), "320 ms"),
            (Duration::from_secs(59), "59 s"),
            (Duration::from_secs(60), "1 min"),
            (Duration::from_secs(725), "12 min 5 s"),
            (Duration::from_secs(3_600), "1 h"),
            (Duration::from_secs(86_399), "23 h 59 min"),
            (Duration::from_secs(3 * 86_400 + 4 * 3_600), "3 d 4 h"),
        ];
        for (time, expected) in table {
            assert_eq!(duration(time), expected);
        }
        assert_eq!(ago(999), "now");
        assert_eq!(ago(2_500), "2 s ago");
    }

    #[test]
    fn a_size_shows_one_decimal() {
        let table = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_610_612_736, "1.5 GiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (size, expected) in table {
            assert_eq!(bytes(size), expected);
        }
    }
}
