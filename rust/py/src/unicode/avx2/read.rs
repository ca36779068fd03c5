//! UTF-8 to characters of 8 or 16 bits.
//!
//! For each byte the character that would end with it is put together from it and the two bytes
//! before, in a lane of 16 bits; a shuffle by which bytes do end a character then drops the lanes
//! of those that do not. Nothing depends on what the text is like, so nothing is mispredicted.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_cmpgt_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_packus_epi16,
    _mm_set1_epi8, _mm_shuffle_epi8, _mm_storel_epi64, _mm_storeu_si128, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_cmpeq_epi16, _mm256_cvtepu8_epi16, _mm256_extracti128_si256,
    _mm256_or_si256, _mm256_set1_epi16, _mm256_slli_epi16,
};

/// So many bytes are read at once, and as many characters written at most.
const STEP: usize = 16;

/// For each mask of eight lanes of 16 bits the bytes of those to keep.
static KEEP: [[u8; 16]; 256] = {
    let mut table = [[0x80; 16]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut kept, mut lane) = (0, 0);
        while lane < 8 {
            if mask >> lane & 1 == 1 {
                table[mask][2 * kept] = 2 * lane as u8;
                table[mask][2 * kept + 1] = 2 * lane as u8 + 1;
                kept += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

/// Writes the characters of a text, of which there are as many as places, none beyond what a
/// place holds. The text is UTF-8.
#[target_feature(enable = "avx2,popcnt")]
pub(in crate::unicode) fn fill<C: Copy + Default>(places: &mut [C], text: &[u8]) {
    // What stands before and behind the text, so that a step can look beyond its bytes.
    let mut window = [0_u8; 2 + STEP + 1];
    let (mut read, mut written) = (0, 0);
    // A step writes sixteen places, whatever it finds, and reads from two bytes before to one behind.
    if let Some(first) = text.first_chunk::<{ STEP + 1 }>()
        && places.len() >= STEP
    {
        window[2..2 + first.len()].copy_from_slice(first);
        // SAFETY: there are as many bytes and places.
        written = unsafe { put(places.as_mut_ptr(), window.as_ptr().add(2)) };
        read = STEP;
        while places.len() - written >= STEP && text.len() - read > STEP {
            // SAFETY: there are as many bytes, also before, and places.
            written += unsafe { put(places.as_mut_ptr().add(written), text.as_ptr().add(read)) };
            read += STEP;
        }
    }
    while written < places.len() {
        // The rest goes through a copy, a step at a time.
        window = [0; 2 + STEP + 1];
        let before = read.min(2);
        let behind = (text.len() - read).min(STEP + 1);
        window[2 - before..2 + behind].copy_from_slice(&text[read - before..read + behind]);
        let mut few = [C::default(); STEP];
        // SAFETY: there are as many bytes and places.
        let count = unsafe { put(few.as_mut_ptr(), window.as_ptr().add(2)) };
        let count = count.min(places.len() - written);
        places[written..written + count].copy_from_slice(&few[..count]);
        (read, written) = (read + behind.min(STEP), written + count);
    }
}

/// Writes the characters that end in sixteen bytes, and says how many they are.
///
/// # Safety
/// Bytes may be read from two before `from` to one behind the sixteen, and sixteen places be written
/// at `to`.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
unsafe fn put<C>(to: *mut C, from: *const u8) -> usize {
    // SAFETY: as for this function.
    let (text, next, one_before, two_before) = unsafe {
        let load = |from: *const u8| _mm_loadu_si128(from.cast());
        (load(from), load(from.add(1)), load(from.sub(1)), load(from.sub(2)))
    };
    // A byte ends a character if the next one does not go on with it, that is, is not 0x80 to 0xbf.
    let ends = _mm_movemask_epi8(_mm_cmpgt_epi8(next, _mm_set1_epi8(0xbf_u8.cast_signed())));
    let all = |value: u16| _mm256_set1_epi16(value.cast_signed());
    let goes_on =
        |bytes: __m256i| _mm256_cmpeq_epi16(_mm256_and_si256(bytes, all(0xc0)), all(0x80));
    let (text, one, two) = (
        _mm256_cvtepu8_epi16(text),
        _mm256_cvtepu8_epi16(one_before),
        _mm256_cvtepu8_epi16(two_before),
    );
    let second = goes_on(text);
    let third = _mm256_and_si256(second, goes_on(one));
    // The marks of the first byte of two or three are shifted out or do not touch other bits.
    let last = _mm256_and_si256(text, all(0x7f));
    let middle = _mm256_slli_epi16::<6>(_mm256_and_si256(one, all(0x3f)));
    let first = _mm256_slli_epi16::<12>(two);
    let codes = _mm256_or_si256(
        last,
        _mm256_or_si256(_mm256_and_si256(second, middle), _mm256_and_si256(third, first)),
    );
    let ends = ends.cast_unsigned();
    // SAFETY: as for this function; the first half keeps eight places at most.
    unsafe {
        let count = keep(to, _mm256_castsi256_si128(codes), ends as usize & 0xff);
        count + keep(to.add(count), _mm256_extracti128_si256::<1>(codes), ends as usize >> 8)
    }
}

/// Writes the lanes that a mask keeps, and says how many they are.
///
/// # Safety
/// There is room for eight places, and the mask is below 256.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
unsafe fn keep<C>(to: *mut C, lanes: __m128i, mask: usize) -> usize {
    // SAFETY: as for this function.
    unsafe {
        let lanes = _mm_shuffle_epi8(lanes, _mm_loadu_si128(KEEP[mask].as_ptr().cast()));
        match size_of::<C>() {
            1 => _mm_storel_epi64(to.cast(), _mm_packus_epi16(lanes, lanes)),
            _ => _mm_storeu_si128(to.cast(), lanes),
        }
    }
    mask.count_ones() as usize
}
