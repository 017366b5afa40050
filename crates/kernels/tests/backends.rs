//! Attention at strongly negative scores against f64, by every backend of the device; and the switches for backends and TF32.
//!
//! cuDNN's attention has returned NaN where the log of the sum of exponentials (LSE) was below −88, the least power of e that
//! is a normal f32. On a CPU libtorch's flash attention and its separate operations are tested, and with
//! `RECTIFY_TEST_DEVICE=cuda` all four backends of the first GPU.

use std::sync::Mutex;

use kernels::autograd::backward_from;
use kernels::backends::{Attention, Tf32, allow_tf32, tf32};
use random::Key;
use tch::{Device, Kind, Tensor, no_grad};

/// The switches belong to the process: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What libtorch's `_fused_sdp_choice` answers.
const MATH: i64 = 0;
const FLASH: i64 = 1;
const EFFICIENT: i64 = 2;
const CUDNN: i64 = 3;
const NO_BACKEND: i64 = -1;

const NONE: Attention = Attention { cudnn: false, flash: false, efficient: false, math: false };

fn device() -> Device {
    if std::env::var("RECTIFY_TEST_DEVICE").is_ok_and(|name| name == "cuda") {
        kernels::cuda::load().expect("a machine with a GPU");
        return Device::Cuda(0);
    }
    Device::Cpu
}

/// Sides of a problem: the queries of two images look at the keys, in three heads.
#[derive(Clone, Copy, Debug)]
struct Shape {
    queries: i64,
    keys: i64,
    width: i64,
    masked: bool,
}

/// The class token alone, with a distillation token, and all tokens of a ViT; then numbers of keys that are 64 more than a
/// multiple of 128, under an added mask as in Swin's windows.
const SHAPES: [Shape; 6] = [
    Shape { queries: 1, keys: 197, width: 64, masked: false },
    Shape { queries: 2, keys: 198, width: 64, masked: false },
    Shape { queries: 197, keys: 197, width: 64, masked: false },
    Shape { queries: 1, keys: 192, width: 64, masked: true },
    Shape { queries: 2, keys: 64, width: 32, masked: true },
    Shape { queries: 64, keys: 64, width: 32, masked: true },
];
const IMAGES: i64 = 2;
const HEADS: i64 = 3;

/// The factors, the mask and the gradient from above: `(N, H, queries or keys, width)`, the mask `(1, H, queries, keys)`.
struct Problem {
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Option<Tensor>,
    above: Tensor,
}

/// What comes out: values, and the gradients of query, key and value.
type Solution = [Tensor; 4];

/// What the definition gives.
struct Expected {
    values: Solution,
    /// For each number the sum of the absolute values of its terms, which roundings are relative to: the scores of a row are
    /// large and nearly equal, so that most of a gradient cancels.
    sizes: Solution,
    /// The smallest and the largest LSE of a row.
    lse: [f64; 2],
}

impl Problem {
    /// With an LSE near `lse` in every row; numbers are rounded to `kind`.
    fn new(shape: Shape, lse: f64, kind: Kind) -> Problem {
        let noise = |stream: u64, sides: [i64; 4], reach: f64| {
            let mut rng = Key::root(23).child(stream).rng();
            let count = sides.iter().product::<i64>() as usize;
            let values: Vec<f64> = (0..count).map(|_| (2.0 * rng.uniform() - 1.0) * reach).collect();
            Tensor::from_slice(&values).view(sides)
        };
        let Shape { queries, keys, width, masked } = shape;
        let [asking, asked] = [queries, keys].map(|count| [IMAGES, HEADS, count, width]);
        // All scores are `lse` less the log of the number of keys, and noise: products of two constants over the width.
        let constant = ((lse - (keys as f64).ln()).abs() / (width as f64).sqrt()).sqrt();
        let rounded = |tensor: Tensor| tensor.to_kind(kind).to_kind(Kind::Double);
        Problem {
            query: rounded(noise(1, asking, 0.3) + constant),
            key: rounded(noise(2, asked, 0.3) + constant * lse.signum()),
            value: rounded(noise(3, asked, 1.0)),
            mask: masked.then(|| noise(4, [1, HEADS, queries, keys], 1.0).gt(0.3) * -100.0).map(rounded),
            above: rounded(noise(5, asking, 1.0)),
        }
    }

    /// By the definition, in f64 on the CPU.
    fn solve(&self) -> Expected {
        let Problem { query, key, value, mask, above } = self;
        let scale = 1.0 / (query.size()[3] as f64).sqrt();
        let scores = query.matmul(&key.transpose(2, 3)) * scale;
        let scores = mask.as_ref().map_or_else(|| scores.shallow_clone(), |mask| &scores + mask);
        let lse = scores.logsumexp([-1i64].as_slice(), true);
        let weights = (&scores - &lse).exp();
        let dweights = above.matmul(&value.transpose(2, 3));
        let along = (&weights * &dweights).sum_dim_intlist([-1i64].as_slice(), true, Kind::Double);
        let dscores = &weights * (&dweights - &along) * scale;
        let values = [
            weights.matmul(value),
            dscores.matmul(key),
            dscores.transpose(2, 3).matmul(query),
            weights.transpose(2, 3).matmul(above),
        ];
        let terms = &weights * (dweights.abs() + along.abs()) * scale;
        let sizes = [
            weights.matmul(&value.abs()),
            terms.matmul(&key.abs()),
            terms.transpose(2, 3).matmul(&query.abs()),
            weights.transpose(2, 3).matmul(&above.abs()),
        ];
        Expected { values, sizes, lse: [lse.min(), lse.max()].map(|lse| lse.double_value(&[])) }
    }

    /// By libtorch in `kind` on `device`; and which backend it chose.
    fn compute(&self, kind: Kind, device: Device) -> (i64, Option<Solution>) {
        let given = |tensor: &Tensor| tensor.to_kind(kind).to_device(device);
        let [query, key, value] = [&self.query, &self.key, &self.value].map(|x| given(x).set_requires_grad(true));
        let mask = self.mask.as_ref().map(given);
        let (q, k, v) = (&query, &key, &value);
        let chosen = Tensor::internal_fused_sdp_choice(q, k, v, mask.as_ref(), 0.0, false, None, false);
        if chosen == NO_BACKEND {
            return (chosen, None);
        }
        let out = Tensor::scaled_dot_product_attention(q, k, v, mask.as_ref(), 0.0, false, None, false);
        backward_from(&out, &given(&self.above)).expect("shapes fit");
        let found = [out.detach(), query.grad(), key.grad(), value.grad()];
        (chosen, Some(found.map(|x| x.to_device(Device::Cpu).to_kind(Kind::Double))))
    }
}

/// What is switched on, and what libtorch then has to choose for a precision with and without a mask.
fn backends(kind: Kind, masked: bool, device: Device) -> Vec<(Attention, i64)> {
    let only_math = (Attention { math: true, ..NONE }, MATH);
    if device == Device::Cpu {
        return vec![(Attention::FLASH, FLASH), (Attention::CUDNN, FLASH), only_math];
    }
    let is_half = kind == Kind::BFloat16;
    vec![
        (Attention::FLASH, if is_half && !masked { FLASH } else { EFFICIENT }),
        (Attention::CUDNN, if is_half { CUDNN } else { EFFICIENT }),
        (Attention { efficient: true, ..NONE }, EFFICIENT),
        only_math,
    ]
}

/// How far a number may be from f64, relative to the sum of the absolute values of its terms.
fn tolerance(kind: Kind) -> f64 {
    match kind {
        // A score of −125 is a sum of 64 terms, exact to some 1e-5 in f32, and its exponential with it.
        Kind::Float => 1e-4,
        // Weights, the values that the gradient of scores is centered by, that gradient and the result: 2⁻⁹ each.
        _ => 1.0 / 64.0,
    }
}

#[test]
fn strongly_negative_scores_give_the_numbers_of_the_definition() {
    let _switches = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (device, mut missed) = (device(), Vec::new());
    for shape in SHAPES {
        for (near, kind) in [-120.0, -5.0].into_iter().flat_map(|lse| [(lse, Kind::Float), (lse, Kind::BFloat16)]) {
            let problem = Problem::new(shape, near, kind);
            let Expected { values, sizes, lse: [least, most] } = no_grad(|| problem.solve());
            assert!(near - 8.0 < least && most < near + 8.0, "LSE from {least} to {most} instead of {near}, {shape:?}");
            for (allowed, choice) in backends(kind, shape.masked, device) {
                allowed.allow().expect("libtorch has these backends");
                assert_eq!(Attention::allowed(), Ok(allowed));
                let what = format!("{kind:?}, LSE near {near}, {shape:?}");
                let (chosen, found) = problem.compute(kind, device);
                // cuDNN may decline inputs, and then the next one answers: that is reported, not wrong.
                if choice == CUDNN && chosen != CUDNN {
                    println!("cuDNN declined, backend {chosen} answered: {what}");
                } else if chosen != choice {
                    missed.push(format!("backend {chosen} instead of {choice} for {allowed:?}, {what}"));
                }
                let Some(found) = found else { continue };
                for (place, name) in ["out", "dq", "dk", "dv"].into_iter().enumerate() {
                    // Of a masked key the terms are next to nothing.
                    let size = &sizes[place] + sizes[place].max() * 1e-3;
                    let apart = (&found[place] - &values[place]).abs() / size;
                    let worst = apart.max().double_value(&[]); // NaN where one is
                    let row = format!("{name} by backend {chosen}, {what}: {worst:.1e}");
                    println!("{row}");
                    if worst.is_nan() || worst > tolerance(kind) {
                        missed.push(row);
                    }
                }
            }
        }
    }
    Attention::FLASH.allow().expect("libtorch has these backends");
    assert!(missed.is_empty(), "another backend, or beyond the tolerance:\n{}", missed.join("\n"));
}

/// libtorch begins with TF32 in convolutions, and has an old and a new switch for each operation, which have to agree.
#[test]
fn tf32_is_where_it_was_asked_for() {
    let _switches = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for allowed in [false, true, false] {
        allow_tf32(allowed).expect("a switch of libtorch");
        assert_eq!(tf32().expect("one answer"), Tf32 { products: allowed, convolutions: allowed });
    }
}

/// A product and a convolution of f32 are as exact as f32 where TF32 is not allowed. Where it is, libraries may use it (from Ampere
/// on) and need not: what they did is printed. On a CPU both are always exact.
#[test]
fn f32_has_its_mantissa_unless_tf32_was_asked_for() {
    let _switches = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let device = device();
    let noise = |sides: [i64; 4]| {
        (Tensor::arange(sides.iter().product::<i64>(), (Kind::Double, Device::Cpu)) * 0.37).sin().view(sides)
    };
    let (images, kernel) = (noise([8, 64, 16, 16]), noise([64, 64, 4, 4]));
    let [rows, columns] = [images.view([128, 1024]), kernel.view([64, 1024]).tr()];
    let none: Option<&Tensor> = None;
    let convolve = |x: &Tensor, w: &Tensor| x.conv2d(w, none, [4, 4], [0, 0], [1, 1], 1);
    let apart = |found: Tensor, expected: &Tensor| {
        let found = found.to_device(Device::Cpu).to_kind(Kind::Double);
        (found - expected).abs().max().double_value(&[]) / expected.abs().max().double_value(&[])
    };
    for allowed in [false, true] {
        allow_tf32(allowed).expect("a switch of libtorch");
        let given = |x: &Tensor| x.to_kind(Kind::Float).to_device(device);
        let found = [
            apart(given(&rows).matmul(&given(&columns)), &rows.matmul(&columns)),
            apart(convolve(&given(&images), &given(&kernel)), &convolve(&images, &kernel)),
        ];
        println!("TF32 allowed: {allowed}; product and convolution are off by {found:?}");
        let may_be_tf32 = allowed && device.is_cuda();
        assert!(may_be_tf32 || found.iter().all(|&apart| apart < 1e-5), "TF32 allowed: {allowed}, {found:?}");
    }
    allow_tf32(false).expect("a switch of libtorch");
}
