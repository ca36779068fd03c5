//! Which of two texts of one type is the greater, by value.

use std::cmp::Ordering;

use super::number::Number;
use crate::key::to_days;
use crate::plan::Text;
use crate::text::{self, Time};

/// Compares two texts (without quotes) of this type; `Err` says why they have no order.
pub(super) fn texts(kind: Text, left: &[u8], right: &[u8]) -> Result<Ordering, &'static str> {
    match kind {
        Text::Date => both(left, right, day),
        Text::Time => moments(left, right, time),
        Text::DateTime => moments(left, right, datetime),
        Text::Duration => both(left, right, duration),
        Text::Decimal => decimals(left, right),
        // The canonical text of a UUID sorts as the UUID does, UTF-8 as code points do.
        Text::Uuid | Text::Bytes => Ok(left.cmp(right)),
    }
}

/// Compares two texts of an unknown type, by what they look like: moments, dates, decimals,
/// else by code points.
pub(super) fn alike(left: &[u8], right: &[u8]) -> Result<Ordering, &'static str> {
    if datetime(left).is_some() && datetime(right).is_some() {
        moments(left, right, datetime)
    } else if let (Some(left), Some(right)) = (Number::read(left), Number::read(right)) {
        Ok(left.compare(&right))
    } else {
        Ok(left.cmp(right))
    }
}

const UNREADABLE: &str = "a value is not in canonical form";

fn both<T: Ord>(
    left: &[u8],
    right: &[u8],
    read: fn(&[u8]) -> Option<T>,
) -> Result<Ordering, &'static str> {
    Ok(read(left).ok_or(UNREADABLE)?.cmp(&read(right).ok_or(UNREADABLE)?))
}

/// A moment in microseconds, and whether it has an offset (which is then taken off).
type Moment = (i64, bool);

fn moments(
    left: &[u8],
    right: &[u8],
    read: fn(&[u8]) -> Option<Moment>,
) -> Result<Ordering, &'static str> {
    let (left, right) = (read(left).ok_or(UNREADABLE)?, read(right).ok_or(UNREADABLE)?);
    if left.1 != right.1 {
        return Err("one has a time zone and the other has none");
    }
    Ok(left.0.cmp(&right.0))
}

/// Compares decimals; NaN is the caller's to judge.
fn decimals(left: &[u8], right: &[u8]) -> Result<Ordering, &'static str> {
    let infinity = |text: &[u8]| match text {
        b"Infinity" => 1,
        b"-Infinity" => -1,
        _ => 0,
    };
    match (infinity(left), infinity(right)) {
        (0, 0) => match (Number::read(left), Number::read(right)) {
            (Some(left), Some(right)) => Ok(left.compare(&right)),
            _ => Err(UNREADABLE),
        },
        (left, right) => Ok(left.cmp(&right)),
    }
}

fn day(body: &[u8]) -> Option<i32> {
    text::date(body).map(to_days)
}

fn time(body: &[u8]) -> Option<Moment> {
    text::time(body).filter(|time| time.end == body.len()).map(moment)
}

fn datetime(body: &[u8]) -> Option<Moment> {
    let (date, time) = text::datetime(body)?;
    let (micros, aware) = moment(time);
    Some((i64::from(to_days(date)) * 86_400_000_000 + micros, aware))
}

fn moment(time: Time) -> Moment {
    let minutes = i64::from(time.hour) * 60 + i64::from(time.minute);
    let minutes = minutes - i64::from(time.offset.unwrap_or(0));
    let micros = i64::from(time.second) * 1_000_000 + i64::from(time.microsecond);
    (minutes * 60_000_000 + micros, time.offset.is_some())
}

/// Microseconds of an ISO 8601 duration; a year has 365 days and a month 30, as where Pydantic
/// reads them.
fn duration(text: &[u8]) -> Option<i128> {
    let (sign, rest) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    let mut rest = rest.strip_prefix(b"P")?;
    let (mut total, mut in_time) = (0i128, false);
    while let Some(&first) = rest.first() {
        if first == b'T' {
            (in_time, rest) = (true, &rest[1..]);
            continue;
        }
        let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut value = i128::from(digits(&rest[..len])?) * 1_000_000;
        rest = &rest[len..];
        if let [b'.', after @ ..] = rest {
            let len = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
            value += i128::from(fraction(&after[..len])?);
            rest = &after[len..];
        }
        let (&unit, after) = rest.split_first()?;
        total += value
            * match (unit, in_time) {
                (b'Y', false) => 365 * 86_400,
                (b'M', false) => 30 * 86_400,
                (b'W', false) => 7 * 86_400,
                (b'D', false) => 86_400,
                (b'H', true) => 3_600,
                (b'M', true) => 60,
                (b'S', true) => 1,
                _ => return None,
            };
        rest = after;
    }
    Some(sign * total)
}

/// The value of 1 to 18 digits.
fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 18 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

/// The microseconds of the digits after the point.
fn fraction(text: &[u8]) -> Option<i64> {
    let text = text.get(..6).unwrap_or(text);
    Some(digits(text)? * 10i64.pow(6 - text.len() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(kind: Text, left: &str, right: &str) -> Result<Ordering, &'static str> {
        texts(kind, left.as_bytes(), right.as_bytes())
    }

    #[test]
    fn aware_datetimes_compare_by_instant() {
        for (left, right, expected) in [
            ("2024-02-29T12:00:00Z", "2024-02-29T13:00:00+01:00", Ordering::Equal),
            ("2024-02-29T12:00:00Z", "2024-02-29T12:30:00+01:00", Ordering::Greater),
            ("2024-02-29T23:30:00-01:00", "2024-03-01T00:00:00Z", Ordering::Greater),
            ("2024-02-29T12:00:00.000001Z", "2024-02-29T12:00:00Z", Ordering::Greater),
            ("1999-12-31T23:59:59.999999Z", "2000-01-01T00:00:00Z", Ordering::Less),
        ] {
            assert_eq!(order(Text::DateTime, left, right), Ok(expected), "{left} {right}");
        }
        assert!(order(Text::DateTime, "2024-02-29T12:00:00Z", "2024-02-29T12:00:00").is_err());
        assert!(order(Text::DateTime, "2024-02-29", "2024-02-29T12:00:00").is_err());
    }

    #[test]
    fn dates_times_and_durations_compare_by_value() {
        assert_eq!(order(Text::Date, "0999-12-31", "1000-01-01"), Ok(Ordering::Less));
        assert_eq!(order(Text::Time, "12:00:00+02:00", "11:00:00Z"), Ok(Ordering::Less));
        assert_eq!(order(Text::Time, "12:00:00.500000", "12:00:00.499999"), Ok(Ordering::Greater));
        assert_eq!(order(Text::Duration, "PT90M", "PT1H30M"), Ok(Ordering::Equal));
        assert_eq!(order(Text::Duration, "P1Y", "P364DT24H"), Ok(Ordering::Equal));
        assert_eq!(order(Text::Duration, "-P9D", "-P10D"), Ok(Ordering::Greater));
        assert_eq!(order(Text::Duration, "PT0.5S", "PT0.49S"), Ok(Ordering::Greater));
        assert!(order(Text::Date, "yesterday", "2024-02-29").is_err());
    }

    #[test]
    fn decimals_compare_by_value() {
        assert_eq!(order(Text::Decimal, "9.5", "10"), Ok(Ordering::Less));
        assert_eq!(order(Text::Decimal, "1.0", "1.00"), Ok(Ordering::Equal));
        assert_eq!(order(Text::Decimal, "1E+500", "Infinity"), Ok(Ordering::Less));
        assert_eq!(order(Text::Decimal, "-Infinity", "-1E+500"), Ok(Ordering::Less));
        assert!(order(Text::Decimal, "NaN", "1").is_err());
    }

    #[test]
    fn texts_of_unknown_type_compare_as_what_they_look_like() {
        let order = |left: &str, right: &str| alike(left.as_bytes(), right.as_bytes());
        assert_eq!(order("9.5", "10"), Ok(Ordering::Less));
        assert_eq!(order("9.5", "10 apples"), Ok(Ordering::Greater));
        assert_eq!(
            order("2024-02-29T12:00:00Z", "2024-02-29T12:30:00+01:00"),
            Ok(Ordering::Greater)
        );
    }
}
