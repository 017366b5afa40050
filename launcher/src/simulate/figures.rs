//! Figures as people read them: so many digits as matter, thousands set apart.

use crate::verdict::grouped;

/// Images a second.
pub fn throughput(images_per_second: f64) -> String {
    match images_per_second {
        slow if slow < 100.0 => format!("{slow:.1}"),
        fast => grouped(fast.round() as u64),
    }
}

/// Seconds, in milliseconds.
pub fn milliseconds(seconds: f64) -> String {
    match seconds * 1e3 {
        0.0 => "0".to_owned(),
        ms if ms < 10.0 => format!("{ms:.2}"),
        ms if ms < 1000.0 => format!("{ms:.1}"),
        ms => grouped(ms.round() as u64),
    }
}

/// A share, in percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// At most four figures, without zeros at the end.
pub fn rounded(number: f64) -> String {
    let digits = (3 - number.abs().max(1e-9).log10().floor() as i32).clamp(0, 9);
    let text = format!("{number:.*}", digits as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_figures_that_matter() {
        assert_eq!([470.0, 0.1125, 3.4, 14.0, 2.8125, 0.0].map(rounded), ["470", "0.1125", "3.4", "14", "2.812", "0"]);
        assert_eq!([0.0, 0.00123, 0.1234, 12.0].map(milliseconds), ["0", "1.23", "123.4", "12,000"]);
        assert_eq!([1234.4, 8.44].map(throughput), ["1,234", "8.4"]);
        assert_eq!(percent(0.98765), "98.8 %");
    }
}
