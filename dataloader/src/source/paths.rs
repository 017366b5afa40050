//! Names of files as text: any name that a Unix file can have becomes a `String`, and the same name again.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Stands before the two hexadecimal digits of a byte that is not UTF-8. No name of a file holds it.
const ESCAPE: char = '\0';

/// The text of a name or path, from which [`to_path`] makes it again.
pub(crate) fn to_text(name: &OsStr) -> String {
    bytes_to_text(name.as_bytes())
}

/// The same, for a name that is bytes in an archive or a list; it holds no NUL.
pub(crate) fn bytes_to_text(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(text, "{ESCAPE}{byte:02x}").expect("a string takes all");
        }
    }
    text
}

/// The path that a text of [`to_text`] stands for.
pub(crate) fn to_path(text: &str) -> Cow<'_, Path> {
    let Some((plain, escaped)) = text.split_once(ESCAPE) else { return Cow::Borrowed(Path::new(text)) };
    let mut bytes = plain.as_bytes().to_vec();
    for part in escaped.split(ESCAPE) {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.extend(byte);
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    Cow::Owned(OsString::from_vec(bytes).into())
}

/// The text as a person reads it: what is no letter becomes a replacement character.
pub(crate) fn shown(text: &str) -> String {
    to_path(text).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back() {
        for name in [&b"plain.jpg"[..], "ähre.png".as_bytes(), b"caf\xE9.jpg", b"\xFF\xFE", b"a\xE9\xE9b/\xE2\x82", b""]
        {
            let text = bytes_to_text(name);
            assert_eq!(to_path(&text).as_os_str().as_bytes(), name, "{text:?}");
        }
        assert_eq!(shown(&bytes_to_text(b"caf\xE9.jpg")), "caf\u{FFFD}.jpg");
    }

    #[test]
    fn text_of_other_origin_does_no_harm() {
        for text in ["\0", "\0z", "a\0é", "\0f\0ff"] {
            to_path(text);
        }
    }
}
