//! Files behind a URL: objects of a bucket, read in blocks that a bounded folder of this machine keeps.

mod blocks;
mod listing;
mod requests;
mod store;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::DataError;
use crate::source::remote::blocks::Blocks;
use crate::source::remote::listing::{Identity, Listings};
use crate::source::remote::requests::{Refusal, Requests};
use crate::source::storage::{Blob, Entry, Storage, StorageOptions};

/// What is fetched and kept in one piece; an object that is shorter is fetched whole.
const BLOCK_BYTES: u64 = 1 << 20;

/// The objects below a URL.
#[derive(Debug)]
pub(crate) struct Remote {
    url: String,
    prefix: Key,
    listings: Option<Listings>,
    shared: Arc<Shared>,
}

/// What a storage and its open objects have in common.
#[derive(Debug)]
struct Shared {
    /// The URL's root and the endpoint behind it: what tells cached objects of two places apart.
    place: String,
    store: Arc<dyn ObjectStore>,
    /// Objects listed or opened before, by their keys: opening them again asks nobody.
    known: Mutex<HashMap<String, Arc<Identity>>>,
    pages: store::Pages,
    requests: Requests,
    blocks: Option<Blocks>,
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<Identity>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remote {
    /// The objects below `url`. Sends no request.
    ///
    /// # Errors
    /// When the URL cannot be read, or the environment's settings do not fit its kind of storage.
    pub(crate) fn new(url: &str, options: &StorageOptions) -> Result<Remote, DataError> {
        let store::Opened { store, prefix, place, pages } = store::open(url, options)?;
        let cache = options.cache_folder().filter(|_| options.cache_bytes > 0);
        let listings = cache.as_ref().map(|folder| Listings::new(folder, options.listing_valid));
        let blocks = cache.map(|folder| Blocks::new(&folder, options.cache_bytes));
        let requests = Requests::new(options);
        Ok(Remote {
            url: url.trim_end_matches('/').to_owned(),
            prefix,
            listings,
            shared: Arc::new(Shared { place, store, known: Mutex::default(), pages, requests, blocks }),
        })
    }

    fn key(&self, path: &str) -> io::Result<Key> {
        let whole = format!("{}/{path}", self.prefix.as_ref());
        Key::parse(whole.trim_matches('/')).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }

    /// All objects below `prefix`, in pages where the storage lists in order: a page that fails is asked for again alone.
    fn fetch_list(&self, prefix: &Key) -> io::Result<Vec<(String, Identity)>> {
        let Shared { store, requests, pages, .. } = &*self.shared;
        let mut objects = Vec::new();
        let mut after: Option<Key> = None;
        loop {
            let what = format!("list {}", self.url);
            let limit = requests.timeout * pages.timeouts();
            let page = requests
                .attempt(&what, limit, || page(Arc::clone(store), prefix.clone(), after.clone(), pages.objects()))?;
            let last = page.last().map(|meta| meta.location.clone());
            let whole = page.len() < pages.objects();
            objects.extend(page.iter().map(|meta| (meta.location.as_ref().to_owned(), Identity::of(meta))));
            if whole {
                return Ok(objects);
            }
            after = last;
        }
    }

    fn listed(&self, prefix: &Key) -> io::Result<Vec<(String, Identity)>> {
        let place = format!("{} {prefix}", self.shared.place);
        if let Some(objects) = self.listings.as_ref().and_then(|listings| listings.load(&place)) {
            return Ok(objects);
        }
        let mut objects = self.fetch_list(prefix)?;
        objects.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if let Some(listings) = &self.listings {
            listings.store(&place, &objects);
        }
        Ok(objects)
    }
}

impl Storage for Remote {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, DataError> {
        let refused = |source| DataError::Remote { action: "list", url: self.name(folder), source };
        let prefix = self.key(folder).map_err(refused)?;
        let objects = self.listed(&prefix).map_err(refused)?;
        if objects.is_empty() {
            return Err(refused(io::Error::new(io::ErrorKind::NotFound, "no objects there")));
        }
        let mut known = self.shared.known();
        let root = match self.prefix.as_ref() {
            "" => 0,
            prefix => prefix.len() + 1,
        };
        let mut entries = Vec::with_capacity(objects.len());
        for (key, identity) in objects {
            entries.push(Entry { path: key.get(root..).unwrap_or_default().to_owned(), bytes: identity.bytes });
            known.insert(key, Arc::new(identity));
        }
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Blob>> {
        let key = self.key(path)?;
        let known = self.shared.known().get(key.as_ref()).cloned();
        let identity = match known {
            Some(identity) => identity,
            None => {
                let Shared { store, requests, .. } = &*self.shared;
                let what = format!("look at {}", self.name(path));
                let meta = requests.attempt(&what, requests.timeout, || head(Arc::clone(store), key.clone()))?;
                let identity = Arc::new(Identity::of(&meta));
                self.shared.known().insert(key.as_ref().to_owned(), Arc::clone(&identity));
                identity
            }
        };
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(RemoteBlob { name: self.name(path), key, identity, recent: Mutex::default(), shared }))
    }

    fn name(&self, path: &str) -> String {
        format!("{}/{path}", self.url).trim_end_matches('/').to_owned()
    }

    /// What the storage said of the object when it was listed or looked at.
    fn version(&self, path: &str) -> Option<String> {
        let key = self.key(path).ok()?;
        self.shared.known().get(key.as_ref()).map(|identity| identity.version())
    }
}

/// One object, as it was when it was listed or opened.
#[derive(Debug)]
struct RemoteBlob {
    name: String,
    key: Key,
    identity: Arc<Identity>,
    /// The block read last, and its number: small reads in a row fetch it once.
    recent: Mutex<Option<(u64, Arc<[u8]>)>>,
    shared: Arc<Shared>,
}

impl RemoteBlob {
    fn block(&self, number: u64) -> io::Result<Arc<[u8]>> {
        let recent = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = recent().as_ref().filter(|(known, _)| *known == number) {
            return Ok(Arc::clone(block));
        }
        let start = number * BLOCK_BYTES;
        let range = start..(start + BLOCK_BYTES).min(self.identity.bytes);
        let blocks = self.shared.blocks.as_ref();
        let name = blocks::name(&self.shared.place, self.key.as_ref(), &self.identity, number);
        let cached = blocks.and_then(|blocks| blocks.load(&name, (range.end - range.start) as usize));
        let block: Arc<[u8]> = match cached {
            Some(block) => block.into(),
            None => {
                let block = self.fetch(range)?;
                if let Some(blocks) = blocks {
                    blocks.store(&name, &block);
                }
                block.into()
            }
        };
        *recent() = Some((number, Arc::clone(&block)));
        Ok(block)
    }

    fn fetch(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let Shared { store, requests, .. } = &*self.shared;
        let what = format!("fetch bytes {} to {} of {}", range.start, range.end, self.name);
        let fetched = requests.attempt(&what, requests.timeout, || {
            get(Arc::clone(store), self.key.clone(), Arc::clone(&self.identity), range.clone())
        });
        // It may have been replaced: whoever opens it next looks at it anew.
        fetched.inspect_err(|_| drop(self.shared.known().remove(self.key.as_ref())))
    }
}

impl Blob for RemoteBlob {
    fn len(&self) -> u64 {
        self.identity.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(into.len() as u64).filter(|&end| end <= self.identity.bytes);
        if end.is_none() {
            let problem = format!("{} ends after {} bytes", self.name, self.identity.bytes);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
        }
        let mut filled = 0;
        while filled < into.len() {
            let at = offset + filled as u64;
            let block = self.block(at / BLOCK_BYTES)?;
            let rest = &block[(at % BLOCK_BYTES) as usize..];
            let count = rest.len().min(into.len() - filled);
            into[filled..filled + count].copy_from_slice(&rest[..count]);
            filled += count;
        }
        Ok(())
    }
}

async fn page(
    store: Arc<dyn ObjectStore>,
    prefix: Key,
    after: Option<Key>,
    objects: usize,
) -> Result<Vec<ObjectMeta>, Refusal> {
    let mut stream = match &after {
        Some(after) => store.list_with_offset(Some(&prefix), after),
        None => store.list(Some(&prefix)),
    };
    let mut page = Vec::new();
    while page.len() < objects
        && let Some(meta) = stream.next().await
    {
        page.push(meta?);
    }
    Ok(page)
}

async fn head(store: Arc<dyn ObjectStore>, key: Key) -> Result<ObjectMeta, Refusal> {
    Ok(store.head(&key).await?)
}

/// The bytes of a range, of the very object that was opened.
async fn get(
    store: Arc<dyn ObjectStore>,
    key: Key,
    identity: Arc<Identity>,
    range: Range<u64>,
) -> Result<Vec<u8>, Refusal> {
    let options = GetOptions {
        range: Some(GetRange::Bounded(range.clone())),
        if_match: identity.strong_tag(),
        ..GetOptions::default()
    };
    let got = store.get_opts(&key, options).await?;
    if !identity.is_of(&got.meta) {
        return Err(Refusal::replaced());
    }
    let bytes = got.bytes().await?;
    if bytes.len() as u64 != range.end - range.start {
        return Err(Refusal::wrong_length(bytes.len() as u64, range.end - range.start));
    }
    Ok(bytes.to_vec())
}
