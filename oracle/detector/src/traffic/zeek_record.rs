//! The fields of a `conn.log` line that are needed, and how they become a flow.
//!
//! Source: docs.zeek.org, `base/protocols/conn/main.zeek`, `Conn::Info`. Times are seconds since 1970 with fractions; JSON may write them as
//! ISO 8601 or whole milliseconds instead (`LogAscii::json_timestamps`).

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::zeek::Connection;
use super::zeek_error::ZeekError;
use super::{ConnectionState, Flow, Protocol, Service};

/// Longest `uid`, bytes; Zeek's own have 17 or 18.
const UID_BYTES_MAX: usize = 64;
/// A number of seconds from here on would be after the year 5138; it is milliseconds.
const SECONDS_MAX: f64 = 1e11;

/// A field that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Started,
    Uid,
    Originator,
    Protocol,
    Service,
    Duration,
    BytesSent,
    BytesReceived,
    State,
    PacketsSent,
    PacketsReceived,
}

impl Field {
    pub(super) const COUNT: usize = 11;
    /// In the order of the discriminants.
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Started,
        Self::Uid,
        Self::Originator,
        Self::Protocol,
        Self::Service,
        Self::Duration,
        Self::BytesSent,
        Self::BytesReceived,
        Self::State,
        Self::PacketsSent,
        Self::PacketsReceived,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Started => "ts",
            Self::Uid => "uid",
            Self::Originator => "id.orig_h",
            Self::Protocol => "proto",
            Self::Service => "service",
            Self::Duration => "duration",
            Self::BytesSent => "orig_bytes",
            Self::BytesReceived => "resp_bytes",
            Self::State => "conn_state",
            Self::PacketsSent => "orig_pkts",
            Self::PacketsReceived => "resp_pkts",
        }
    }

    /// Whether a log without it cannot be used.
    pub(super) const fn is_required(self) -> bool {
        matches!(self, Self::Started | Self::Uid | Self::Originator | Self::Protocol)
    }

    /// What `#types` may say of it, the usual one first.
    pub(super) const fn types(self) -> &'static [&'static str] {
        match self {
            Self::Started => &["time"],
            Self::Uid | Self::State => &["string"],
            Self::Service => &["string", "set[string]"],
            Self::Originator => &["addr"],
            Self::Protocol => &["enum"],
            Self::Duration => &["interval"],
            Self::BytesSent | Self::BytesReceived | Self::PacketsSent | Self::PacketsReceived => &["count"],
        }
    }
}

/// A line's fields, each of its type.
pub(super) struct Record {
    line: u64,
    started_at_ms: u64,
    uid: String,
    device: IpAddr,
    protocol: Protocol,
    service: Service,
    duration_ms: Option<f64>,
    state: ConnectionState,
    /// Bytes sent and received, packets sent and received.
    counts: [Option<u64>; 4],
}

impl Record {
    /// Checks the flow.
    pub(super) fn connection(self) -> Result<Connection, ZeekError> {
        let [bytes_sent, bytes_received, packets_sent, packets_received] = self.counts;
        let flow = Flow {
            started_at_ms: self.started_at_ms,
            duration_ms: self.duration_ms,
            protocol: self.protocol,
            service: self.service,
            state: self.state,
            bytes_sent,
            bytes_received,
            packets_sent,
            packets_received,
        };
        flow.check().map_err(|source| ZeekError::Flow { line: self.line, source })?;
        Ok(Connection { device: self.device, uid: self.uid, flow })
    }
}

/// From the cells of a tab-separated line; `cell` gives none for an unset or absent field.
pub(super) fn of_cells<'a>(line: u64, cell: impl Fn(Field) -> Option<&'a str>) -> Result<Record, ZeekError> {
    let seconds = |field: Field| match cell(field).map(|cell| (cell, cell.parse::<f64>())) {
        None => Ok(None),
        Some((_, Ok(seconds))) if seconds.is_finite() => Ok(Some(seconds)),
        Some((cell, _)) => Err(ZeekError::bad_field(line, field.name(), cell, "is not a number of seconds")),
    };
    let count = |field: Field| match cell(field).map(|cell| (cell, cell.parse::<u64>())) {
        None => Ok(None),
        Some((_, Ok(count))) => Ok(Some(count)),
        Some((cell, Err(_))) => Err(ZeekError::bad_field(line, field.name(), cell, "is not a count")),
    };
    let started = seconds(Field::Started)?.ok_or_else(|| unset(line, Field::Started))?;
    record(line, started_ms(line, started)?, seconds(Field::Duration)?, &cell, count)
}

/// From a line of JSON.
pub(super) fn of_json(line: u64, text: &str) -> Result<Record, ZeekError> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| ZeekError::NotJson { line, reason: error.to_string() })?;
    let value = |field: Field| object.get(field.name()).filter(|value| !value.is_null());
    let bad =
        |field: Field, value: &Value, reason| ZeekError::bad_field(line, field.name(), &value.to_string(), reason);
    for field in Field::ALL {
        let is_word = matches!(field, Field::Uid | Field::Originator | Field::Protocol | Field::Service | Field::State);
        if let Some(value) = value(field).filter(|value| is_word && !value.is_string()) {
            return Err(bad(field, value, "is not a string"));
        }
    }
    let started_at_ms = match value(Field::Started) {
        None => return Err(unset(line, Field::Started)),
        Some(Value::String(text)) => {
            iso_8601_ms(text).ok_or_else(|| ZeekError::bad_field(line, "ts", text, "is not a time in ISO 8601"))?
        }
        Some(value) => {
            let number = value.as_f64().ok_or_else(|| bad(Field::Started, value, "is not a number of seconds"))?;
            started_ms(line, if number > SECONDS_MAX { number / 1_000.0 } else { number })?
        }
    };
    let duration_s = match value(Field::Duration) {
        None => None,
        Some(value) => Some(value.as_f64().ok_or_else(|| bad(Field::Duration, value, "is not a number of seconds"))?),
    };
    let word = |field: Field| value(field).and_then(Value::as_str);
    let count = |field: Field| match value(field) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| bad(field, value, "is not a count")),
    };
    record(line, started_at_ms, duration_s, &word, count)
}

fn record<'a>(
    line: u64,
    started_at_ms: u64,
    duration_s: Option<f64>,
    word: &impl Fn(Field) -> Option<&'a str>,
    count: impl Fn(Field) -> Result<Option<u64>, ZeekError>,
) -> Result<Record, ZeekError> {
    let required = |field: Field| word(field).ok_or_else(|| unset(line, field));
    let (uid, originator) = (required(Field::Uid)?, required(Field::Originator)?);
    if uid.len() > UID_BYTES_MAX {
        return Err(ZeekError::bad_field(line, "uid", uid, "is longer than Zeek's are"));
    }
    let not_an_address = |_| ZeekError::bad_field(line, "id.orig_h", originator, "is not an address");
    let state = match word(Field::State) {
        None => ConnectionState::Unknown,
        Some(name) => match ConnectionState::from_zeek(name) {
            ConnectionState::Unknown => {
                return Err(ZeekError::bad_field(line, "conn_state", name, "is not one of Zeek's states"));
            }
            state => state,
        },
    };
    Ok(Record {
        line,
        started_at_ms,
        uid: uid.to_owned(),
        device: originator.parse().map_err(not_an_address)?,
        protocol: Protocol::from_name(required(Field::Protocol)?),
        service: word(Field::Service).map_or(Service::Unknown, Service::from_zeek),
        duration_ms: duration_s.map(|duration_s| duration_s * 1_000.0),
        state,
        counts: [
            count(Field::BytesSent)?,
            count(Field::BytesReceived)?,
            count(Field::PacketsSent)?,
            count(Field::PacketsReceived)?,
        ],
    })
}

fn unset(line: u64, field: Field) -> ZeekError {
    ZeekError::bad_field(line, field.name(), "", "is unset, and a connection needs it")
}

/// Whole milliseconds; the flow's check bounds them above.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be positive, and `as` saturates"
)]
fn started_ms(line: u64, seconds: f64) -> Result<u64, ZeekError> {
    if seconds >= 0.0 {
        Ok((seconds * 1_000.0) as u64)
    } else {
        Err(ZeekError::bad_field(line, "ts", &seconds.to_string(), "is before 1970"))
    }
}

/// `2011-11-18T06:03:41.486539Z` as Unix milliseconds, UTC. The days of a date follow H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `days_from_civil`.
fn iso_8601_ms(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let digits = |text: &str, width: usize| -> Option<u64> {
        let plain = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    let (year, rest) = date.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let (hour, rest) = time.split_once(':')?;
    let (minute, rest) = rest.split_once(':')?;
    let (second, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 || fraction.len() > 9 {
        return None;
    }
    let thousandths = digits(fraction, fraction.len())? * 1_000 / 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let year_of_march = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year_of_march / 400, year_of_march % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).checked_sub(719_468)?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_times_are_unix_times() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2009-11-18T08:00:21.486539Z", 1_258_531_221_486),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500),
            ("2100-03-01T00:00:00.000Z", 4_107_542_400_000),
        ] {
            assert_eq!(iso_8601_ms(text), Some(ms), "{text}");
        }
        for text in [
            "",
            "2009-11-18",
            "2009-13-18T08:00:21Z",
            "2009-11-18T08:00:21",
            "1969-12-31T23:59:59Z",
            "+009-11-18T08:00:21Z",
        ] {
            assert_eq!(iso_8601_ms(text), None, "{text}");
        }
    }

    #[test]
    fn the_fields_are_in_the_order_of_their_places() {
        for (place, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!(field as usize, place);
        }
    }
}
