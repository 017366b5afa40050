//! A model: a network of some family together with its parameters.

use plan::config::{Pool, Positions};
use plan::models::{Architecture, ConvolutionalSpec, ModelSpec, SwinSpec, TntSpec, VitSpec};
use random::Key;
use tch::{Device, Kind, Tensor, no_grad};

use crate::declaration::{Declarations, Grouping};
use crate::error::ModelError;
use crate::masks::Mode;
use crate::network::{Dropout, Network};
use crate::parameters::{Parameter, Parameters};
use crate::patches::{ImageForm, Images};
use crate::residual::ResidualNetwork;
use crate::swin::Swin;
use crate::tnt::Tnt;
use crate::vit::Vit;

/// A network with its parameters.
pub struct Model {
    network: Box<dyn Network>,
    parameters: Parameters,
    /// The names of the modules that are activations.
    activations: Vec<String>,
}

/// What a network answers.
#[derive(Debug)]
pub struct Output {
    /// `(N, C)`, one row an image.
    pub logits: Tensor,
    /// Logits of the distillation head, `(N, C)`: of a distilled model in training. When it evaluates, `logits` is
    /// already the mean of the two, as in timm.
    pub distilled: Option<Tensor>,
}

impl Model {
    /// The model of `spec` in f32, with initial values as timm's, drawn from `key`: in a run that is
    /// `Key::root(seed).child(Purpose::Init as u64)`.
    ///
    /// # Errors
    /// [`ModelError::Spec`] when sizes do not fit each other, [`ModelError::Torch`] when the device is not there or full.
    pub fn new(spec: &ModelSpec, grouping: impl Into<Grouping>, key: Key, device: Device) -> Result<Model, ModelError> {
        Model::with_kind(spec, grouping, key, device, Kind::Float)
    }

    /// As [`Model::new`], with parameters of another floating-point kind.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn with_kind(
        spec: &ModelSpec,
        grouping: impl Into<Grouping>,
        key: Key,
        device: Device,
        kind: Kind,
    ) -> Result<Model, ModelError> {
        Model::build(spec, grouping.into(), Some(key), device, kind)
    }

    /// As [`Model::with_kind`], but what would be drawn is 0: for values that come from elsewhere, at no cost of drawing.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn empty(
        spec: &ModelSpec,
        grouping: impl Into<Grouping>,
        device: Device,
        kind: Kind,
    ) -> Result<Model, ModelError> {
        Model::build(spec, grouping.into(), None, device, kind)
    }

    fn build(
        spec: &ModelSpec,
        grouping: Grouping,
        key: Option<Key>,
        device: Device,
        kind: Kind,
    ) -> Result<Model, ModelError> {
        check(spec)?;
        let mut declarations = Declarations::new(grouping, &spec.architecture, &spec.activations);
        let network: Box<dyn Network> = match &spec.architecture {
            Architecture::Vit(vit) => {
                check_vit(vit)?;
                Box::new(Vit::declare(&mut declarations, vit, spec))
            }
            Architecture::Tnt(tnt) => {
                check_tnt(tnt)?;
                Box::new(Tnt::declare(&mut declarations, tnt, spec))
            }
            Architecture::Swin(swin) => {
                check_swin(swin, spec.image_size)?;
                Box::new(Swin::declare(&mut declarations, swin, spec))
            }
            Architecture::Convolutional(layers) => {
                check_layers(layers)?;
                Box::new(ResidualNetwork::declare(&mut declarations, layers, spec))
            }
            other => return Err(ModelError::Spec { reason: format!("no network is written for {other:?}") }),
        };
        let parameters = Parameters::allocate(&declarations, key, device, kind)?;
        Ok(Model { network, parameters, activations: spec.architecture.family().activations() })
    }

    /// The same model, computing its matrix products, attention and convolutions in `kind`; parameters, sums of branches and
    /// normalisation stay as they are.
    #[must_use]
    pub fn with_products_in(mut self, kind: Kind) -> Model {
        self.parameters.compute_products_in(kind);
        self
    }

    /// The same model, whose transformer blocks keep only their inputs for the backward pass and are computed again there
    /// (activation checkpointing). It gives the same numbers. Networks of other blocks stay as they are.
    #[must_use]
    pub fn recomputed(mut self) -> Model {
        self.parameters.recompute_blocks();
        self
    }

    /// What the model answers to `images`: whole ones, `(N, 3, H, W)` of the parameters' kind and
    /// device, or those of its [`image_form`](Self::image_form).
    ///
    /// Sides other than the spec's image size must be multiples of the patch size. For them position embeddings are
    /// resampled, and windows stay as large as they are, as with timm's `dynamic_img_size`.
    ///
    /// # Panics
    /// When shapes, kinds or devices do not fit. In training also when a rate is above zero and its mask is missing.
    pub fn forward(&self, images: impl Into<Images>, mode: Mode<'_>) -> Output {
        self.parameters.begin_pass();
        let images = &images.into();
        match mode {
            Mode::Train { masks } => {
                let (logits, distilled) = self.network.forward(&self.parameters, images, Some(masks));
                let wide = |logits: Tensor| logits.to_kind(self.parameters.kind());
                Output { logits: wide(logits), distilled: distilled.map(wide) }
            }
            Mode::Evaluate => no_grad(|| {
                let logits = match self.network.forward(&self.parameters, images, None) {
                    (class, Some(distilled)) => (class + distilled) / 2.0,
                    (class, None) => class,
                };
                Output { logits: logits.to_kind(self.parameters.kind()), distilled: None }
            }),
        }
    }

    /// The form in which the model reads images with no further copy.
    pub fn image_form(&self) -> ImageForm {
        self.network.image_form(&self.parameters)
    }

    /// The model's parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The rate of each drop-path, in the order of the rows of [`Masks::drop_path`](crate::Masks::drop_path).
    pub fn drop_path_rates(&self) -> &[f64] {
        self.network.drop_path_rates()
    }

    /// How many drop-paths there are.
    pub fn num_drops(&self) -> usize {
        self.drop_path_rates().len()
    }

    /// The dropout before the classifiers, where there is any.
    pub fn dropout(&self) -> Option<Dropout> {
        self.network.dropout()
    }

    /// The modules that are activations, in the order of the network: `blocks.0.mlp.act` and so on.
    pub fn activations(&self) -> &[String] {
        &self.activations
    }

    /// What the activations learn, block after block: `blocks.0.mlp.act.epsilon` and so on with CRReLU.
    pub fn activation_parameters(&self) -> impl Iterator<Item = &Parameter> {
        let learned = |parameter: &&Parameter| {
            let module = parameter.name.rsplit_once('.').map(|(module, _)| module);
            module.is_some_and(|module| self.activations.iter().any(|one| one == module))
        };
        self.parameters.iter().filter(learned)
    }
}

/// Refuses what a config could not have given, but a spec made by hand can.
fn check(spec: &ModelSpec) -> Result<(), ModelError> {
    if spec.num_classes == 0 {
        return refuse("there must be at least 1 class".to_owned());
    }
    let stride = spec.stride();
    if stride == 0 || spec.image_size == 0 || !spec.image_size.is_multiple_of(stride) {
        return refuse(format!("image size {} is no multiple of patch size {stride}", spec.image_size));
    }
    for (name, rate) in [("drop_path", spec.drop_path), ("drop", spec.drop)] {
        if !(0.0..1.0).contains(&rate) {
            return refuse(format!("{name} must be at least 0 and less than 1; found {rate}"));
        }
    }
    Ok(())
}

fn check_vit(spec: &VitSpec) -> Result<(), ModelError> {
    if [spec.embed_dim, spec.depth, spec.num_heads, spec.mlp_dim()].contains(&0) {
        return refuse("width, depth, heads and MLP width must be at least 1".to_owned());
    }
    let classified = if spec.pool == Pool::Token { spec.num_classifiers() } else { 0 };
    if spec.num_prefix_tokens() < classified || (spec.distilled && spec.pool != Pool::Token) {
        return refuse(
            "there must be a token for each classifier of a token, and for a distilled model both".to_owned(),
        );
    }
    if spec.positions == Positions::SinCos2d
        && (spec.token_positions || spec.embed_dim < 8 || !spec.embed_dim.is_multiple_of(4))
    {
        return refuse(
            "positions of sines and cosines need a width that is a multiple of 4, 8 or more, and no tokens".to_owned(),
        );
    }
    if !spec.embed_dim.is_multiple_of(spec.num_heads) {
        return refuse(format!("width {} is no multiple of {} heads", spec.embed_dim, spec.num_heads));
    }
    Ok(())
}

fn check_tnt(spec: &TntSpec) -> Result<(), ModelError> {
    if [spec.embed_dim, spec.inner_dim, spec.depth, spec.num_heads, spec.inner_heads, spec.mlp_dim()].contains(&0) {
        return refuse("widths, depth, heads and MLP width must be at least 1".to_owned());
    }
    if !spec.patch_size.is_multiple_of(TntSpec::PIXEL_GRID) {
        return refuse(format!("patch size {} is no multiple of {}", spec.patch_size, TntSpec::PIXEL_GRID));
    }
    for (width, heads) in [(spec.embed_dim, spec.num_heads), (spec.inner_dim, spec.inner_heads)] {
        if !width.is_multiple_of(heads) {
            return refuse(format!("width {width} is no multiple of {heads} heads"));
        }
    }
    Ok(())
}

fn check_swin(spec: &SwinSpec, image_size: usize) -> Result<(), ModelError> {
    for stage in spec.stages(image_size) {
        if [stage.width, stage.depth, stage.num_heads, stage.window, stage.mlp_dim].contains(&0) {
            return refuse("width, depths, heads, windows and MLP width must be at least 1".to_owned());
        }
        if !stage.width.is_multiple_of(stage.num_heads) {
            return refuse(format!("width {} is no multiple of {} heads", stage.width, stage.num_heads));
        }
    }
    Ok(())
}

fn check_layers(spec: &ConvolutionalSpec) -> Result<(), ModelError> {
    let layout = spec.layout();
    if layout.blocks.is_empty() {
        return refuse("there must be at least 1 block".to_owned());
    }
    for conv in layout.convolutions() {
        let (name, groups) = (&conv.name, conv.groups);
        if groups == 0 || [conv.inputs, conv.outputs].iter().any(|&n| n == 0 || !n.is_multiple_of(groups)) {
            return refuse(format!("{name} has {} to {} channels in {groups} groups", conv.inputs, conv.outputs));
        }
    }
    Ok(())
}

fn refuse(reason: String) -> Result<(), ModelError> {
    Err(ModelError::Spec { reason })
}
