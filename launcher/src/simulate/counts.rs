//! The numbers of GPUs that are asked for: `8..4096` doubles, `8,16,24` lists.

use super::error::SimulateError;

/// More than any cluster has: a slip of the keyboard ends here and not in a table of days.
const MOST: usize = 1 << 20;

/// Reads `--gpus`; the numbers rise and differ.
pub fn parse(text: &str) -> Result<Vec<usize>, SimulateError> {
    let refuse = |reason: String| SimulateError::Counts { text: text.to_owned(), reason };
    let number = |text: &str| match text.trim().parse::<usize>() {
        Ok(0) => Err(refuse("0 GPUs train nothing".to_owned())),
        Ok(number) if number > MOST => Err(refuse(format!("at most {MOST} GPUs"))),
        Ok(number) => Ok(number),
        Err(_) => Err(refuse(format!("`{}` is no whole number", text.trim()))),
    };
    let Some((first, last)) = text.split_once("..") else {
        let mut counts = text.split(',').map(number).collect::<Result<Vec<_>, _>>()?;
        counts.sort_unstable();
        counts.dedup();
        return Ok(counts);
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(refuse(format!("{first} is more than {last}")));
    }
    Ok(std::iter::successors(Some(first), |count| Some(2 * count)).take_while(|count| *count <= last).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_doubles_and_a_list_is_put_in_order() {
        assert_eq!(parse("8..64").unwrap(), [8, 16, 32, 64]);
        assert_eq!(parse("6..40").unwrap(), [6, 12, 24]);
        assert_eq!(parse("1..1").unwrap(), [1]);
        assert_eq!(parse("24, 8,16,8").unwrap(), [8, 16, 24]);
        assert_eq!(parse("2").unwrap(), [2]);
    }

    #[test]
    fn what_is_no_number_of_gpus_is_refused_in_words() {
        for (text, reason) in [
            ("0", "0 GPUs"),
            ("0..8", "0 GPUs"),
            ("64..8", "64 is more than 8"),
            ("8,x", "`x` is no whole number"),
            ("", "`` is no whole number"),
            ("8..", "no whole number"),
            ("-8", "no whole number"),
            ("1..99999999999", "at most 1048576"),
            ("8...16", "no whole number"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("--gpus 8,16,24"), "{text}: {error}");
        }
    }
}
