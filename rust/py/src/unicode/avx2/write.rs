//! Characters to UTF-8.
//!
//! Each character becomes a lane of four bytes, its UTF-8 in the first three of them as if it took
//! three; a shuffle by the lengths of four characters then drops the bytes that are too many. The
//! idea is that of <https://github.com/simdutf/simdutf>.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm_shuffle_epi8, _mm_storeu_si128, _mm256_and_si256,
    _mm256_andnot_si256, _mm256_castsi256_si128, _mm256_cmpeq_epi16, _mm256_cvtepu8_epi16,
    _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_packs_epi16, _mm256_packus_epi16, _mm256_packus_epi32, _mm256_permute4x64_epi64,
    _mm256_set1_epi16, _mm256_setzero_si256, _mm256_slli_epi16, _mm256_srli_epi16,
    _mm256_srli_epi32, _mm256_subs_epu16, _mm256_testz_si256, _mm256_unpackhi_epi16,
    _mm256_unpacklo_epi16,
};

use crate::unicode::{BLOCK, WIDEST, put_any};

/// So many characters are written at once.
const STEP: usize = 16;

/// A step takes 48 bytes at most, and touches so many.
const TOUCHED: usize = 52;

/// For each mask of four characters (low half: is ASCII; high half: takes two bytes at most) the
/// bytes to keep of their lanes, and how many they are.
static KEEP: [([u8; 16], u8); 256] = {
    let mut table = [([0x80; 16], 0); 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut kept, mut lane) = (0, 0);
        while lane < 4 {
            let mut byte = (mask >> lane & 1) + (mask >> (lane + 4) & 1);
            while byte < 3 {
                table[mask].0[kept] = (4 * lane + byte) as u8;
                kept += 1;
                byte += 1;
            }
            lane += 1;
        }
        table[mask].1 = kept as u8;
        mask += 1;
    }
    table
};

/// Appends characters of any width as escaped UTF-8; `None` for half a surrogate pair.
#[target_feature(enable = "avx2")]
pub(in crate::unicode) fn transcode<C: Copy + From<u8> + Into<u32>>(
    out: &mut Vec<u8>,
    characters: &[C],
) -> Option<()> {
    for block in characters.chunks(BLOCK) {
        out.reserve(BLOCK * WIDEST + TOUCHED);
        let (steps, rest) = block.as_chunks::<STEP>();
        // SAFETY: there is room for the block, each character of which takes WIDEST bytes at
        // most, and for what a step touches beyond; all bytes up to the new length are written.
        // The filler takes one byte a character.
        unsafe {
            let first = out.as_mut_ptr().add(out.len());
            let mut at = first;
            for step in steps {
                at = match put(at, step) {
                    Some(end) => end,
                    None => put_each(at, step)?,
                };
            }
            if !rest.is_empty() {
                let mut step = [C::from(b' '); STEP];
                step[..rest.len()].copy_from_slice(rest);
                at = match put(at, &step) {
                    Some(end) => end.sub(STEP - rest.len()),
                    None => put_each(at, rest)?,
                };
            }
            out.set_len(out.len() + at.offset_from_unsigned(first));
        }
    }
    Some(())
}

/// Writes characters one by one, and says where they end.
///
/// # Safety
/// There is room for [`WIDEST`] bytes each at `at`.
unsafe fn put_each<C: Copy + Into<u32>>(mut at: *mut u8, characters: &[C]) -> Option<*mut u8> {
    for &character in characters {
        // SAFETY: as for this function.
        at = unsafe { at.add(put_any(at, character.into())?) };
    }
    Some(at)
}

/// Sixteen characters as 16-bit lanes; `None` where one is beyond 0xffff.
#[inline]
#[target_feature(enable = "avx2")]
fn load<C>(step: &[C; STEP]) -> Option<__m256i> {
    let from = step.as_ptr().cast::<u8>();
    // SAFETY: sixteen characters of the width stand there.
    unsafe {
        match size_of::<C>() {
            1 => Some(_mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast()))),
            2 => Some(_mm256_loadu_si256(from.cast())),
            _ => {
                let low = _mm256_loadu_si256(from.cast());
                let high = _mm256_loadu_si256(from.add(32).cast());
                let upper = _mm256_srli_epi32::<16>(_mm256_or_si256(low, high));
                if _mm256_testz_si256(upper, upper) == 0 {
                    return None;
                }
                Some(_mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high)))
            }
        }
    }
}

/// Writes sixteen characters, and says where they end; `None` where one of them needs an escape,
/// is half a surrogate pair or takes four bytes.
///
/// # Safety
/// There is room for [`TOUCHED`] bytes at `at`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn put<C>(at: *mut u8, step: &[C; STEP]) -> Option<*mut u8> {
    let codes = load(step)?;
    let all = |value: u16| _mm256_set1_epi16(value.cast_signed());
    let zero = _mm256_setzero_si256();
    let control = _mm256_cmpeq_epi16(_mm256_subs_epu16(codes, all(0x1f)), zero);
    let quote = _mm256_cmpeq_epi16(codes, all(b'"'.into()));
    let backslash = _mm256_cmpeq_epi16(codes, all(b'\\'.into()));
    let upper = _mm256_and_si256(codes, all(0xf800));
    let surrogate = _mm256_cmpeq_epi16(upper, all(0xd800));
    let hard =
        _mm256_or_si256(_mm256_or_si256(control, surrogate), _mm256_or_si256(quote, backslash));
    if _mm256_testz_si256(hard, hard) == 0 {
        return None;
    }
    if _mm256_testz_si256(codes, all(0xff80)) != 0 {
        let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(codes, zero));
        // SAFETY: as for this function.
        unsafe { _mm_storeu_si128(at.cast(), _mm256_castsi256_si128(packed)) };
        return Some(at.wrapping_add(STEP));
    }
    let one = _mm256_cmpeq_epi16(_mm256_and_si256(codes, all(0xff80)), zero);
    let two = _mm256_cmpeq_epi16(upper, zero);
    // The three bytes of a character: the last is the character itself where it is ASCII.
    let six = all(0x3f);
    let tail = _mm256_or_si256(_mm256_and_si256(codes, six), all(0x80));
    let last = _mm256_or_si256(_mm256_and_si256(one, codes), _mm256_andnot_si256(one, tail));
    let middle = _mm256_and_si256(_mm256_srli_epi16::<6>(codes), six);
    let mark = _mm256_or_si256(all(0x80), _mm256_and_si256(two, all(0x40)));
    let first = _mm256_or_si256(_mm256_srli_epi16::<12>(codes), all(0xe0));
    let head = _mm256_or_si256(first, _mm256_slli_epi16::<8>(_mm256_or_si256(middle, mark)));
    let (even, odd) = (_mm256_unpacklo_epi16(head, last), _mm256_unpackhi_epi16(head, last));
    let mask = _mm256_movemask_epi8(_mm256_packs_epi16(one, two)).cast_unsigned() as usize;
    // SAFETY: as for this function; each store touches 16 bytes and keeps 12 at most.
    unsafe {
        let at = keep(at, _mm256_castsi256_si128(even), mask & 0xf | mask >> 4 & 0xf0);
        let at = keep(at, _mm256_castsi256_si128(odd), mask >> 4 & 0xf | mask >> 8 & 0xf0);
        let mask = mask >> 16;
        let at = keep(at, _mm256_extracti128_si256::<1>(even), mask & 0xf | mask >> 4 & 0xf0);
        Some(keep(at, _mm256_extracti128_si256::<1>(odd), mask >> 4 & 0xf | mask >> 8 & 0xf0))
    }
}

/// Writes what a mask of [`KEEP`] leaves of four lanes, and says where it ends.
///
/// # Safety
/// There is room for 16 bytes at `at`, and the mask is below 256.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn keep(at: *mut u8, lanes: __m128i, mask: usize) -> *mut u8 {
    let (bytes, count) = &KEEP[mask];
    // SAFETY: as for this function.
    unsafe {
        let bytes = _mm_shuffle_epi8(lanes, _mm_loadu_si128(bytes.as_ptr().cast()));
        _mm_storeu_si128(at.cast(), bytes);
        at.add(usize::from(*count))
    }
}
