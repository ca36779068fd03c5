//! Numbers as they are written: compared exactly, summed exactly, of any size.
//!
//! JSON integers, floats in their shortest form and the text of a `Decimal` share one grammar,
//! so one reader serves MAX, MIN and SUM over all of them without rounding anything.

use std::cmp::Ordering;

use crate::error::{Result, reserve};

/// Digits that a sum may span; `Decimal("1E+999999999") + 1` has a billion.
const SPAN: i64 = 100_000;
/// Exponents are cut to this, far beyond what `Decimal` has, so that sums of them fit an `i64`.
const EXPONENT: i64 = i64::MAX / 8;

/// A decimal number: `± whole fraction × 10^exponent`, where the exponent is that of the last
/// digit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Number<'a> {
    /// Reads `-12.5e+3` and the like; `None` for anything that is no finite number.
    pub(super) fn read(text: &'a [u8]) -> Option<Self> {
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let (whole, rest) = digits(rest);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => digits(rest),
            _ => (&[][..], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let written = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => exponent(rest)?,
            _ => return None,
        };
        Some(Number { negative, whole, fraction, exponent: written - fraction.len() as i64 })
    }

    /// The digits, without leading zeros.
    fn significant(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.whole.iter().chain(self.fraction).copied().skip_while(|&digit| digit == b'0')
    }

    /// The exponent of the first significant digit; `None` for zero.
    fn adjusted(&self) -> Option<i64> {
        let count = self.significant().count() as i64;
        (count > 0).then(|| self.exponent + count - 1)
    }

    /// Compares by value: `1`, `1.0` and `10E-1` are equal.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let sign = |number: &Self, zero: bool| match (zero, number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let (left, right) = (self.adjusted(), other.adjusted());
        let (ours, theirs) = (sign(self, left.is_none()), sign(other, right.is_none()));
        if ours != theirs || ours == 0 {
            return ours.cmp(&theirs);
        }
        let magnitude = left.cmp(&right).then_with(|| {
            let (mut left, mut right) = (self.significant(), other.significant());
            loop {
                match (left.next(), right.next()) {
                    (None, None) => return Ordering::Equal,
                    (left, right) => {
                        let order = left.unwrap_or(b'0').cmp(&right.unwrap_or(b'0'));
                        if order.is_ne() {
                            return order;
                        }
                    }
                }
            }
        });
        if ours < 0 { magnitude.reverse() } else { magnitude }
    }

    /// The digits from the power of ten `low` up, least first.
    fn aligned(&self, low: i64, len: usize) -> Result<Vec<u8>> {
        let mut digits = Vec::new();
        reserve(&mut digits, len)?;
        digits.resize(usize::try_from(self.exponent - low).unwrap_or(0), 0);
        digits.extend(self.fraction.iter().rev().chain(self.whole.iter().rev()).map(|d| d - b'0'));
        digits.resize(len.max(digits.len()), 0);
        Ok(digits)
    }
}

/// The exact sum of two numbers.
pub(super) struct Sum {
    negative: bool,
    /// Least digit first, at least one.
    digits: Vec<u8>,
    /// The power of ten of the least digit.
    exponent: i64,
}

impl Sum {
    /// Adds; `None` where the digits of the sum would be too many to write.
    pub(super) fn of(left: &Number<'_>, right: &Number<'_>) -> Result<Option<Sum>> {
        let low = left.exponent.min(right.exponent);
        let written = |number: &Number<'_>| (number.whole.len() + number.fraction.len()) as i64;
        let len = (left.exponent - low + written(left)).max(right.exponent - low + written(right));
        if len > SPAN.max(written(left) + written(right)) {
            return Ok(None);
        }
        let len = usize::try_from(len).unwrap_or(0);
        let (mut sum, mut other) = (left.aligned(low, len)?, right.aligned(low, len)?);
        let mut negative = left.negative;
        if left.negative == right.negative {
            let mut carry = 0;
            for (digit, more) in sum.iter_mut().zip(&other) {
                let total = *digit + more + carry;
                (*digit, carry) = (total % 10, total / 10);
            }
            if carry > 0 {
                reserve(&mut sum, 1)?;
                sum.push(carry);
            }
        } else {
            if sum.iter().rev().cmp(other.iter().rev()).is_lt() {
                std::mem::swap(&mut sum, &mut other);
                negative = right.negative;
            }
            let mut borrow = 0;
            for (digit, less) in sum.iter_mut().zip(&other) {
                let rest = 10 + *digit - less - borrow;
                (*digit, borrow) = (rest % 10, 1 - rest / 10);
            }
        }
        while sum.len() > 1 && sum.last() == Some(&0) {
            sum.pop();
        }
        if sum == [0] && left.negative != right.negative {
            negative = false;
        }
        Ok(Some(Sum { negative, digits: sum, exponent: low }))
    }

    /// Writes the sum of two integers as JSON.
    pub(super) fn write_int(&self, out: &mut Vec<u8>) {
        if self.negative && self.digits != [0] {
            out.push(b'-');
        }
        out.extend(self.digits.iter().rev().map(|digit| digit + b'0'));
    }

    /// Writes the sum as Python's `str(Decimal)` does, the exponent kept: `1.50`, `1E+3`.
    pub(super) fn write_decimal(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        let count = self.digits.len() as i64;
        let mut digits = self.digits.iter().rev().map(|digit| digit + b'0');
        let adjusted = self.exponent + count - 1;
        if self.exponent > 0 || adjusted < -6 {
            out.extend(digits.next());
            if count > 1 {
                out.push(b'.');
                out.extend(digits);
            }
            out.extend(if adjusted < 0 { b"E-" } else { b"E+" });
            out.extend(itoa::Buffer::new().format(adjusted.unsigned_abs()).as_bytes());
            return;
        }
        let whole = adjusted + 1;
        if whole <= 0 {
            out.extend(b"0.");
            out.extend((whole..0).map(|_| b'0'));
            out.extend(digits);
            return;
        }
        out.extend(digits.by_ref().take(usize::try_from(whole).unwrap_or(0)));
        if self.exponent < 0 {
            out.push(b'.');
            out.extend(digits);
        }
    }
}

/// The leading digits, and what follows them.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// A written exponent, with its sign.
fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (digits, []) = digits(rest) else {
        return None;
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits
        .iter()
        .fold(0i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')))
        .min(EXPONENT);
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number<'_> {
        Number::read(text.as_bytes()).unwrap()
    }

    fn sum(left: &str, right: &str) -> Sum {
        Sum::of(&number(left), &number(right)).unwrap().unwrap()
    }

    fn decimal(left: &str, right: &str) -> String {
        let mut out = Vec::new();
        sum(left, right).write_decimal(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_compare_by_value() {
        for (left, right, order) in [
            ("1", "1.0", Ordering::Equal),
            ("1E+2", "100.00", Ordering::Equal),
            ("-0", "0E+9", Ordering::Equal),
            ("9", "10", Ordering::Less),
            ("-9", "-10", Ordering::Greater),
            ("0.1", "0.09", Ordering::Greater),
            ("9007199254740993", "9007199254740992.0", Ordering::Greater),
            ("1e300", "1e-300", Ordering::Greater),
            ("-1e300", "0", Ordering::Less),
            ("1E+99999999999999999999", "2E+99999999999999999999", Ordering::Less),
        ] {
            assert_eq!(number(left).compare(&number(right)), order, "{left} {right}");
            assert_eq!(number(right).compare(&number(left)), order.reverse(), "{right} {left}");
        }
    }

    #[test]
    fn what_is_no_number_is_not_read() {
        for text in ["", "-", ".", "e5", "1e", "1e+", "1x", "NaN", "Infinity", "1 ", "--1"] {
            assert!(Number::read(text.as_bytes()).is_none(), "{text}");
        }
    }

    /// The right column is what Python's `str(Decimal(a) + Decimal(b))` prints.
    #[test]
    fn decimal_sums_are_written_as_python_writes_them() {
        for (left, right, expected) in [
            ("1.50", "2.5", "4.00"),
            ("0.1", "-0.1", "0.0"),
            ("-0", "-0", "-0"),
            ("1E+3", "1E+3", "2E+3"),
            ("1E+3", "1", "1001"),
            ("1E-7", "1E-7", "2E-7"),
            ("0.000001", "0.000001", "0.000002"),
            ("12E-8", "1E-8", "1.3E-7"),
            ("999", "1", "1000"),
            ("1", "-1.001", "-0.001"),
            ("5E+5", "5E+5", "1.0E+6"),
        ] {
            assert_eq!(decimal(left, right), expected, "{left} + {right}");
        }
    }

    #[test]
    fn a_sum_with_too_many_digits_is_refused() {
        for (left, right) in [("1E+999999999", "1"), ("1", "1E-999999999"), ("0E+999999999", "1")] {
            assert!(Sum::of(&number(left), &number(right)).unwrap().is_none(), "{left} {right}");
        }
        assert_eq!(decimal("1E+999999999999", "1E+999999999999"), "2E+999999999999");
    }

    proptest! {
        #[test]
        fn integers_add_and_compare_as_i128(left: i64, right: i64) {
            let (a, b) = (left.to_string(), right.to_string());
            let mut out = Vec::new();
            sum(&a, &b).write_int(&mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), (i128::from(left) + i128::from(right)).to_string());
            prop_assert_eq!(number(&a).compare(&number(&b)), left.cmp(&right));
        }

        #[test]
        fn floats_compare_as_floats(left in prop::num::f64::NORMAL, right in prop::num::f64::NORMAL) {
            let (a, b) = (format!("{left:e}"), format!("{right:?}"));
            prop_assert_eq!(number(&a).compare(&number(&b)), left.partial_cmp(&right).unwrap());
        }
    }
}
