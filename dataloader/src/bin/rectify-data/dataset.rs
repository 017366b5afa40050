//! Which data set a command is about: a folder, a config's `[data]`, or a folder in place of the config's.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use dataloader::{Dataset, DatasetSpec, open};
use plan::Config;

/// What the schema asks for besides the data.
const BARE: &str = "[data]\npath = '.'\n[model]\nname = 'vit_tiny_patch16_224'";

/// The arguments that name a data set.
#[derive(Args)]
pub struct Chosen {
    /// The data set's folder; with --config, in place of its data.path.
    dir: Option<PathBuf>,
    /// How the images lie on disk: a value of data.source, such as folder or cifar10.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
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
        let mut sets = self.sets.clone();
        sets.extend(self.source.as_ref().map(|name| format!("data.source={name}")));
        let config = configured(self.config.as_deref(), self.dir.as_deref(), &sets)?;
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
