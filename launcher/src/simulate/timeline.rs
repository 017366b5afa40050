//! When buckets of gradients are ready and when they are summed: how much of the communication hides behind the backward pass.

/// Whether buckets are summed while the backward pass goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Each bucket as soon as it is full.
    Backward,
    /// All of them once the backward pass is over.
    None,
}

/// Communication of one step, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Exchange {
    /// What all buckets take.
    pub total_s: f64,
    /// The part for which the step waits.
    pub exposed_s: f64,
}

impl Exchange {
    /// The share that hides behind the backward pass; all of it where there is none.
    pub fn hidden(&self) -> f64 {
        if self.total_s > 0.0 { 1.0 - self.exposed_s / self.total_s } else { 1.0 }
    }
}

/// How many of `numbers` gradients are in each bucket of at most `bucket_numbers`.
///
/// The trainer cuts buckets from the last layer on and never through a parameter, so they are smaller than they may be, and the one
/// that is ready last is of any size. Equal ones stand for them here, the small first one too.
pub fn buckets(numbers: u64, bucket_numbers: u64) -> Vec<u64> {
    let count = numbers.div_ceil(bucket_numbers.max(1)).max(1);
    (0..count).map(|index| numbers / count + u64::from(index < numbers % count)).collect()
}

/// What the step waits for, where the backward pass takes `window_s` and a bucket of `sizes[i]` numbers takes `costs_s[i]` to sum.
///
/// One stream sums the buckets, one after the other. A bucket is ready once the share of the backward pass is over that its numbers
/// and those before it have of all numbers.
pub fn exchange(sizes: &[u64], costs_s: &[f64], window_s: f64, overlap: Overlap) -> Exchange {
    let total_s: f64 = costs_s.iter().sum();
    if overlap == Overlap::None {
        return Exchange { total_s, exposed_s: total_s };
    }
    let all: u64 = sizes.iter().sum();
    let (mut seen, mut free_s) = (0, 0.0f64);
    for (size, cost_s) in sizes.iter().zip(costs_s) {
        seen += size;
        let ready_s = window_s * seen as f64 / all as f64;
        free_s = free_s.max(ready_s) + cost_s;
    }
    // Rounding may put the end of free communication a hair before that of the backward pass.
    Exchange { total_s, exposed_s: (free_s - window_s).clamp(0.0, total_s) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_equal_and_hold_all() {
        assert_eq!(buckets(10, 4), [4, 3, 3]);
        assert_eq!(buckets(8, 4), [4, 4]);
        assert_eq!(buckets(3, 4), [3]);
        assert_eq!(buckets(2, 0), [1, 1]);
    }

    #[test]
    fn one_bucket_hides_nothing() {
        assert_eq!(exchange(&[7], &[0.5], 2.0, Overlap::Backward), Exchange { total_s: 0.5, exposed_s: 0.5 });
    }

    #[test]
    fn of_cheap_buckets_only_the_last_is_waited_for() {
        let cheap = exchange(&[1; 4], &[0.125; 4], 4.0, Overlap::Backward);
        assert_eq!((cheap, cheap.hidden()), (Exchange { total_s: 0.5, exposed_s: 0.125 }, 0.75));
    }

    #[test]
    fn of_dear_buckets_all_is_waited_for_but_the_backward_pass_behind_the_first() {
        // Ready at 1, 2, 3, 4; summed from 1 on without a pause until 1 + 4·10.
        let dear = exchange(&[1; 4], &[10.0; 4], 4.0, Overlap::Backward);
        assert_eq!(dear, Exchange { total_s: 40.0, exposed_s: 37.0 });
    }

    #[test]
    fn without_overlap_all_is_waited_for() {
        let none = exchange(&[1; 4], &[0.5; 4], 4.0, Overlap::None);
        assert_eq!((none, none.hidden()), (Exchange { total_s: 2.0, exposed_s: 2.0 }, 0.0));
    }

    #[test]
    fn what_is_exposed_is_never_negative_and_never_more_than_all() {
        for overlap in [Overlap::Backward, Overlap::None] {
            for (count, cost_s, window_s) in
                [(1, 0.0, 1.0), (3, 1e-9, 0.1), (7, 0.3, 0.0), (11, 0.1, 0.7), (101, 5.0, 3.0), (3, 0.1, 1e9)]
            {
                let one = exchange(&vec![3; count], &vec![cost_s; count], window_s, overlap);
                assert!(one.exposed_s >= 0.0 && one.exposed_s <= one.total_s, "{one:?}");
                assert!((0.0..=1.0).contains(&one.hidden()), "{one:?}");
            }
        }
    }
}
