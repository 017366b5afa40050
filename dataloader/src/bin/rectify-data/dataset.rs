//! Which data set a command is about: a folder, a config's `[data]`, or a folder in place of the config's.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use dataloader::{Dataset, DatasetSpec, SourceKind, open};
use plan::Config;
use plan::config::Source;

/// What the schema asks for besides the data.
const BARE: &str = "[data]\npath = '.'\n[model]\nname = 'vit_tiny_patch16_224'";

/// The arguments that name a data set.
#[derive(Args)]
pub struct Chosen {
    /// The data set's folder; with --config, in place of its data.path.
    dir: Option<PathBuf>,
    /// How the images lie on disk, as data.source in a config; by default "shards" where they are packed, else "folder".
    #[arg(long, value_name = "NAME", value_parser = source)]
    source: Option<Source>,
    /// Take the data set from [data] of this config.
    #[arg(long, value_name = "CONFIG")]
    config: Option<PathBuf>,
    /// Override a key, as in --set data.val_dir=validation; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

impl Chosen {
    /// Opens the data set; also says in words which it is.
    pub fn open(&self) -> Result<(Dataset, String)> {
        ensure!(self.dir.is_some() || self.config.is_some(), "name a folder, or a config with --config");
        let mut config = configured(self.config.as_deref(), self.dir.as_deref(), &self.sets)?;
        match (self.source, &self.config) {
            (Some(source), _) => config.data.source = source,
            (None, None) => config.data.source = detect(&config.data.path),
            (None, Some(_)) => {}
        }
        let words = format!("{} ({})", config.data.path.display(), config.data.source.name());
        Ok((open(&DatasetSpec::configured(&config))?, words))
    }
}

/// The config of a file, or a bare one, with another folder of data where one is named.
pub fn configured(file: Option<&Path>, dir: Option<&Path>, sets: &[String]) -> Result<Config> {
    let mut config = match file {
        Some(file) => plan::load(file, sets)?,
        None => plan::parse(BARE, "the command line".as_ref(), sets)?,
    };
    if let Some(dir) = dir {
        config.data.path = dir.to_owned();
    }
    Ok(config)
}

/// The data set in a folder, of the kind that is named or that it looks like.
pub fn in_folder(dir: &Path, source: Option<Source>) -> DatasetSpec {
    DatasetSpec { kind: SourceKind::from(source.unwrap_or_else(|| detect(dir))), ..DatasetSpec::folder(dir) }
}

/// What a folder looks like.
fn detect(dir: &Path) -> Source {
    if SourceKind::detect(dir) == SourceKind::Shards { Source::Shards } else { Source::Folder }
}

/// The kind of source of that name.
pub fn source(name: &str) -> Result<Source, String> {
    Source::named(name).ok_or_else(|| format!("expected one of {}", Source::names().join(", ")))
}
