//! `rectify-data inspect`: tells what is in a data set.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use dataloader::inspect::{self, Depth, Inspection, Remark, Spread};
use world::Exit;

use crate::dataset::Chosen;
use crate::histogram::{self, grouped};
use crate::progress;

/// Names that are shown of each kind of remark.
const SHOWN: usize = 5;

/// Tell classes, sizes, formats, copies (validation images among the training images too) and bad images.
///
/// Reads all bytes and decodes none, unless asked to.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Decode every image too, whole and strictly, and so find all bad ones.
    #[arg(long)]
    decode: bool,
    /// Print everything as one JSON object: every bad image, every group of copies.
    #[arg(long)]
    json: bool,
}

/// Looks at both splits, and prints what was found.
pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let (dataset, words) = arguments.chosen.open()?;
    let bar = progress::over(&dataset);
    let depth = if arguments.decode { Depth::Pixels } else { Depth::Headers };
    let found = inspect::run(&dataset, depth, &|| bar.inc(1))?;
    bar.finish_and_clear();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        println!("{words}: {} classes", grouped(found.classes.len() as u64));
        print!("{}", describe(&found, depth));
    }
    Ok(Exit::Done)
}

fn describe(found: &Inspection, depth: Depth) -> String {
    let mut text = format!("\n{:24}{:>26}{:>26}\n", "", "train", "validation");
    let (train, validation) = (&found.train, &found.validation);
    let mut row = |name: &str, values: [String; 2]| {
        text.push_str(&format!("{name:24}{:>26}{:>26}\n", values[0], values[1]));
    };
    let both = [train, validation];
    row("images", both.map(|split| grouped(split.images as u64)));
    row("bytes", both.map(|split| bytes(split.bytes)));
    let of_class = |counts: &[usize]| Spread::of(counts.iter().map(|&count| count as u64).collect());
    row("images a class", both.map(|split| spread(of_class(&split.images_of_class), grouped)));
    row("width", both.map(|split| spread(split.width, grouped)));
    row("height", both.map(|split| spread(split.height, grouped)));
    row("bytes an image", both.map(|split| spread(split.image_bytes, bytes)));
    let formats: BTreeSet<&String> = both.iter().flat_map(|split| split.formats.keys()).collect();
    for format in formats {
        row(format, both.map(|split| split.formats.get(format).map_or("–".to_owned(), |&count| grouped(count as u64))));
    }
    text.push_str("(three numbers are smallest · median · largest)\n");
    text.push_str("\nshorter side in pixels, training images\n");
    text.push_str(&histogram::draw(&train.shorter_sides));
    text.push_str("\nimages a class, training classes\n");
    let mut counts: Vec<u64> = train.images_of_class.iter().map(|&count| count as u64).collect();
    counts.sort_unstable();
    text.push_str(&histogram::draw(&counts));
    text.push_str(&copies(found));
    text.push_str(&remarks("named as another format", &train.misnamed, &validation.misnamed));
    text.push_str(&remarks("bad", &train.bad, &validation.bad));
    if depth == Depth::Headers {
        text.push_str("(as far as headers tell: --decode finds damage inside)\n");
    }
    text
}

fn copies(found: &Inspection) -> String {
    let copies = &found.duplicates;
    if copies.groups.is_empty() {
        return "\nno two images have the same bytes\n".to_owned();
    }
    let mut text = format!(
        "\nsame bytes: {} copies in train, {} in validation; {} validation images are training images too\n",
        grouped(copies.train as u64),
        grouped(copies.validation as u64),
        grouped(copies.validation_in_train as u64),
    );
    if copies.groups_of_several_classes > 0 {
        text.push_str(&format!("{} groups of copies have several classes\n", copies.groups_of_several_classes));
    }
    for group in copies.groups.iter().take(SHOWN) {
        text.push_str(&format!("  {}\n", group.join("  =  ")));
    }
    text + &more(copies.groups.len())
}

fn remarks(what: &str, train: &[Remark], validation: &[Remark]) -> String {
    let all: Vec<&Remark> = train.iter().chain(validation).collect();
    if all.is_empty() {
        return format!("no image is {what}\n");
    }
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for remark in &all {
        *kinds.entry(&remark.kind).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{} {kind}", grouped(*count as u64))).collect();
    let mut text = format!("\n{what}: {}\n", kinds.join(", "));
    for remark in all.iter().take(SHOWN) {
        let colon = if remark.detail.is_empty() { "" } else { ": " };
        text.push_str(&format!("  {}  {}{colon}{}\n", remark.name, remark.kind, remark.detail));
    }
    text + &more(all.len())
}

fn more(all: usize) -> String {
    if all > SHOWN { format!("  and {} more (--json lists all)\n", all - SHOWN) } else { String::new() }
}

fn spread(of: Spread, show: fn(u64) -> String) -> String {
    if of.min == of.max { show(of.min) } else { format!("{} · {} · {}", show(of.min), show(of.median), show(of.max)) }
}

/// As `ls -h` shows sizes, with powers of ten.
fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.5 || unit == "TB" {
            let digits = if value < 9.95 && unit != "B" { 1 } else { 0 };
            return format!("{value:.digits$} {unit}");
        }
        value /= 1e3;
    }
    unreachable!("the last unit takes every size")
}
