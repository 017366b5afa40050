//! `rectify-data verify`: decodes everything, and lists what is bad.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use dataloader::verify;
use world::Exit;

use crate::dataset::Chosen;
use crate::progress;

/// Decode every image whole and strictly, and list the bad ones: exit 0 where all are good, 3 where some are bad.
///
/// Each line of the list is the image's name, a tab, the reason, a tab, and what the decoder said.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Write the list into this file too; an empty file where all are good.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
}

/// Verifies both splits.
pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let (dataset, words) = arguments.chosen.open()?;
    let bar = progress::over(&dataset);
    let seen = || bar.inc(1);
    let mut list = String::new();
    let mut bad = 0;
    for source in [&dataset.train, &dataset.validation] {
        for fault in verify::run(source.as_ref(), &seen)? {
            let [name, detail] =
                [&fault.name, &fault.bad.detail].map(|text| text.replace(char::is_control, "\u{FFFD}"));
            list.push_str(&format!("{name}\t{}\t{detail}\n", fault.bad.reason));
            bad += 1;
        }
    }
    bar.finish_and_clear();
    print!("{list}");
    if let Some(file) = &arguments.list {
        std::fs::write(file, &list).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let all = dataset.train.len() + dataset.validation.len();
    if bad == 0 {
        eprintln!("all {all} images of {words} are good");
        return Ok(Exit::Done);
    }
    eprintln!("{bad} of {all} images of {words} are bad");
    Ok(Exit::Data)
}
