//! `rectify-data pack`: its options, its progress bar and its last words.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dataloader::pack::{BadImages, PackSpec, Progress, SplitSummary, State, Summary, pack, verify};
use dataloader::{Split, open};
use indicatif::{ProgressBar, ProgressStyle};
use plan::config::Source;
use world::Exit;

use crate::dataset::in_folder;

/// Pack a data set into tar shards (WebDataset) of which the loader reads only what a crop needs.
#[derive(Args)]
pub struct Arguments {
    /// The folder of the data set.
    dir: PathBuf,
    /// The folder to write. Where packing was stopped there, it goes on.
    out: PathBuf,
    /// How the data set is stored, as `data.source` in a config; by default "shards" where it is packed, "folder"
    /// otherwise.
    #[arg(long, value_parser = crate::dataset::source)]
    source: Option<Source>,
    /// Reduce images whose longer side has more pixels than this, and encode those anew: lossy.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    max_side: Option<u32>,
    /// Encode every image anew at this quality: lossy. With --max-side alone only the reduced ones are, at 90.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    quality: Option<u32>,
    /// Compare everything with DIR at the end: coefficients, labels, hashes of the shards, crops read through the index.
    #[arg(long)]
    verify: bool,
    /// The order in the shards, for programs that read them from end to end; training does not depend on it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Megabytes after which a shard is closed.
    #[arg(long, value_name = "MB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    shard_size: u64,
    /// Images after which a shard is closed, whatever its size.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    shard_images: Option<u64>,
    /// Threads that transcode; 0 means one a core.
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Stop at the first image that cannot be decoded, in place of leaving such images out.
    #[arg(long)]
    strict: bool,
}

impl Arguments {
    fn spec(&self) -> PackSpec {
        PackSpec {
            max_side: self.max_side,
            quality: self.quality,
            seed: self.seed,
            shard_bytes: self.shard_size * 1_000_000,
            shard_images: self.shard_images.unwrap_or(u64::MAX),
            workers: self.workers,
            bad_images: if self.strict { BadImages::Refuse } else { BadImages::LeaveOut },
            ..PackSpec::new(&self.out)
        }
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let dataset = open(&in_folder(&arguments.dir, arguments.source))?;
    let spec = arguments.spec();
    let bar = Bar::new("packing");
    let summary = pack(&dataset, &spec, &|progress| bar.show(progress));
    bar.clear();
    let summary = summary?;
    if arguments.verify {
        let bar = Bar::new("verifying");
        let verified = verify(&dataset, &spec, &|progress| bar.show(progress));
        bar.clear();
        verified?;
    }
    tell(arguments, &summary);
    Ok(Exit::Done)
}

fn tell(arguments: &Arguments, summary: &Summary) {
    let out = arguments.out.display();
    let sum = |of: fn(&SplitSummary) -> u64| summary.splits.iter().map(of).sum::<u64>();
    let (bytes_in, bytes_out) = (sum(|split| split.bytes_in), sum(|split| split.bytes_out));
    let (as_they_are, left_out) = (sum(|split| split.as_they_are), sum(|split| split.left_out));
    let verb = match summary.state {
        State::Packed => "packed",
        State::Found => "already packed:",
    };
    println!("{verb} {} images into {} shards in {out}", sum(|split| split.images), sum(|split| split.shards));
    for (name, split) in ["train", "val"].iter().zip(&summary.splits) {
        println!("  {name:5}  {} images in {} shards, {}", split.images, split.shards, size(split.bytes_out));
    }
    let percent = 100.0 * bytes_out as f64 / bytes_in.max(1) as f64;
    println!("  {} before, {} now ({percent:.1} %)", size(bytes_in), size(bytes_out));
    println!("  index {}", size(sum(|split| split.index_bytes)));
    println!("  took {:.1} s", summary.took.as_secs_f64());
    if as_they_are > 0 {
        println!("  {as_they_are} stored as they are: no JPEGs, or of a kind that cannot be transcoded without loss");
    }
    if left_out > 0 {
        println!("  {left_out} left out because they cannot be decoded: see {out}/*-left-out.txt");
    }
    if arguments.verify {
        println!("  verified against {}", arguments.dir.display());
    }
    println!("next: rectify data bench {out}");
    println!("      rectify train CONFIG --set data.source=shards --set data.path={out}");
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// A bar on a terminal; nothing elsewhere.
struct Bar(ProgressBar);

impl Bar {
    fn new(verb: &'static str) -> Bar {
        const TEMPLATE: &str = "{prefix} {msg:5} {bar:30} {human_pos}/{human_len} images  {per_sec}  {eta} left";
        let style = ProgressStyle::with_template(TEMPLATE).expect("a template as indicatif writes them");
        let bar = ProgressBar::new(0).with_style(style).with_prefix(verb);
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar(bar)
    }

    fn show(&self, Progress { split, done, images }: Progress) {
        let name = match split {
            Split::Train => "train",
            Split::Validation => "val",
        };
        if self.0.message() != name || self.0.length() != Some(images) {
            self.0.set_message(name);
            self.0.set_length(images);
            // What was there before counts for nothing in the time that is left.
            self.0.set_position(done);
            self.0.reset_eta();
        }
        self.0.set_position(done);
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}
