//! Tar archives read in place: which regular files one holds, and at which bytes of its file they lie.
//!
//! The reader is our own, since an archive may lie inside another and on any storage, only the headers are to be read,
//! and a wrong length must not make it allocate.

mod header;
pub(crate) mod images;
pub(crate) mod index;

use std::io;

use crate::source::paths::{bytes_to_text, shown};
use crate::source::storage::Blob;
use crate::source::tar::header::{BLOCK_BYTES, Header, Kind, Pax};
use crate::{DataError, TarFault};

/// The longest name, and the longest pax header, that is believed.
const MAX_NAME_BYTES: u64 = 64 << 10;
const MAX_PAX_BYTES: u64 = 1 << 20;
/// Read at once: the header, a label that follows it, and the header after that.
const WINDOW_BYTES: u64 = 8 << 10;

/// A regular file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its name as text (see [`bytes_to_text`]): relative, without `..`.
    pub(crate) name: String,
    /// Where its bytes begin, counted from the beginning of the outermost file.
    pub(crate) offset: u64,
    /// How many there are.
    pub(crate) bytes: u64,
}

/// What is wrong, and at which byte of the outermost file.
#[derive(Debug)]
pub(crate) struct TarError {
    pub(crate) offset: u64,
    pub(crate) fault: TarFault,
}

impl TarError {
    /// The error of a data set that holds the archive.
    pub(crate) fn in_file(self, name: String) -> DataError {
        DataError::Tar { path: name.into(), offset: self.offset, fault: self.fault }
    }
}

/// Goes through the headers of an archive.
pub(crate) struct Tar<'a> {
    blob: &'a dyn Blob,
    /// Where the next header lies.
    next: u64,
    /// Where the archive ends.
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Tar<'a> {
    /// An archive that is a whole file.
    pub(crate) fn new(blob: &'a dyn Blob) -> Tar<'a> {
        Tar { blob, next: 0, end: blob.len(), window: Vec::new(), window_at: 0 }
    }

    /// An archive that is a member of another.
    pub(crate) fn within(blob: &'a dyn Blob, member: &Member) -> Tar<'a> {
        Tar { next: member.offset, end: member.offset + member.bytes, ..Tar::new(blob) }
    }

    /// The next regular file; `None` after the mark that ends the archive. Folders, links, devices and sparse files are
    /// passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, TarError> {
        let (mut long_name, mut pax) = (None, Pax::default());
        loop {
            let at = self.next;
            let fail = |fault| TarError { offset: at, fault };
            let Some(header) = self.header().map_err(fail)? else {
                self.next = self.end;
                return Ok(None);
            };
            let extends = matches!(header.kind, Kind::LongName | Kind::Pax);
            let bytes =
                if extends || header.kind == Kind::Bare { header.bytes } else { pax.bytes.unwrap_or(header.bytes) };
            let data = self.pass(bytes).map_err(fail)?;
            match header.kind {
                Kind::LongName => {
                    let name = self.extension(data, bytes, MAX_NAME_BYTES).map_err(fail)?;
                    long_name = Some(header::until_nul(&name).to_vec());
                }
                Kind::Pax => {
                    let records = self.extension(data, bytes, MAX_PAX_BYTES).map_err(fail)?;
                    pax = Pax::parse(&records).map_err(fail)?;
                }
                Kind::File if !pax.sparse => {
                    let name = pax.path.take().or(long_name.take()).unwrap_or(header.name);
                    pax = Pax::default();
                    // Before ustar, folders were told by their names.
                    if !name.ends_with(b"/") {
                        let name = safe_name(&name).map_err(fail)?;
                        return Ok(Some(Member { name, offset: data, bytes }));
                    }
                }
                Kind::File | Kind::Sparse | Kind::Other | Kind::Bare => (long_name, pax) = (None, Pax::default()),
            }
        }
    }

    /// The bytes of a member that this archive has just told of, at most `max_bytes`.
    pub(crate) fn contents(&mut self, member: &Member, max_bytes: u64) -> Result<Vec<u8>, TarError> {
        let fail = |fault| TarError { offset: member.offset, fault };
        self.extension(member.offset, member.bytes, max_bytes).map_err(fail)
    }

    /// Reads the header at the current place, and goes behind it.
    fn header(&mut self) -> Result<Option<Header>, TarFault> {
        let header = header::parse(&self.block()?)?;
        let mut continues = header.as_ref().is_some_and(|header| header.continues);
        while continues {
            continues = self.block()?[BLOCK_BYTES - 8] != 0;
        }
        Ok(header)
    }

    fn block(&mut self) -> Result<[u8; BLOCK_BYTES], TarFault> {
        let mut block = [0; BLOCK_BYTES];
        if self.end - self.next < BLOCK_BYTES as u64 {
            return Err(TarFault::Cut);
        }
        self.read(self.next, &mut block)?;
        self.next += BLOCK_BYTES as u64;
        Ok(block)
    }

    /// Goes behind the data that begin at the current place, and says where that was.
    fn pass(&mut self, bytes: u64) -> Result<u64, TarFault> {
        let data = self.next;
        let end = data.checked_add(bytes).ok_or(TarFault::Size)?;
        if end > self.end {
            return Err(TarFault::Cut);
        }
        // The padding of the last member may be missing; then the end mark is, too.
        self.next = end.checked_next_multiple_of(BLOCK_BYTES as u64).ok_or(TarFault::Size)?.min(self.end);
        Ok(data)
    }

    fn extension(&mut self, offset: u64, bytes: u64, max_bytes: u64) -> Result<Vec<u8>, TarFault> {
        if bytes > max_bytes {
            return Err(TarFault::TooLong { bytes, max_bytes });
        }
        let mut data = vec![0; bytes as usize];
        self.read(offset, &mut data)?;
        Ok(data)
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), TarFault> {
        let bytes = into.len() as u64;
        let known = self.window_at <= at && at + bytes <= self.window_at + self.window.len() as u64;
        if !known {
            self.window.clear();
            self.window.resize((self.end - at).min(WINDOW_BYTES.max(bytes)) as usize, 0);
            self.window_at = at;
            if let Err(error) = self.blob.read_at(at, &mut self.window) {
                self.window.clear();
                return Err(TarFault::from(error));
            }
        }
        let begin = (at - self.window_at) as usize;
        into.copy_from_slice(&self.window[begin..][..into.len()]);
        Ok(())
    }
}

impl From<io::Error> for TarFault {
    fn from(error: io::Error) -> TarFault {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => TarFault::Cut,
            _ => TarFault::Unreadable(error.to_string()),
        }
    }
}

/// The text of a name that stays inside the archive.
fn safe_name(name: &[u8]) -> Result<String, TarFault> {
    let text = bytes_to_text(name);
    if name.starts_with(b"/") || name.split(|&byte| byte == b'/').any(|part| part == b"..") {
        return Err(TarFault::UnsafeName(shown(&text)));
    }
    let mut inside = text.as_str();
    while let Some(rest) = inside.strip_prefix("./") {
        inside = rest.trim_start_matches('/'); // `.//x` is `x`, not `/x`
    }
    Ok(inside.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_archive() {
        for (name, inside) in
            [("a/b.png", "a/b.png"), ("././a", "a"), (".//a", "a"), (".//./a", "a"), ("..a/b..", "..a/b..")]
        {
            assert_eq!(safe_name(name.as_bytes()).expect(name), inside);
        }
        for name in ["/a", "//a", "..", "../a", "a/../b", "a/.."] {
            assert!(matches!(safe_name(name.as_bytes()), Err(TarFault::UnsafeName(_))), "{name}");
        }
    }
}
