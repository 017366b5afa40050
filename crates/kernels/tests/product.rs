//! Linear maps and tracked copies against autograd's own operations in f64: values, gradients, and when hooks are called. On the
//! processor, or on the first GPU where `RECTIFY_TEST_DEVICE` is `cuda`.

use std::sync::{Arc, Mutex};

use kernels::autograd::{GradientHooks, backward_from};
use kernels::product::{Weight, linear};
use tch::{Device, Kind, Tensor};

/// Where all of it is computed.
fn device() -> Device {
    if std::env::var("RECTIFY_TEST_DEVICE").is_ok_and(|name| name == "cuda") {
        kernels::cuda::load().expect("a machine with a GPU");
        return Device::Cuda(0);
    }
    Device::Cpu
}

/// Numbers from −1 to 1 that `kind` holds exactly, from a seed.
fn numbers(seed: u64, shape: &[i64], kind: Kind) -> Tensor {
    let mut rng = random::Key::root(seed).rng();
    let count: i64 = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|_| 2.0 * rng.uniform() - 1.0).collect();
    Tensor::from_slice(&values).view(shape).to_kind(kind).to_device(device())
}

/// A leaf in `wide` whose gradient is there and zero, as a model's parameters are, with its copy in `kind`.
struct Parameter {
    leaf: Tensor,
    narrow: Tensor,
}

impl Parameter {
    fn new(seed: u64, shape: &[i64], wide: Kind, kind: Kind) -> Parameter {
        let narrow = numbers(seed, shape, kind);
        let leaf = if wide == kind { narrow.shallow_clone() } else { narrow.to_kind(wide) }.set_requires_grad(true);
        leaf.sum(wide).backward();
        let _ = leaf.grad().zero_();
        let narrow = if wide == kind { leaf.shallow_clone() } else { narrow };
        Parameter { leaf, narrow }
    }

    fn weight(&self) -> Weight<'_> {
        Weight { leaf: &self.leaf, narrow: &self.narrow }
    }

    /// The same numbers as a leaf in f64.
    fn reference(&self) -> Tensor {
        self.narrow.detach().to_kind(Kind::Double).set_requires_grad(true)
    }
}

#[track_caller]
fn close(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let [found, expected] = [found, expected].map(|tensor| tensor.to_device(Device::Cpu).to_kind(Kind::Double));
    let scale = expected.abs().max().double_value(&[]);
    let apart = (found - expected).abs().max().double_value(&[]);
    assert!(apart <= tolerance * scale, "{what}: {apart:e} of {scale:e}");
}

/// Kinds of leaf and product, and the rounding of results.
const KINDS: [(Kind, Kind, f64); 4] = [
    (Kind::Double, Kind::Double, 1e-14),
    (Kind::Float, Kind::Float, 1e-6),
    (Kind::Float, Kind::BFloat16, 4e-3),
    (Kind::Float, Kind::Half, 5e-4),
];

/// How exact gradients are that linear maps add to leaves: a GPU forms their sums in f32, a CPU rounds them once to the kind of
/// products.
fn of_sums(rounding: f64) -> f64 {
    if device().is_cuda() { rounding.min(1e-5) } else { rounding }
}

/// Two micro-batches, the second of another shape: their gradients are added up.
#[test]
fn linear_maps_are_those_of_autograd() {
    for (wide, kind, rounding) in KINDS {
        let of_gradients = of_sums(rounding);
        for (has_bias, shape) in [(true, vec![24, 40]), (false, vec![24, 40]), (true, vec![24, 10, 2, 2])] {
            let what = format!("{wide:?} {kind:?} {has_bias} {shape:?}");
            let weight = Parameter::new(1, &shape, wide, kind);
            let bias = has_bias.then(|| Parameter::new(2, &[24], wide, kind));
            let (of_weight, of_bias) = (weight.reference(), bias.as_ref().map(Parameter::reference));
            for (turn, leading) in [(3, vec![2, 5]), (5, vec![7])] {
                let x = numbers(turn, &[leading.clone(), vec![40]].concat(), kind).set_requires_grad(true);
                let above = numbers(turn + 1, &[leading, vec![24]].concat(), kind);
                let y = linear(&x, weight.weight(), bias.as_ref().map(Parameter::weight)).expect("shapes fit");
                assert_eq!(y.kind(), kind);
                backward_from(&y, &above).expect("a graph");

                let reference = x.detach().to_kind(Kind::Double).set_requires_grad(true);
                let expected = reference.linear(&of_weight.flatten(1, -1), of_bias.as_ref());
                backward_from(&expected, &above.to_kind(Kind::Double)).expect("a graph");
                close(&y, &expected, rounding, &format!("{what}: y"));
                close(&x.grad(), &reference.grad(), rounding, &format!("{what}: dx"));
            }
            close(&weight.leaf.grad(), &of_weight.grad(), of_gradients, &format!("{what}: dW"));
            if let (Some(bias), Some(of_bias)) = (bias, of_bias) {
                close(&bias.leaf.grad(), &of_bias.grad(), of_gradients, &format!("{what}: db"));
            }
        }
    }
}

/// The gradient stays in the memory that it has, which others may look at.
#[test]
fn gradients_are_added_in_place() {
    for (wide, kind, _) in KINDS {
        let weight = Parameter::new(1, &[6, 4], wide, kind);
        let place = weight.leaf.grad().data_ptr();
        let y = linear(&numbers(2, &[3, 4], kind), weight.weight(), None).expect("shapes fit");
        backward_from(&y, &numbers(3, &[3, 6], kind)).expect("a graph");
        assert_eq!(weight.leaf.grad().data_ptr(), place);
        assert!(weight.leaf.grad().abs().sum(wide).double_value(&[]) > 0.0);
    }
}

#[test]
fn a_leaf_without_a_gradient_gets_one() {
    let leaf = numbers(1, &[6, 4], Kind::Float).set_requires_grad(true);
    let narrow = leaf.detach().to_kind(Kind::BFloat16);
    let (x, above) = (numbers(2, &[3, 4], Kind::BFloat16), numbers(3, &[3, 6], Kind::BFloat16));
    backward_from(&linear(&x, Weight { leaf: &leaf, narrow: &narrow }, None).expect("fits"), &above).expect("a graph");
    assert_eq!(leaf.grad().kind(), Kind::Float);
    close(&leaf.grad(), &above.to_kind(Kind::Double).tr().mm(&x.to_kind(Kind::Double)), 4e-3, "dW");
}

/// A hook sees the whole gradient of a weight that is used twice, once.
#[test]
fn hooks_are_called_after_the_last_use() {
    let weight = Parameter::new(1, &[5, 5], Kind::Float, Kind::BFloat16);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (seen, watched) = (Arc::clone(&calls), Mutex::new(weight.leaf.shallow_clone()));
    let hooks = GradientHooks::new(&[&weight.leaf], move |index| {
        let gradient = watched.lock().expect("no panic").grad().copy();
        seen.lock().expect("no panic").push((index, gradient));
    })
    .expect("a leaf");
    let x = numbers(2, &[3, 5], Kind::BFloat16);
    let above = numbers(3, &[3, 5], Kind::BFloat16);
    for _ in 0..2 {
        let _ = weight.leaf.grad().zero_();
        let once = linear(&x, weight.weight(), None).expect("fits");
        let twice = linear(&once, weight.weight(), None).expect("fits");
        backward_from(&twice, &above).expect("a graph");
        let calls = std::mem::take(&mut *calls.lock().expect("no panic"));
        assert_eq!(calls.len(), 1);
        assert_eq!((calls[0].0, &calls[0].1), (0, &weight.leaf.grad()));
    }
    drop(hooks);
    backward_from(&linear(&x, weight.weight(), None).expect("fits"), &above).expect("a graph");
    assert!(calls.lock().expect("no panic").is_empty());
}

/// What a convolution with a tracked copy adds to the leaf.
#[test]
fn other_operations_read_tracked_copies() {
    for (wide, kind, rounding) in KINDS {
        if kind == Kind::Half && !device().is_cuda() {
            continue; // libtorch has no such convolution on a CPU
        }
        let weight = Parameter::new(1, &[4, 3, 3, 3], wide, kind);
        let of_weight = weight.reference();
        for turn in [2, 4] {
            let (x, above) = (numbers(turn, &[2, 3, 8, 8], kind), numbers(turn + 1, &[2, 4, 6, 6], kind));
            let convolved = |x: &Tensor, weight: &Tensor| x.conv2d(weight, None::<&Tensor>, 1, 0, 1, 1);
            let y = convolved(&x, &weight.weight().tracked().expect("fits"));
            backward_from(&y, &above).expect("a graph");
            let expected = convolved(&x.to_kind(Kind::Double), &of_weight);
            backward_from(&expected, &above.to_kind(Kind::Double)).expect("a graph");
            close(&y, &expected, rounding, "y");
        }
        close(&weight.leaf.grad(), &of_weight.grad(), rounding, &format!("{kind:?}: dW"));
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let weight = Parameter::new(1, &[6, 4], Kind::Float, Kind::BFloat16);
    let other = Parameter::new(1, &[4, 6], Kind::Float, Kind::BFloat16);
    assert!(linear(&numbers(2, &[3, 5], Kind::BFloat16), weight.weight(), None).is_err());
    let mixed = Weight { leaf: &weight.leaf, narrow: &other.narrow };
    let error = linear(&numbers(2, &[3, 4], Kind::BFloat16), mixed, None).expect_err("another shape");
    assert!(error.to_string().contains("narrow copy"), "{error}");
    assert!(mixed.tracked().is_err());
    let no_history =
        tch::no_grad(|| linear(&numbers(2, &[3, 4], Kind::BFloat16), weight.weight(), None)).expect("fits");
    assert!(!no_history.requires_grad());
}
