//! How values are spread, as bars of text.

/// Bars at most.
const BARS: u64 = 8;
/// Letters of the longest bar.
const WIDTH: f64 = 40.0;

/// Bars over equal ranges of whole numbers, for ascending values; a line in words where there is nothing to draw.
pub fn draw(ascending: &[u64]) -> String {
    let (Some(&first), Some(&last)) = (ascending.first(), ascending.last()) else {
        return "  none\n".to_owned();
    };
    if first == last {
        return format!("  all {}\n", grouped(first));
    }
    // A far outlier must not flatten all others into one bar: the last bar is open above the 99th percentile.
    let high = ascending[(ascending.len() - 1) * 99 / 100].max(first + 1);
    let step = round_step((high - first + 1).div_ceil(BARS));
    let start = first / step * step;
    let bars = ((high - start) / step + 1) as usize;
    let mut counts = vec![0u64; bars];
    for value in ascending {
        counts[((value - start) / step).min(bars as u64 - 1) as usize] += 1;
    }
    let longest = counts.iter().copied().max().unwrap_or(1) as f64;
    let line = |(bar, &count): (usize, &u64)| {
        let low = start + bar as u64 * step;
        let end = if bar + 1 == bars { last.max(low + step - 1) } else { low + step - 1 };
        let range = if low == end { grouped(low) } else { format!("{}–{}", grouped(low), grouped(end)) };
        let length = (count as f64 / longest * WIDTH).ceil() as usize;
        format!("  {range:>15}  {}{}{}\n", "█".repeat(length), if length > 0 { " " } else { "" }, grouped(count))
    };
    counts.iter().enumerate().map(line).collect()
}

/// The next of 1, 2, 5, 10, 20, 50, … that is not below `least`.
fn round_step(least: u64) -> u64 {
    let mut power = 1;
    loop {
        if let Some(step) = [1, 2, 5].into_iter().map(|digit| digit * power).find(|&step| step >= least) {
            return step;
        }
        power *= 10;
    }
}

/// A whole number with commas between its thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_281_167].map(grouped), ["0", "999", "1,000", "1,281,167"]);
    }

    #[test]
    fn every_value_is_in_a_bar() {
        let mut values: Vec<u64> = (100..300).collect();
        values.push(9_000);
        let text = draw(&values);
        let counted: u64 = text.lines().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!(counted, 201, "{text}");
        assert!(text.lines().count() <= 9 && text.contains("9,000"), "{text}");
        assert_eq!(draw(&[7, 7]), "  all 7\n");
        assert_eq!(draw(&[]), "  none\n");
    }
}
