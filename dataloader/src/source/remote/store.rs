//! From a URL and the environment to the client of a kind of storage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};

use crate::DataError;
use crate::source::storage::StorageOptions;

/// A client, and what it is for.
pub(super) struct Opened {
    pub(super) store: Arc<dyn ObjectStore>,
    /// Under which the URL's objects lie in the store.
    pub(super) prefix: Key,
    /// The URL's root and the endpoint, which together name the store.
    pub(super) place: String,
    pub(super) pages: Pages,
}

/// How a storage is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pages {
    /// In order, from any key on.
    Ordered,
    /// All at once.
    Whole,
}

impl Pages {
    /// How many objects one request for a list brings.
    pub(super) fn objects(self) -> usize {
        match self {
            Pages::Ordered => 1000,
            Pages::Whole => usize::MAX,
        }
    }

    /// How many times the time-out of a request one may take.
    pub(super) fn timeouts(self) -> u32 {
        match self {
            Pages::Ordered => 1,
            Pages::Whole => 20,
        }
    }
}

/// Prepares the client for `url`; the environment's variables are the ones that the vendors' own tools read.
pub(super) fn open(url: &str, options: &StorageOptions) -> Result<Opened, DataError> {
    let refused = |problem: String| DataError::Url { url: url.to_owned(), problem };
    // Where a provider has been installed already, that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let parsed = reqwest::Url::parse(url).map_err(|error| refused(error.to_string()))?;
    let (scheme, prefix) = ObjectStoreScheme::parse(&parsed).map_err(|error| refused(error.to_string()))?;
    let settings = settings(options);
    let built: object_store::Result<Arc<dyn ObjectStore>> = match scheme {
        ObjectStoreScheme::AmazonS3 => {
            let builder = AmazonS3Builder::new().with_url(url).with_retry(never_again());
            let builder = builder.with_client_options(client());
            apply(builder, &settings, |builder, key, value| builder.with_config(key, value)).build().map(shared)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = GoogleCloudStorageBuilder::new().with_url(url).with_retry(never_again());
            let builder = builder.with_client_options(client());
            apply(builder, &settings, |builder, key, value| builder.with_config(key, value)).build().map(shared)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = MicrosoftAzureBuilder::new().with_url(url).with_retry(never_again());
            let builder = builder.with_client_options(client());
            apply(builder, &settings, |builder, key, value| builder.with_config(key, value)).build().map(shared)
        }
        ObjectStoreScheme::Http => {
            let root = format!("{}://{}", parsed.scheme(), parsed.authority());
            let client = client().with_allow_http(parsed.scheme() == "http");
            HttpBuilder::new().with_url(root).with_retry(never_again()).with_client_options(client).build().map(shared)
        }
        _ => return Err(refused("no such kind of storage; use s3://, gs://, az:// or https://".to_owned())),
    };
    let pages = match scheme {
        ObjectStoreScheme::AmazonS3 | ObjectStoreScheme::GoogleCloudStorage => Pages::Ordered,
        _ => Pages::Whole,
    };
    let store = built.map_err(|error| refused(error.to_string()))?;
    Ok(Opened { store, prefix, place: place(&parsed, &settings), pages })
}

fn shared<S: ObjectStore>(store: S) -> Arc<dyn ObjectStore> {
    Arc::new(store)
}

/// The time-outs are ours: they cover a request from its start to the last byte of its body.
fn client() -> ClientOptions {
    ClientOptions::new().with_timeout_disabled()
}

/// Tries are counted in one place, which is not this one.
fn never_again() -> RetryConfig {
    RetryConfig { max_retries: 0, retry_timeout: Duration::ZERO, ..RetryConfig::default() }
}

/// The variables of the environment in lower case, and over them those of `options`.
fn settings(options: &StorageOptions) -> BTreeMap<String, String> {
    let ours = |name: &str| ["aws_", "google_", "azure_"].iter().any(|vendor| name.starts_with(vendor));
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let variables = std::env::vars_os().filter_map(text).map(|(name, value)| (name.to_ascii_lowercase(), value));
    let mut settings: BTreeMap<String, String> = variables.filter(|(name, _)| ours(name)).collect();
    settings.extend(options.settings.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
    settings
}

/// Hands a builder every setting that it knows.
fn apply<B, K: std::str::FromStr>(
    builder: B,
    settings: &BTreeMap<String, String>,
    with: impl Fn(B, K, String) -> B,
) -> B {
    settings.iter().fold(builder, |builder, (name, value)| match name.parse() {
        Ok(key) => with(builder, key, value.clone()),
        Err(_) => builder,
    })
}

fn place(url: &reqwest::Url, settings: &BTreeMap<String, String>) -> String {
    let endpoints = settings.iter().filter(|(name, _)| name.contains("endpoint") || name.contains("base_url"));
    let endpoints: Vec<&str> = endpoints.map(|(_, value)| value.as_str()).collect();
    format!("{}://{} {}", url.scheme(), url.authority(), endpoints.join(" "))
}
