//! Types that a record holds as text: dates, times, UUIDs, decimals.

use crate::plan::Text;

/// Whether Pydantic would read this text and write it again just so. False also for doubt.
#[must_use]
pub fn is_canonical(kind: Text, body: &[u8]) -> bool {
    match kind {
        Text::Date => date(body).is_some(),
        Text::DateTime => datetime(body).is_some(),
        Text::Time => time(body).is_some_and(|time| time.end == body.len()),
        Text::Uuid => uuid(body),
        Text::Decimal => decimal(body),
        Text::Bytes => memchr::memchr(b'\\', body).is_none(),
        Text::Duration => false,
    }
}

/// A date in the proleptic Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// 1 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

/// A time of day, and where its text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 999,999.
    pub microsecond: u32,
    /// The offset from UTC in minutes, where there is one.
    pub offset: Option<i16>,
    /// The length of the text.
    pub end: usize,
}

fn two(text: &[u8], at: usize) -> Option<u8> {
    let digits = text.get(at..at + 2)?;
    digits.iter().all(u8::is_ascii_digit).then(|| (digits[0] - b'0') * 10 + (digits[1] - b'0'))
}

/// The date that this text is, `2024-02-29`.
#[must_use]
pub fn date(body: &[u8]) -> Option<Date> {
    if body.len() != 10 || body[4] != b'-' || body[7] != b'-' {
        return None;
    }
    let year = u16::from(two(body, 0)?) * 100 + u16::from(two(body, 2)?);
    let (month, day) = (two(body, 5)?, two(body, 8)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    (year > 0 && (1..=days).contains(&day)).then_some(Date { year, month, day })
}

/// The time that this text begins with, as Pydantic writes it: `12:00:00`, `.123456` where the
/// microseconds are not 0, `Z` or `+02:00` where there is an offset.
#[must_use]
pub fn time(body: &[u8]) -> Option<Time> {
    let (hour, minute, second) = (two(body, 0)?, two(body, 3)?, two(body, 6)?);
    if body[2] != b':' || body[5] != b':' || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut end = 8;
    let mut microsecond = 0;
    if body.get(end) == Some(&b'.') {
        for pair in 0..3 {
            microsecond = microsecond * 100 + u32::from(two(body, end + 1 + 2 * pair)?);
        }
        if microsecond == 0 {
            return None;
        }
        end += 7;
    }
    let mut offset = None;
    match body.get(end) {
        Some(b'Z') => {
            offset = Some(0);
            end += 1;
        }
        Some(sign @ (b'+' | b'-')) => {
            let (hours, minutes) = (two(body, end + 1)?, two(body, end + 4)?);
            let size = i16::from(hours) * 60 + i16::from(minutes);
            if body[end + 3] != b':' || hours > 23 || minutes > 59 || size == 0 {
                return None;
            }
            offset = Some(if *sign == b'-' { -size } else { size });
            end += 6;
        }
        _ => {}
    }
    Some(Time { hour, minute, second, microsecond, offset, end })
}

/// The date and time that this text is, `2024-02-29T12:00:00Z`.
#[must_use]
pub fn datetime(body: &[u8]) -> Option<(Date, Time)> {
    let day = date(body.get(..10)?)?;
    let clock = time(body.get(11..)?)?;
    (body[10] == b'T' && clock.end + 11 == body.len()).then_some((day, clock))
}

fn uuid(body: &[u8]) -> bool {
    body.len() == 36
        && body.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
        })
}

/// Plain notation, as `str(Decimal(text))` has it for numbers that are not tiny.
fn decimal(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"-").unwrap_or(body);
    let point = body.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(point) => (&body[..point], Some(&body[point + 1..])),
        None => (body, None),
    };
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let clean = digits(whole) && (whole == b"0" || whole[0] != b'0');
    // Below 1e-6 Decimal changes to an exponent.
    let tiny = |text: &[u8]| whole == b"0" && text.starts_with(b"00000");
    clean && fraction.is_none_or(|text| digits(text) && !tiny(text))
}
