//! The tournament that merges every group of observations in pairs, for mergers that take many
//! pairs at once (a model call per pair is what costs).
//!
//! In each round neighbours are paired, `(0, 1), (2, 3), …`, and a pair's result takes the place
//! of its first: observations never change their order, a group of `n` needs `n - 1` pairs and
//! `⌈log2 n⌉` rounds, and the pairs of all groups share calls.

/// Two observations of one group to be merged; the result takes the place of `existing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The group, an index of the sizes given.
    pub group: usize,
    /// The place of the earlier observation in its group.
    pub existing: usize,
    /// The place of the later one.
    pub incoming: usize,
}

/// The rounds of a tournament; each item is one round, cut into calls.
#[derive(Debug)]
pub struct Rounds {
    /// Groups that are not merged yet, with their sizes.
    open: Vec<(usize, usize)>,
    /// How far apart neighbours stand in this round.
    stride: usize,
    max_batch_pairs: usize,
}

/// Schedules the merges of groups of these sizes, at most `max_batch_pairs` (at least one)
/// pairs in a call. The calls of one round are independent of each other; a round needs the
/// results of the one before. The cost is linear in the number of pairs.
///
/// ```
/// let rounds: Vec<_> = omem_core::merge::rounds(&[3, 1, 2], 40).collect();
/// assert_eq!(rounds.len(), 2); // (0, 1) of groups 0 and 2 in one call, then (0, 2) of group 0
/// assert_eq!(rounds[0][0].len(), 2);
/// assert_eq!((rounds[1][0][0].existing, rounds[1][0][0].incoming), (0, 2));
/// ```
#[must_use]
pub fn rounds(sizes: &[usize], max_batch_pairs: usize) -> Rounds {
    let open = sizes.iter().copied().enumerate().filter(|&(_, size)| size > 1).collect();
    Rounds { open, stride: 1, max_batch_pairs: max_batch_pairs.max(1) }
}

impl Iterator for Rounds {
    type Item = Vec<Vec<Pair>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.open.is_empty() {
            return None;
        }
        let stride = self.stride;
        let mut calls: Vec<Vec<Pair>> = Vec::new();
        for &(group, size) in &self.open {
            let mut existing = 0;
            while size - existing > stride {
                let pair = Pair { group, existing, incoming: existing + stride };
                match calls.last_mut() {
                    Some(call) if call.len() < self.max_batch_pairs => call.push(pair),
                    _ => calls.push(vec![pair]),
                }
                existing = existing.saturating_add(stride.saturating_mul(2)).min(size);
            }
        }
        self.stride = stride.saturating_mul(2);
        self.open.retain(|&(_, size)| size > self.stride);
        Some(calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_to_merge_has_no_round() {
        assert_eq!(rounds(&[], 40).count(), 0);
        assert_eq!(rounds(&[0, 1, 1], 40).count(), 0);
    }

    #[test]
    fn a_million_observations_of_one_key_take_twenty_rounds() {
        let pairs: Vec<usize> =
            rounds(&[1_000_000], 40).map(|calls| calls.iter().map(Vec::len).sum()).collect();
        assert_eq!(pairs.len(), 20);
        assert_eq!(pairs.iter().sum::<usize>(), 999_999);
    }

    proptest! {
        /// Playing the schedule with concatenation gives back each group in its order.
        #[test]
        fn order_is_kept_and_every_pair_is_played_once(
            sizes in prop::collection::vec(0usize..40, 0..12), max in 1usize..9,
        ) {
            let mut groups: Vec<Vec<Vec<usize>>> =
                sizes.iter().map(|&n| (0..n).map(|i| vec![i]).collect()).collect();
            let mut played = 0;
            for calls in rounds(&sizes, max) {
                prop_assert!(!calls.is_empty());
                for (index, call) in calls.iter().enumerate() {
                    prop_assert!(call.len() <= max);
                    prop_assert!(index + 1 == calls.len() || call.len() == max);
                    for pair in call {
                        played += 1;
                        let later = std::mem::take(&mut groups[pair.group][pair.incoming]);
                        prop_assert!(!later.is_empty());
                        groups[pair.group][pair.existing].extend(later);
                    }
                }
            }
            prop_assert_eq!(played, sizes.iter().map(|n| n.saturating_sub(1)).sum::<usize>());
            for (group, &n) in groups.iter().zip(&sizes) {
                if n > 0 {
                    prop_assert_eq!(&group[0], &(0..n).collect::<Vec<_>>());
                }
            }
        }
    }
}
