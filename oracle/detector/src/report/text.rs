//! Numbers and tables as Markdown.

use crate::measure::{Interval, Standing};

/// A number to four places; a dash where it is not defined.
pub(crate) fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "–".to_owned() }
}

/// A figure with its interval.
pub(crate) fn estimate(interval: &Interval) -> String {
    if interval.value.is_nan() {
        return "–".to_owned();
    }
    format!("{} ({}–{})", number(interval.value), number(interval.low), number(interval.high))
}

/// "ahead by 0.0120 (0.0100 to 0.0140)": positive is better whatever the figure.
pub(crate) fn standing(difference: &Interval, higher_is_better: bool) -> String {
    let Some(standing) = Standing::of(difference, higher_is_better) else { return "–".to_owned() };
    let (value, low, high) = match higher_is_better {
        true => (difference.value, difference.low, difference.high),
        false => (-difference.value, -difference.high, -difference.low),
    };
    let signed = |value: f64| if value < 0.0 { format!("−{}", number(-value)) } else { number(value + 0.0) };
    match standing {
        Standing::Ahead => format!("**ahead** by {} ({} to {})", signed(value), signed(low), signed(high)),
        Standing::Level => format!("level: {} ({} to {})", signed(value), signed(low), signed(high)),
        Standing::Behind => format!("**behind** by {} ({} to {})", number(-value), number(-high), number(-low)),
    }
}

/// A GitHub table; the first column is aligned left, the others right.
pub(crate) fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = header.iter().enumerate().map(|(place, _)| if place == 0 { "---" } else { "---:" }.to_owned());
    let mut text = line(header) + &line(&rule.collect::<Vec<_>>());
    rows.iter().for_each(|row| text += &line(row));
    text
}

/// Text as a file name: lower case, digits and hyphens.
pub(crate) fn slug(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let spaced: String = text.chars().map(plain).collect();
    let slug = spaced.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    if slug.is_empty() { "plot".to_owned() } else { slug }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_figure_that_is_better_reads_as_ahead() {
        let difference = Interval { value: -0.02, low: -0.03, high: -0.01 };
        assert_eq!(standing(&difference, false), "**ahead** by 0.0200 (0.0100 to 0.0300)");
        assert_eq!(standing(&difference, true), "**behind** by 0.0200 (0.0100 to 0.0300)");
        let level = Interval { value: 0.01, low: -0.01, high: 0.03 };
        assert_eq!(standing(&level, true), "level: 0.0100 (−0.0100 to 0.0300)");
        let none = Interval { value: f64::NAN, low: f64::NAN, high: f64::NAN };
        assert_eq!((standing(&none, true).as_str(), estimate(&none).as_str()), ("–", "–"));
    }

    #[test]
    fn a_bar_in_a_cell_does_not_end_it() {
        let cells = |text: &str| vec![text.to_owned(), "1".to_owned()];
        assert_eq!(table(&cells("class"), &[cells("a|b")]), "| class | 1 |\n| --- | ---: |\n| a\\|b | 1 |\n");
    }

    #[test]
    fn file_names_are_plain() {
        assert_eq!((slug("Risk, by hour (48 h)").as_str(), slug("…").as_str()), ("risk-by-hour-48-h", "plot"));
    }
}
