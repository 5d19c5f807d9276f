//! Moments as people write them: RFC 3339, a date, Unix seconds, or relative to now (`now`, `-2h`, `+7d`).
//!
//! Everything is UTC. Conversions follow Howard Hinnant's `days_from_civil` and `civil_from_days`
//! (<https://howardhinnant.github.io/date_algorithms.html>).

use pulsegate_rules::ids::EPOCH_SECONDS;

use crate::failure::{Failure, Outcome};

const DAY_S: u64 = 86_400;
/// Last moment that this program takes: the end of the year 9999.
const MOMENT_S_MAX: u64 = 253_402_300_799;

/// Reads a moment as Unix seconds. `now_s` is what relative moments count from.
pub(crate) fn parse(text: &str, now_s: u64) -> Outcome<u64> {
    let wrong = || {
        Failure::new("INVALID_MOMENT", format!("\"{text}\" is not a moment")).next(
            "write 2026-03-01, 2026-03-01T08:00:00Z, Unix seconds, or relative to now: now, -2h, +7d (units s, m, h, d)",
        )
    };
    let moment = if text == "now" {
        Some(now_s)
    } else if let Some(amount) = text.strip_prefix("now").unwrap_or(text).strip_prefix('-') {
        duration_s(amount).and_then(|seconds| now_s.checked_sub(seconds))
    } else if let Some(amount) = text.strip_prefix("now").unwrap_or(text).strip_prefix('+') {
        duration_s(amount).and_then(|seconds| now_s.checked_add(seconds))
    } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        parse_rfc3339(text)
    };
    moment.filter(|seconds| *seconds <= MOMENT_S_MAX).ok_or_else(wrong)
}

/// Writes Unix seconds as RFC 3339 in UTC.
pub(crate) fn format_s(unix_s: u64) -> String {
    let (year, month, day) = civil_of_days(unix_s / DAY_S);
    let second = unix_s % DAY_S;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

/// Writes Unix milliseconds as RFC 3339 in UTC, rounded down to the second.
pub(crate) fn format_ms(unix_ms: u64) -> String {
    format_s(unix_ms / 1_000)
}

/// A window widened to whole epochs, in Unix seconds: the beginning rounded down, the end rounded up.
pub(crate) fn whole_epochs(from_s: u64, until_s: u64) -> Outcome<(u64, u64)> {
    if from_s >= until_s {
        let message = format!("the window from {} until {} is empty", format_s(from_s), format_s(until_s));
        return Err(Failure::new("EMPTY_WINDOW", message).next("let --until be later than --from"));
    }
    Ok((from_s / EPOCH_SECONDS * EPOCH_SECONDS, until_s.div_ceil(EPOCH_SECONDS) * EPOCH_SECONDS))
}

fn duration_s(text: &str) -> Option<u64> {
    let unit_s = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => DAY_S,
        _ => return None,
    };
    text[..text.len() - 1].parse::<u64>().ok()?.checked_mul(unit_s)
}

fn parse_rfc3339(text: &str) -> Option<u64> {
    if !text.is_ascii() {
        return None;
    }
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let valid = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    valid.then(|| days_of_civil(year, month, day) * DAY_S + hour * 3_600 + minute * 60 + second)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse::<u64>().ok()).flatten()
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

fn days_of_month(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_of_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_of_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_780_000_000;

    #[test]
    fn moments_read_and_write_the_same() {
        for (text, unix_s) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:34:56Z", 951_827_696),
            ("2026-11-21T11:00:00Z", 1_795_258_800),
            ("9999-12-31T23:59:59Z", MOMENT_S_MAX),
        ] {
            assert_eq!(parse(text, NOW_S).unwrap(), unix_s, "{text}");
            assert_eq!(format_s(unix_s), text);
        }
        for day in (0..2_932_896).step_by(97) {
            let (year, month, day_of_month) = civil_of_days(day);
            assert_eq!(days_of_civil(year, month, day_of_month), day);
        }
    }

    #[test]
    fn relative_moments_count_from_now() {
        assert_eq!(parse("now", NOW_S).unwrap(), NOW_S);
        assert_eq!(parse("-2h", NOW_S).unwrap(), NOW_S - 7_200);
        assert_eq!(parse("now+7d", NOW_S).unwrap(), NOW_S + 604_800);
        assert_eq!(parse("1780000001", NOW_S).unwrap(), NOW_S + 1);
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "soon",
            "2026-13-01",
            "2026-02-29",
            "2026-01-01T25:00:00Z",
            "-2w",
            "+99999999999999999d",
            "2026-1-1T1:1",
            "+h",
            "-é",
        ] {
            assert_eq!(parse(text, NOW_S).unwrap_err().code, "INVALID_MOMENT", "{text}");
        }
    }

    #[test]
    fn a_window_grows_to_whole_epochs() {
        assert_eq!(whole_epochs(3_601, 7_201).unwrap(), (3_600, 10_800));
        assert_eq!(whole_epochs(3_600, 7_200).unwrap(), (3_600, 7_200));
        assert_eq!(whole_epochs(5, 5).unwrap_err().code, "EMPTY_WINDOW");
    }
}
