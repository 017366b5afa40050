//! Writes tar archives for tests, good ones and broken ones.

/// An archive in the making.
#[derive(Clone, Default)]
pub struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    pub fn new() -> Archive {
        Archive::default()
    }

    /// The archive so far, without its end mark.
    pub fn unfinished(self) -> Vec<u8> {
        self.bytes
    }

    /// The archive with its end mark.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }

    /// A regular file, with a plain ustar header.
    pub fn file(self, name: impl AsRef<[u8]>, data: &[u8]) -> Archive {
        self.entry(b'0', name, data)
    }

    /// An entry of any type.
    pub fn entry(self, kind: u8, name: impl AsRef<[u8]>, data: &[u8]) -> Archive {
        let size = format!("{:011o}\0", data.len());
        self.raw(kind, name, size.as_bytes(), data)
    }

    /// An entry whose size field and data need not agree.
    pub fn raw(mut self, kind: u8, name: impl AsRef<[u8]>, size: &[u8], data: &[u8]) -> Archive {
        let mut header = [0; 512];
        let name = name.as_ref();
        header[..name.len()].copy_from_slice(name);
        header[100..108].copy_from_slice(b"0000644\0");
        header[124..124 + size.len()].copy_from_slice(size);
        header[136..148].copy_from_slice(b"00000000000\0");
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        seal(&mut header);
        self.bytes.extend_from_slice(&header);
        self.padded(data)
    }

    /// A header block as it is, and data behind it.
    pub fn block(mut self, block: &[u8; 512], data: &[u8]) -> Archive {
        self.bytes.extend_from_slice(block);
        self.padded(data)
    }

    /// A file whose name GNU tar stores in an entry before it.
    pub fn gnu_long(self, name: &str, data: &[u8]) -> Archive {
        let stored = [name.as_bytes(), b"\0"].concat();
        self.entry(b'L', "././@LongLink", &stored).file(&name[..name.len().min(100)], data)
    }

    /// A file with properties in a pax header before it.
    pub fn pax(self, records: &[(&str, &str)], name: &str, size: &[u8], data: &[u8]) -> Archive {
        let text: String = records.iter().map(|(key, value)| record(key, value)).collect();
        self.entry(b'x', "PaxHeaders/next", text.as_bytes()).raw(b'0', name, size, data)
    }

    fn padded(mut self, data: &[u8]) -> Archive {
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }
}

/// Sets the checksum of a header.
pub fn seal(header: &mut [u8; 512]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A pax record, whose length counts its own digits.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let length = (1..).find(|length: &usize| length.to_string().len() + rest.len() == *length);
    format!("{}{rest}", length.expect("some length fits"))
}
