//! Lexical embedding of texts: hashed words and character n-grams.
//!
//! A text is lower-cased and cut into words at everything that is no letter or digit. Each word
//! counts with weight 1, and all its fragments together as much: the character n-grams, n from 3
//! to 5, of the word between two marks. A feature's xxh3-64 gives its place (modulo the dimension)
//! and its sign (the top bit); the vector is scaled to length 1. The same text has the same vector
//! on every machine.

use std::sync::Mutex;
use std::thread;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result, reserve};

/// So many texts are taken at once.
const BLOCK: usize = 256;

/// Vectors of texts, one after the other, `dim` floats each.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn embed<S: AsRef<str> + Sync>(texts: &[S], dim: usize, threads: usize) -> Result<Vec<f32>> {
    let dim = dim.max(1);
    let mut vectors: Vec<f32> = Vec::new();
    let size = texts.len().checked_mul(dim).ok_or(Error::OutOfMemory { bytes: usize::MAX })?;
    reserve(&mut vectors, size)?;
    vectors.resize(size, 0.0);
    // Whichever threads there are take the next texts until none are left.
    let parts = Mutex::new(texts.chunks(BLOCK).zip(vectors.chunks_mut(BLOCK * dim)));
    let work = || {
        while let Some((texts, vectors)) = parts.lock().ok().and_then(|mut parts| parts.next()) {
            for (text, vector) in texts.iter().zip(vectors.chunks_exact_mut(dim)) {
                embed_one(text.as_ref(), vector);
            }
        }
    };
    let helpers = threads.min(texts.len().div_ceil(BLOCK)).saturating_sub(1);
    thread::scope(|scope| {
        for _ in 0..helpers {
            // Where a thread cannot be started, the others do its part.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    Ok(vectors)
}

fn embed_one(text: &str, vector: &mut [f32]) {
    let lower = text.to_lowercase();
    let mut marked = String::new();
    for word in lower.split(|character: char| !character.is_alphanumeric()) {
        if word.is_empty() {
            continue;
        }
        count(word, 1.0, vector);
        marked.clear();
        marked.push('\u{2}');
        marked.push_str(word);
        marked.push('\u{3}');
        let ends: Vec<usize> =
            marked.char_indices().map(|(at, _)| at).chain([marked.len()]).collect();
        let lengths = 3..=5;
        let grams: usize = lengths.clone().map(|n| ends.len().saturating_sub(n)).sum();
        for n in lengths {
            for window in ends.windows(n + 1) {
                count(&marked[window[0]..window[n]], 1.0 / (grams as f32).sqrt(), vector);
            }
        }
    }
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        for value in vector {
            *value = (f64::from(*value) / length) as f32;
        }
    }
}

fn count(feature: &str, weight: f32, vector: &mut [f32]) {
    let hash = xxh3_64(feature.as_bytes());
    let place = (hash & (u64::MAX >> 1)) % vector.len() as u64;
    vector[place as usize] += if hash >> 63 == 0 { weight } else { -weight };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(left: &str, right: &str) -> f32 {
        let vectors = embed(&[left, right], 512, 1).unwrap();
        vectors[..512].iter().zip(&vectors[512..]).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn words_and_misspelt_words_are_near() {
        assert!((cosine("Frankfurt am Main", "frankfurt AM main!") - 1.0).abs() < 1e-6);
        assert!(cosine("Frankfurt am Main", "frankfurt main") > 0.7);
        assert!(cosine("Frankfurt", "Frankfrut") > 0.1);
        assert!(cosine("Frankfurt", "London").abs() < 0.2);
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let texts: Vec<String> = (0..1000).map(|n| format!("text {n} größe 文字")).collect();
        assert_eq!(embed(&texts, 64, 1).unwrap(), embed(&texts, 64, 4).unwrap());
    }

    #[test]
    fn no_words_no_vector() {
        assert_eq!(embed(&["", " .,"], 4, 1).unwrap(), [0.0; 8]);
    }
}
