//! Patterns of file names in braces, as shells expand them: `train-{000..146}.tar`, `{a,b}.tar`.

use crate::DataError;

/// More names than this are taken for a mistake.
const MAX_NAMES: usize = 1 << 20;

/// All names that a pattern stands for, in order; numbers keep the leading zeros of the first one's width.
///
/// # Errors
/// When a brace is not closed, or holds neither a list nor a rising range, or there are too many names.
pub(crate) fn expand(pattern: &str) -> Result<Vec<String>, DataError> {
    let bad = |problem: &str| {
        let problem = format!("{problem}; write a range such as {{000..146}} or a list such as {{a,b}}");
        DataError::BadPattern { pattern: pattern.to_owned(), problem }
    };
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some((plain, after)) = rest.split_once('{') {
        let (inside, behind) = after.split_once('}').ok_or_else(|| bad("a brace is not closed"))?;
        let parts = alternatives(inside).ok_or_else(|| bad(&format!("{{{inside}}} is no range and no list")))?;
        if parts.len().saturating_mul(names.len()) > MAX_NAMES {
            return Err(bad(&format!("it stands for more than {MAX_NAMES} names")));
        }
        names = names.iter().flat_map(|name| parts.iter().map(move |part| format!("{name}{plain}{part}"))).collect();
        rest = behind;
    }
    if rest.contains('}') {
        return Err(bad("a brace is not opened"));
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

/// What stands between two braces; `None` where that is neither a range nor a list. A range that is too long has its
/// first names only: one more than is allowed.
fn alternatives(inside: &str) -> Option<Vec<String>> {
    if let Some((first, last)) = inside.split_once("..") {
        let width = first.len();
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
        let (first, last) = (number(first)?, number(last)?);
        let numbers = (first <= last).then_some(first..=last)?;
        return Some(numbers.take(MAX_NAMES + 1).map(|number| format!("{number:0width$}")).collect());
    }
    let listed = inside.contains(',') && !inside.contains('{');
    listed.then(|| inside.split(',').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_lists_expand_in_order() {
        assert_eq!(expand("a.tar").expect("plain"), ["a.tar"]);
        assert_eq!(expand("t-{08..10}.tar").expect("a range"), ["t-08.tar", "t-09.tar", "t-10.tar"]);
        assert_eq!(expand("{9..10}").expect("a range"), ["9", "10"]);
        assert_eq!(expand("{a,b}/{0..1}.t").expect("both"), ["a/0.t", "a/1.t", "b/0.t", "b/1.t"]);
        assert_eq!(expand("train-{000000..000146}.tar").expect("a range").len(), 147);
    }

    #[test]
    fn wrong_patterns_are_refused_with_the_reason() {
        for (pattern, said) in [
            ("a{0..", "not closed"),
            ("a}b", "not opened"),
            ("{5..1}", "no range"),
            ("{a..b}", "no range"),
            ("{x}", "no list"),
            ("{..}", "no range"),
            ("{0..99999999999999}", "more than"),
            ("{0..9999}{0..9999}", "more than"),
            ("{99999999999999999999999..1}", "no range"),
        ] {
            let error = expand(pattern).expect_err(pattern).to_string();
            assert!(error.contains(said) && error.contains(pattern), "{error}");
        }
    }
}
