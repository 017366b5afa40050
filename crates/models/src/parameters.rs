//! The parameters of a model: flat storage, one buffer of values and one of gradients for each group.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernels::product::{self, Weight};
use random::Key;
use tch::{Device, Kind, Tensor, no_grad};

use crate::declaration::{BufferSlot, Constant, Declarations, Slot};
use crate::error::ModelError;
use crate::initial::Initial;
use crate::watching::{Preactivations, Watching};

/// Parameters start at multiples of this many elements (64 bytes of f32), so that vector loads of any of them are aligned.
const ALIGNMENT: usize = 16;

/// One parameter.
pub struct Parameter {
    /// Its name, as in timm.
    pub name: String,
    /// A leaf of autograd that lies in its group's values; its gradient lies in the group's gradients.
    pub tensor: Tensor,
    /// Index of its group.
    pub group: usize,
    /// The elements of the group's buffers that it owns.
    pub range: Range<usize>,
}

/// The parameters that share one rule of weight decay and one scale of the learning rate.
pub struct Group {
    /// All values, 1-D. Elements between two parameters are padding: zero, with zero gradients.
    pub values: Tensor,
    /// All gradients, 1-D, laid out as the values.
    pub grads: Tensor,
    /// Whether weight decay applies.
    pub weight_decay: bool,
    /// Factor of the learning rate; 1 but for layer-wise decay.
    pub lr_scale: f64,
}

/// All parameters of a model.
///
/// Backward accumulates into [`Group::grads`] in place; call [`Parameters::zero_grads`] before the first micro-batch of a
/// step. Never drop or replace the `.grad` of a parameter.
///
/// Beside them lie the model's buffers: what training changes and no gradient reaches, such as BatchNorm's running means.
pub struct Parameters {
    list: Vec<Parameter>,
    groups: Vec<Group>,
    by_name: HashMap<String, usize>,
    buffers: Vec<(String, Tensor)>,
    /// Which of the buffers training changes, but for those that count.
    statistics: Vec<usize>,
    constants: Vec<Tensor>,
    product_kind: Kind,
    /// The values in the kind of products, where that is another one.
    narrow: Option<Narrow>,
    recomputes: bool,
    watching: Arc<Mutex<Option<Watching>>>,
}

/// All values once more in the kind of products, laid out as the groups are: one cast a group in place of one a parameter.
struct Narrow {
    groups: Vec<Tensor>,  // 1-D
    of_each: Vec<Tensor>, // views, each of its parameter's shape
}

impl Parameters {
    /// Lays out and fills what is declared; `key` is the key of all initial values. Without one, those to be drawn are 0.
    ///
    /// # Errors
    /// [`ModelError::Torch`] when `device` is not there or out of memory.
    pub(crate) fn allocate(
        declared: &Declarations<'_>,
        key: Option<Key>,
        device: Device,
        kind: Kind,
    ) -> Result<Parameters, ModelError> {
        let mut parameters = Parameters {
            list: Vec::new(),
            groups: Vec::new(),
            by_name: HashMap::new(),
            buffers: Vec::new(),
            statistics: Vec::new(),
            constants: Vec::new(),
            product_kind: kind,
            narrow: None,
            recomputes: false,
            watching: Arc::default(),
        };
        let scales = declared.lr_scales();
        let mut rules: Vec<(bool, f64)> = declared.list().iter().map(|one| one.weight_decay).zip(scales).collect();
        let rule_of = rules.clone();
        // With decay first, and the layers in their order.
        rules.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)));
        rules.dedup();
        let mut places = vec![None; declared.list().len()];
        for (weight_decay, lr_scale) in rules {
            let mut end: usize = 0;
            let members = declared.list().iter().zip(&rule_of).zip(&mut places);
            for ((declaration, _), place) in members.filter(|((_, rule), _)| **rule == (weight_decay, lr_scale)) {
                let start = end.next_multiple_of(ALIGNMENT);
                end = start + declaration.count();
                *place = Some((parameters.groups.len(), start..end));
            }
            let values = Tensor::f_zeros([end.next_multiple_of(ALIGNMENT) as i64], (kind, device))?;
            let grads = values.f_zeros_like()?;
            parameters.groups.push(Group { values, grads, weight_decay, lr_scale });
        }
        for (place, declaration) in places.into_iter().zip(declared.list()) {
            let (group, range) = place.expect("every rule has its group");
            let mut view = window(&parameters.groups[group].values, &range, &declaration.shape);
            match (declaration.initial, key) {
                (Initial::Constant(value), _) => drop(view.f_fill_(value)?),
                (_, None) => {}
                (initial, Some(key)) => {
                    let host = Tensor::from_slice(&initial.draw(key, &declaration.name, declaration.count()));
                    view.f_copy_(&host.f_view(declaration.shape.as_slice())?)?;
                }
            }
            parameters.by_name.insert(declaration.name.clone(), parameters.list.len());
            let name = declaration.name.clone();
            parameters.list.push(Parameter { name, tensor: view.set_requires_grad(true), group, range });
        }
        for buffer in declared.buffers() {
            let kind = if buffer.counts { Kind::Int64 } else { kind };
            let mut tensor = Tensor::f_full(buffer.shape.as_slice(), buffer.initial, (kind, device))?;
            match &buffer.fixed {
                Some(values) => tensor.f_copy_(&Tensor::from_slice(values).f_view(buffer.shape.as_slice())?)?,
                None if buffer.counts => {}
                None => parameters.statistics.push(parameters.buffers.len()),
            }
            parameters.buffers.push((buffer.name.clone(), tensor));
        }
        for constant in declared.constants() {
            parameters.constants.push(constant.f_to_device(device)?.f_to_kind(kind)?);
        }
        parameters.tie_grads()?;
        Ok(parameters)
    }

    /// Makes every parameter's `.grad` a view into its group's gradients.
    ///
    /// libtorch's `.grad` cannot be set from here, but the data of one that exists can: a small backward makes it.
    fn tie_grads(&self) -> Result<(), ModelError> {
        for parameter in &self.list {
            parameter.tensor.f_sum(parameter.tensor.kind())?.f_backward()?;
            let grads = &self.groups[parameter.group].grads;
            parameter.tensor.f_grad()?.f_set_data(&window(grads, &parameter.range, &parameter.tensor.size()))?;
        }
        Ok(())
    }

    /// The parameters, in timm's order.
    pub fn iter(&self) -> std::slice::Iter<'_, Parameter> {
        self.list.iter()
    }

    /// The parameter of that name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.by_name.get(name).map(|&index| &self.list[index])
    }

    /// How many scalars the model learns, padding left out.
    pub fn count(&self) -> u64 {
        self.list.iter().map(|parameter| parameter.range.len() as u64).sum()
    }

    /// The groups: those with weight decay first, the layers of each in their order. Empty ones are left out.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Where all values are.
    pub fn device(&self) -> Device {
        self.groups[0].values.device()
    }

    /// The kind of all values.
    pub fn kind(&self) -> Kind {
        self.groups[0].values.kind()
    }

    /// In which kind matrix products are computed: that of the parameters, or a narrower one to which their inputs and weights
    /// are rounded (bf16, f16), as PyTorch's autocast does. Convolutional networks compute all their layers in it, again as autocast
    /// does; elsewhere norms, residual sums and losses have the kind of the parameters.
    pub fn product_kind(&self) -> Kind {
        self.product_kind
    }

    /// From now on products are computed in `kind`.
    pub(crate) fn compute_products_in(&mut self, kind: Kind) {
        self.product_kind = kind;
        self.narrow = (kind != self.kind()).then(|| {
            let groups: Vec<Tensor> = self.groups.iter().map(|group| group.values.to_kind(kind)).collect();
            let of_each = self.views(&groups).into_iter().map(|(_, view)| view).collect();
            Narrow { groups, of_each }
        });
    }

    /// Rounds all values to the kind of products, for the pass that begins. Training, checkpoints and averages write to the values
    /// in many places and ways; a copy made here is never out of date.
    pub(crate) fn begin_pass(&self) {
        let Some(narrow) = &self.narrow else { return };
        no_grad(|| {
            for (copy, group) in narrow.groups.iter().zip(&self.groups) {
                copy.shallow_clone().copy_(&group.values);
            }
        });
    }

    /// Whether blocks keep only their inputs, and are computed again in the backward pass.
    pub fn recomputes(&self) -> bool {
        self.recomputes
    }

    /// From now on they do.
    pub(crate) fn recompute_blocks(&mut self) {
        self.recomputes = true;
    }

    /// The same parameters for whoever lives longer than a borrow: other handles of the same tensors and the same watch.
    pub(crate) fn handle(&self) -> Parameters {
        let same = |tensor: &Tensor| tensor.shallow_clone();
        let parameter = |one: &Parameter| Parameter {
            name: one.name.clone(),
            tensor: same(&one.tensor),
            group: one.group,
            range: one.range.clone(),
        };
        let group = |one: &Group| Group {
            values: same(&one.values),
            grads: same(&one.grads),
            weight_decay: one.weight_decay,
            lr_scale: one.lr_scale,
        };
        Parameters {
            list: self.list.iter().map(parameter).collect(),
            groups: self.groups.iter().map(group).collect(),
            by_name: self.by_name.clone(),
            buffers: self.buffers.iter().map(|(name, tensor)| (name.clone(), same(tensor))).collect(),
            statistics: self.statistics.clone(),
            constants: self.constants.iter().map(same).collect(),
            product_kind: self.product_kind,
            narrow: self.narrow.as_ref().map(|narrow| Narrow {
                groups: narrow.groups.iter().map(same).collect(),
                of_each: narrow.of_each.iter().map(same).collect(),
            }),
            recomputes: self.recomputes,
            watching: Arc::clone(&self.watching),
        }
    }

    /// `x·Wᵀ + b` in the kind of products: `x` (…, inputs), `weight` (outputs, inputs), perhaps with more dimensions.
    pub(crate) fn product(&self, x: &Tensor, weight: Slot, bias: Option<Slot>) -> Tensor {
        let (weight, bias) = (self.weight(weight), bias.map(|bias| self.weight(bias)));
        product::linear(&x.to_kind(self.product_kind), weight, bias).expect("kinds, shapes and devices of a model fit")
    }

    /// A parameter in the kind of products, for operations other than [`Parameters::product`].
    pub(crate) fn narrowed(&self, slot: Slot) -> Tensor {
        if self.narrow.is_none() {
            return self.tensor(slot).shallow_clone();
        }
        self.weight(slot).tracked().expect("a copy has the shape of its parameter")
    }

    /// A parameter as products take it.
    fn weight(&self, slot: Slot) -> Weight<'_> {
        let leaf = self.tensor(slot);
        Weight { leaf, narrow: self.narrow.as_ref().map_or(leaf, |narrow| &narrow.of_each[slot.index()]) }
    }

    /// Sets every gradient to zero, in place.
    pub fn zero_grads(&self) {
        for group in &self.groups {
            let _ = group.grads.shallow_clone().zero_();
        }
    }

    /// The buffers by name: the tensors themselves, which the model changes in training.
    pub fn buffers(&self) -> &[(String, Tensor)] {
        &self.buffers
    }

    /// The buffers that training fills with what it sees, such as running means: neither counters nor what is fixed.
    pub fn statistics(&self) -> impl Iterator<Item = &Tensor> {
        self.statistics.iter().map(|&index| &self.buffers[index].1)
    }

    /// A hash of names, shapes and the exact bytes of all values and buffers, in the order of names: equal where and only
    /// where they are.
    pub fn hash(&self) -> blake3::Hash {
        let mut order = self.named();
        order.sort_by(|a, b| a.0.cmp(&b.0));
        let mut hasher = blake3::Hasher::new();
        let mut bytes = Vec::new();
        for (name, tensor) in order {
            hasher.update(format!("{name} {:?} {:?}\n", tensor.kind(), tensor.size()).as_bytes());
            bytes.resize(tensor.numel() * tensor.kind().elt_size_in_bytes(), 0);
            tensor.copy_data_u8(&mut bytes, tensor.numel());
            hasher.update(&bytes);
        }
        hasher.finalize()
    }

    /// Views by name into `buffers`, one for each group and laid out as its values: the values themselves, or an
    /// optimiser's state.
    pub fn views(&self, buffers: &[Tensor]) -> Vec<(String, Tensor)> {
        let view = |p: &Parameter| (p.name.clone(), window(&buffers[p.group], &p.range, &p.tensor.size()));
        self.list.iter().map(view).collect()
    }

    /// The values and then the buffers by name, as in a state dict of timm's: views, not copies, outside autograd.
    pub fn named(&self) -> Vec<(String, Tensor)> {
        let buffers = self.buffers.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        self.views(&self.values()).into_iter().chain(buffers).collect()
    }

    /// Overwrites the values and buffers by those of the same names; element types and devices may differ.
    ///
    /// # Errors
    /// The first that is missing or of another shape, else the first tensor too many. Nothing is changed then.
    pub fn restore(&self, named: &[(String, Tensor)]) -> Result<(), ModelError> {
        overwrite(self.named(), named)
    }

    /// As [`Parameters::restore`], into `buffers` as in [`Parameters::views`].
    ///
    /// # Errors
    /// As [`Parameters::restore`].
    pub fn restore_into(&self, buffers: &[Tensor], named: &[(String, Tensor)]) -> Result<(), ModelError> {
        overwrite(self.views(buffers), named)
    }

    /// From now on a forward pass keeps what its activations are applied to: about `most` values of each, from places that differ
    /// with `turn`. [`Parameters::watched`] ends it.
    pub fn watch(&self, most: usize, turn: u64) {
        *self.watching() = Some(Watching::new(most, turn));
    }

    /// What was kept since [`Parameters::watch`], in the order of the forward passes; nothing more is.
    pub fn watched(&self) -> Vec<Preactivations> {
        self.watching().take().map(Watching::into_kept).unwrap_or_default()
    }

    /// Shows what the activation of `module` is about to be applied to, `x + bias`.
    pub(crate) fn show(&self, module: &str, x: &Tensor, bias: Option<&Tensor>) {
        if let Some(watching) = self.watching().as_mut() {
            watching.keep(module, x, bias);
        }
    }

    /// The buffer that was declared as `slot`.
    pub(crate) fn buffer(&self, slot: BufferSlot) -> &Tensor {
        &self.buffers[slot.index()].1
    }

    /// What was declared as this constant.
    pub(crate) fn constant(&self, constant: Constant) -> &Tensor {
        &self.constants[constant.index()]
    }

    /// The parameter that was declared as `slot`.
    pub(crate) fn tensor(&self, slot: Slot) -> &Tensor {
        &self.list[slot.index()].tensor
    }

    fn watching(&self) -> MutexGuard<'_, Option<Watching>> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn values(&self) -> Vec<Tensor> {
        self.groups.iter().map(|group| group.values.shallow_clone()).collect()
    }
}

/// Copies into each of `targets` what `named` gives under its name.
fn overwrite(targets: Vec<(String, Tensor)>, named: &[(String, Tensor)]) -> Result<(), ModelError> {
    let mut given: HashMap<&str, &Tensor> = named.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut pairs = Vec::with_capacity(targets.len());
    for (name, target) in targets {
        let expected = target.size();
        match given.remove(name.as_str()) {
            None => return Err(ModelError::Missing { name, expected }),
            Some(tensor) if tensor.size() != expected => {
                return Err(ModelError::Shape { name, expected, found: tensor.size() });
            }
            Some(tensor) => pairs.push((target, tensor)),
        }
    }
    if let Some((name, tensor)) = given.into_iter().min_by_key(|(name, _)| *name) {
        return Err(ModelError::Unexpected { name: name.to_owned(), found: tensor.size() });
    }
    for (mut target, tensor) in pairs {
        no_grad(|| target.f_copy_(tensor))?;
    }
    Ok(())
}

/// The elements `range` of a 1-D buffer, seen in `shape`.
fn window(buffer: &Tensor, range: &Range<usize>, shape: &[i64]) -> Tensor {
    buffer.detach().narrow(0, range.start as i64, range.len() as i64).view(shape)
}
