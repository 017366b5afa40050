//! The index in bytes: its head, its records, and how both are written and read. The module above has the tables.

use std::io;

use crate::source::storage::Blob;

/// What an index begins with.
pub(crate) const MAGIC: [u8; 8] = *b"\x89RSHARD\n";
pub(crate) const VERSION: u32 = 1;
/// Bytes of a record.
pub(crate) const RECORD_BYTES: usize = 48;
/// Bytes of a record that its checksum covers.
const CHECKED_BYTES: usize = RECORD_BYTES - 4;
/// Where the hash of the head lies, and where the tables begin behind it.
const HASH_AT: usize = 56;
const TABLES_AT: usize = 88;
/// How much of a shard is hashed to tell that it is the right one.
const OPENING_BYTES: u64 = 4096;

/// One shard, as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Its file's name in the packed folder.
    pub(crate) name: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// The first half of the hash of its beginning.
    pub(crate) opening: [u8; 16],
    /// The hash of all of it.
    pub(crate) hash: [u8; 32],
}

/// The hash of the beginning of a shard, as the index keeps it.
pub(crate) fn opening_hash(file: &dyn Blob) -> io::Result<[u8; 16]> {
    let mut bytes = vec![0; file.len().min(OPENING_BYTES) as usize];
    file.read_at(0, &mut bytes)?;
    Ok(*blake3::hash(&bytes).as_bytes().first_chunk().expect("16 of 32 bytes"))
}

/// The format of a packed image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    WebP,
}

impl Format {
    const ALL: [Format; 3] = [Format::Jpeg, Format::Png, Format::WebP];

    /// How its files end.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Format::Jpeg => "jpg",
            Format::Png => "png",
            Format::WebP => "webp",
        }
    }
}

/// What the index says of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Where its file begins in the shard.
    pub(crate) offset: u64,
    /// Where its segment index and its name begin in the index.
    pub(crate) blob: u64,
    /// Bytes of the file.
    pub(crate) length: u32,
    /// Which shard.
    pub(crate) shard: u32,
    pub(crate) label: u32,
    /// Pixels of the image; 0 without a segment index.
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// Bytes of the segment index.
    pub(crate) segment_bytes: u32,
    /// Bytes of the original name.
    pub(crate) name_bytes: u16,
    pub(crate) format: Format,
    /// The image's number in the data set that was packed.
    pub(crate) key: u32,
}

impl Record {
    /// The name of the image's file in its shard.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.{}", key_text(self.key), self.format.extension())
    }

    /// Bytes of the blob.
    pub(crate) fn blob_bytes(&self) -> usize {
        self.segment_bytes as usize + usize::from(self.name_bytes)
    }

    /// The record as it lies in the index, for the blob that it goes with.
    pub(crate) fn to_bytes(self, blob: &[u8]) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[0..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.blob.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.length.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.shard.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.label.to_le_bytes());
        bytes[28..30].copy_from_slice(&self.width.to_le_bytes());
        bytes[30..32].copy_from_slice(&self.height.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.segment_bytes.to_le_bytes());
        bytes[36..38].copy_from_slice(&self.name_bytes.to_le_bytes());
        bytes[38..40].copy_from_slice(&(self.format as u16).to_le_bytes());
        bytes[40..44].copy_from_slice(&self.key.to_le_bytes());
        let check = checksum(&bytes, blob);
        bytes[44..48].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// The record that `bytes` hold, not yet checked against its blob; `None` where its format is unknown.
    pub(crate) fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Record> {
        Some(Record {
            offset: long(bytes, 0),
            blob: long(bytes, 8),
            length: word(bytes, 16),
            shard: word(bytes, 20),
            label: word(bytes, 24),
            width: half(bytes, 28),
            height: half(bytes, 30),
            segment_bytes: word(bytes, 32),
            name_bytes: half(bytes, 36),
            format: *Format::ALL.get(usize::from(half(bytes, 38)))?,
            key: word(bytes, 40),
        })
    }
}

/// The part of a file's name in a shard that both files of an image share.
pub(crate) fn key_text(key: u32) -> String {
    format!("{key:09}")
}

/// True where a record and its blob are as they were written.
pub(crate) fn is_sound(record: &[u8; RECORD_BYTES], blob: &[u8]) -> bool {
    checksum(record, blob) == word(record, CHECKED_BYTES)
}

fn checksum(record: &[u8; RECORD_BYTES], blob: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(&record[..CHECKED_BYTES]);
    crc.update(blob);
    crc.sum()
}

/// The head of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) images: u64,
    pub(crate) shards: Vec<Shard>,
    pub(crate) classes: Vec<String>,
    /// Where the records begin.
    pub(crate) records_at: u64,
    /// Where the records end and the blobs begin.
    pub(crate) blobs_at: u64,
    /// Bytes of the whole index.
    pub(crate) bytes: u64,
}

impl Head {
    /// The head of an index to be written: says where everything will lie.
    pub(crate) fn new(images: u64, blob_bytes: u64, shards: Vec<Shard>, classes: Vec<String>) -> Head {
        let tables: usize = shards.iter().map(|shard| 8 + 16 + 32 + 2 + shard.name.len()).sum::<usize>()
            + classes.iter().map(|class| 2 + class.len()).sum::<usize>();
        let records_at = (TABLES_AT + tables).next_multiple_of(8) as u64;
        let blobs_at = records_at + images * RECORD_BYTES as u64;
        Head { images, shards, classes, records_at, blobs_at, bytes: blobs_at + blob_bytes }
    }

    /// The bytes up to the records.
    ///
    /// # Panics
    /// When a name is longer than 65,535 bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.records_at as usize);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((RECORD_BYTES as u32).to_le_bytes());
        bytes.extend(self.bytes.to_le_bytes());
        bytes.extend(self.images.to_le_bytes());
        bytes.extend((self.shards.len() as u32).to_le_bytes());
        bytes.extend((self.classes.len() as u32).to_le_bytes());
        bytes.extend(self.records_at.to_le_bytes());
        bytes.extend(self.blobs_at.to_le_bytes());
        bytes.resize(TABLES_AT, 0);
        for shard in &self.shards {
            bytes.extend(shard.bytes.to_le_bytes());
            bytes.extend(shard.opening);
            bytes.extend(shard.hash);
            put_text(&mut bytes, &shard.name);
        }
        for class in &self.classes {
            put_text(&mut bytes, class);
        }
        bytes.resize(self.records_at as usize, 0);
        let hash = hash(&bytes);
        bytes[HASH_AT..TABLES_AT].copy_from_slice(&hash);
        bytes
    }

    /// Reads and checks the head of an index of which `bytes` are all.
    ///
    /// # Errors
    /// Says in words what is wrong.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Head, String> {
        let fixed: &[u8; TABLES_AT] = bytes.first_chunk().ok_or("it is shorter than the head of an index")?;
        if fixed[..8] != MAGIC {
            return Err("it is no index of shards".to_owned());
        }
        if word(fixed, 8) != VERSION {
            return Err(format!("its layout has version {}, and this program reads {VERSION}", word(fixed, 8)));
        }
        let (length, images) = (long(fixed, 16), long(fixed, 24));
        if length != bytes.len() as u64 {
            return Err(format!(
                "it has {} bytes where its head says {length}: it is cut or was added to",
                bytes.len()
            ));
        }
        let (records_at, blobs_at) = (long(fixed, 40), long(fixed, 48));
        let records_end = images.checked_mul(RECORD_BYTES as u64).and_then(|records| records.checked_add(records_at));
        if word(fixed, 12) != RECORD_BYTES as u32
            || !(TABLES_AT as u64..=length).contains(&records_at)
            || records_end != Some(blobs_at)
            || blobs_at > length
        {
            return Err("the sizes in its head contradict each other".to_owned());
        }
        let head = &bytes[..records_at as usize];
        if hash(head) != fixed[HASH_AT..TABLES_AT] {
            return Err("its head is damaged (the checksum is wrong)".to_owned());
        }
        let mut tables = Tables(&head[TABLES_AT..]);
        let tables = tables.read(word(fixed, 32), word(fixed, 36));
        let (shards, classes) = tables.ok_or("its tables of shards and classes are not well formed")?;
        Ok(Head { images, shards, classes, records_at, blobs_at, bytes: length })
    }
}

/// The hash of a head, but for the hash itself.
fn hash(head: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head[..HASH_AT]);
    hasher.update(&head[TABLES_AT..]);
    *hasher.finalize().as_bytes()
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("names are shorter than 65,536 bytes");
    bytes.extend(length.to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// What is left of the tables.
struct Tables<'a>(&'a [u8]);

impl Tables<'_> {
    fn read(&mut self, shards: u32, classes: u32) -> Option<(Vec<Shard>, Vec<String>)> {
        let shards: Option<Vec<Shard>> = (0..shards).map(|_| self.shard()).collect();
        let classes: Option<Vec<String>> = (0..classes).map(|_| self.text()).collect();
        // Nothing but padding may be left.
        shards.zip(classes).filter(|_| self.0.len() < 8)
    }

    fn shard(&mut self) -> Option<Shard> {
        let bytes = u64::from_le_bytes(*self.take()?);
        let (opening, hash) = (*self.take()?, *self.take()?);
        let name = self.text()?;
        // A plain name, so that nothing outside of the folder is opened.
        let plain = !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != "..";
        plain.then_some(Shard { name, bytes, opening, hash })
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::from(u16::from_le_bytes(*self.take()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn take<const N: usize>(&mut self) -> Option<&[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}
