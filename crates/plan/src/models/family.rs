//! What a family of networks says about itself from its sizes alone, and the checks of sizes that families share.

use std::ops::{Add, Mul};

use super::BadModel;
use crate::config;

/// What goes into a network and comes out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Height and width of the input, in pixels.
    pub image_size: usize,
    /// Outputs of a classifier.
    pub num_classes: usize,
}

/// How deep in the network a parameter lies, as timm's `group_matcher` has it: for layer-wise learning rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Before all blocks.
    Stem,
    /// In a block of a stage; networks without stages have one, number 0.
    Block {
        /// The stage.
        stage: usize,
        /// The block of the stage.
        index: usize,
    },
    /// Behind the last block, and counted with it.
    LastBlock,
    /// A classifier.
    Head,
}

/// How many numbers the forward pass of one image keeps for the backward pass: an estimate from what each layer needs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Elements that go through activations; how often each is kept, its activation decides.
    pub activated: u64,
    /// All others, the outputs of activations among them.
    pub elsewhere: u64,
}

impl Add for Kept {
    type Output = Kept;

    fn add(self, other: Kept) -> Kept {
        Kept { activated: self.activated + other.activated, elsewhere: self.elsewhere + other.elsewhere }
    }
}

impl Mul<u64> for Kept {
    type Output = Kept;

    fn mul(self, times: u64) -> Kept {
        Kept { activated: self.activated * times, elsewhere: self.elsewhere * times }
    }
}

/// What blocks that are alike keep for the backward pass of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptByBlocks {
    /// How many such blocks there are.
    pub blocks: u64,
    /// Numbers that go into one of them.
    pub input: u64,
    /// What one of them keeps.
    pub kept: Kept,
}

/// A linear map as a matrix product: `rows` vectors an image of `inputs` numbers to `outputs`, `times` in a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Vectors of one image.
    pub rows: usize,
    /// Length of each.
    pub inputs: usize,
    /// Length of what becomes of it.
    pub outputs: usize,
    /// How many such maps there are.
    pub times: usize,
}

impl Product {
    /// Those of `depth` transformer blocks over `rows` tokens: queries, keys and values, the projection, the two of the MLP.
    pub(super) fn of_blocks(rows: usize, width: usize, hidden: usize, depth: usize) -> [Product; 4] {
        [[width, 3 * width], [width, width], [width, hidden], [hidden, width]].map(|[inputs, outputs]| Product {
            rows,
            inputs,
            outputs,
            times: depth,
        })
    }
}

/// The sizes of a network of some family.
pub trait Family {
    /// The sides of any input are multiples of it, in pixels.
    fn stride(&self) -> usize;

    /// The names of the modules that are activations, as in timm, in the order of the forward pass.
    fn activations(&self) -> Vec<String>;

    /// How many numbers it learns, those of its activations left out.
    fn parameters(&self, shape: Shape) -> u64;

    /// Multiply-adds of the matrix products and convolutions of one forward pass of one image.
    fn multiply_adds(&self, shape: Shape) -> u64;

    /// The linear maps of the blocks, which most of the time should go to; none where a model is not made of them.
    fn products(&self, _shape: Shape) -> Vec<Product> {
        Vec::new()
    }

    /// What the forward pass of one image keeps for the backward pass outside of [`Family::kept_by_blocks`].
    fn kept_around_blocks(&self, shape: Shape) -> Kept;

    /// What the blocks keep that could be computed again in the backward pass; empty where each pass changes what blocks hold.
    fn kept_by_blocks(&self, shape: Shape) -> Vec<KeptByBlocks>;

    /// What the forward pass of one image keeps for the backward pass.
    fn kept_for_backward(&self, shape: Shape) -> Kept {
        let all = self.kept_by_blocks(shape).into_iter();
        all.fold(self.kept_around_blocks(shape), |sum, one| sum + one.kept * one.blocks)
    }

    /// The same where every block keeps only its input and is computed again when its turn comes: at the end of the forward pass
    /// the inputs of all, and in the backward pass also what one block keeps. `None` where that cannot be done.
    fn kept_when_recomputed(&self, shape: Shape) -> Option<Kept> {
        let all = self.kept_by_blocks(shape);
        let inputs = all.iter().map(|one| one.blocks * one.input).sum();
        let largest = all.iter().map(|one| one.kept).max_by_key(|kept| kept.activated + kept.elsewhere)?;
        Some(self.kept_around_blocks(shape) + Kept { activated: 0, elsewhere: inputs } + largest)
    }

    /// How deep the parameter of this name lies.
    fn depth_of(&self, parameter: &str) -> Depth;

    /// Where it normalises by statistics of a batch: of how many values of an image of that size, at least.
    fn values_of_a_statistic(&self, _image_size: usize) -> Option<usize> {
        None
    }
}

/// Checks that `part` divides `whole`. `blamed` is the key that the config gave, `divisor` that of `part`.
pub(super) fn divides(
    what: &str,
    whole: usize,
    part: usize,
    [blamed, divisor]: [&'static str; 2],
) -> Result<(), BadModel> {
    if part != 0 && whole.is_multiple_of(part) {
        return Ok(());
    }
    if blamed != divisor {
        return Err(BadModel::new(blamed, format!("a multiple of the model's {divisor} {part}"), whole.to_string()));
    }
    let fits = |n: &usize| *n > 0 && whole.is_multiple_of(*n);
    let below = (1..part).rev().find(fits);
    let above = (part + 1..=whole).find(fits);
    let near: Vec<String> = [below, above].into_iter().flatten().map(|n| n.to_string()).collect();
    Err(BadModel::new(divisor, format!("a divisor of {what}, such as {}", near.join(" or ")), part.to_string()))
}

/// Which of two keys to blame: the divisor where the config gives it, otherwise what it should divide.
pub(super) fn by(divisor: Option<usize>, key: &'static str, other: &'static str) -> [&'static str; 2] {
    if divisor.is_some() { [key, key] } else { [other, key] }
}

/// Refuses a key of `[model]` that networks of this `family` have no use for.
pub(super) fn without(config: &config::Model, family: &str, keys: &[&str]) -> Result<(), BadModel> {
    let whole = |number: Option<usize>| number.map(|number| number.to_string());
    let given = [
        ("patch_size", whole(config.patch_size)),
        ("embed_dim", whole(config.embed_dim)),
        ("depth", whole(config.depth)),
        ("num_heads", whole(config.num_heads)),
        ("mlp_ratio", config.mlp_ratio.map(|ratio| ratio.to_string())),
        ("window_size", whole(config.window_size)),
        ("pool", config.pool.map(|pool| format!("\"{}\"", pool.name()))),
        ("positions", config.positions.map(|positions| format!("\"{}\"", positions.name()))),
        ("class_token", config.class_token.map(|given| given.to_string())),
    ];
    let useless = given.into_iter().filter(|(key, _)| keys.contains(key));
    match useless.filter_map(|(key, value)| value.map(|value| (key, value))).next() {
        None => Ok(()),
        Some((key, value)) => Err(BadModel::new(key, format!("absent, since no {family} has it to change"), value)),
    }
}

/// Drop-path rate of each of `blocks` blocks: evenly spaced from 0 to `last`, as timm's `calculate_drop_path_rates`.
pub fn drop_path_rates(last: f64, blocks: usize) -> Vec<f64> {
    let intervals = blocks.saturating_sub(1).max(1) as f64;
    (0..blocks).map(|block| last * block as f64 / intervals).collect()
}
