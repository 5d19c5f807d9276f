//! Times in files: Unix milliseconds, or RFC 3339 in UTC.

/// Reads `1763724645678` (Unix milliseconds) or `2025-11-21T11:30:45.678Z` (RFC 3339, UTC, fraction optional) as Unix milliseconds.
#[must_use]
pub fn parse_time_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers::<3>(date, '-')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers::<3>(time, ':')?;
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ms: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let days_in_month = match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1970..=9999).contains(&year) || !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 59
    {
        return None;
    }
    Some(days_from_civil(year, month, day) * 86_400_000 + ((hour * 60 + minute) * 60 + second) * 1_000 + ms)
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[u64; N]> {
    let parse = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten();
    text.split(separator).map(parse).collect::<Option<Vec<u64>>>()?.try_into().ok()
}

/// Days from 1970-01-01 to a civil date not before it (Howard Hinnant, "chrono-compatible low-level date algorithms").
const fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse_time_ms;

    #[test]
    fn both_forms_are_read_and_nonsense_is_not() {
        assert_eq!(parse_time_ms("1763724645678"), Some(1_763_724_645_678));
        assert_eq!(parse_time_ms("2025-11-21T11:30:45.678Z"), Some(1_763_724_645_678));
        assert_eq!(parse_time_ms("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_time_ms("2000-02-29T00:00:00.5Z"), Some(951_782_400_500));
        let wrong =
            ["", "now", "2025-13-01T00:00:00Z", "2025-11-31T00:00:00Z", "2025-11-21T24:00:00Z", "2025-11-21T11:30:45"];
        for text in wrong.iter().chain(&[
            "2025-11-21T11:30:45+01:00",
            "-5",
            "2025-11-21",
            "1969-12-31T23:59:59Z",
            "2025-00-01T00:00:00Z",
        ]) {
            assert_eq!(parse_time_ms(text), None, "{text}");
        }
    }
}
