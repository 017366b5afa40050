//! Every kernel against libtorch's composed form and against the floor, a plain copy: `cargo bench -p kernels [-- ROUNDS]`.
//!
//! All take turns in each round; ratios are medians over rounds of each round's own times. On a GPU where there is one.

use std::time::Instant;

use activations::Activation;
use kernels::activation::{Fused, Scalar};
use kernels::attention::WindowAttention;
use kernels::autograd::backward_from;
use kernels::norm::{Branch, LayerNorm};
use kernels::optimizer::Buffers;
use random::Key;
use tch::{Device, Kind, Reduction, Tensor, no_grad};

/// Tokens of 32 images and the width of the MLP of ViT-S: 39 MB in f32, out of cache.
const SHAPE: [i64; 2] = [6304, 1536];
/// Of DeiT-S.
const PARAMETERS: usize = 22_050_664;
const FLOOR: &str = "copy (the floor: 1 read, 1 write)";

fn main() {
    let rounds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(21);
    println!(
        "{} × {}, {} threads, {rounds} rounds; forward and backward in ms, medians",
        SHAPE[0],
        SHAPE[1],
        tch::get_num_threads()
    );
    for memory in ["fresh memory in every pass", "kept memory"] {
        for kind in [Kind::Float, Kind::BFloat16] {
            println!("\n{kind:?}, {memory}");
            of_activations(kind, rounds);
        }
        kernels::memory::keep();
    }
    for kind in [Kind::Float, Kind::BFloat16] {
        println!("\nsum of a branch and LayerNorm, products in {kind:?}, kept memory");
        of_norms(kind, rounds);
    }
    for kind in [Kind::Float, Kind::BFloat16] {
        println!("\nattention within Swin-T's first windows, 16 images, in {kind:?}, kept memory");
        of_windows(kind, rounds);
    }
    println!("\nwhat follows backward, on {PARAMETERS} parameters (DeiT-S), kept memory");
    of_updates(rounds);
    println!("\ncross-entropy with smoothing, 256 × 1000, forward and backward");
    of_losses(rounds);
}

/// Something to time, under its name.
type Contestant<'a> = (String, Work<'a>);
type Work<'a> = Box<dyn Fn() + 'a>;
/// A stream and a branch to what is normalised and their sum.
type SumAndNorm = Box<dyn Fn(&Tensor, &Tensor) -> (Tensor, Tensor)>;

fn of_activations(kind: Kind, rounds: usize) {
    let x = numbers(1, kind);
    let above = numbers(2, kind);
    let bias = Tensor::zeros([SHAPE[1]], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let epsilon = Tensor::from_slice(&[0.01f32]).set_requires_grad(true);
    let pass = |name: &str, forward: Box<dyn Fn(&Tensor) -> Tensor>| {
        let (x, above) = (x.shallow_clone(), above.shallow_clone());
        let run = Box::new(move || {
            // A leaf without a gradient takes over the one that comes, where another would add to its own.
            let leaf = x.detach().set_requires_grad(true);
            backward_from(&forward(&leaf), &above).expect("shapes fit");
        });
        (name.to_owned(), run as Box<dyn Fn()>)
    };
    let mut contestants = Vec::new();
    let source = x.shallow_clone();
    contestants.push((FLOOR.to_owned(), Box::new(move || drop(source.copy())) as Box<dyn Fn()>));
    contestants.push(pass("relu, libtorch", Box::new(|x| x.relu())));
    contestants.push(pass("gelu, libtorch", Box::new(|x| x.gelu("none"))));
    let composed = epsilon.shallow_clone();
    contestants.push(pass(
        "crrelu, composed",
        Box::new(move |x| x.relu() + composed.to_kind(x.kind()) * (x * (x * x * -0.5).exp())),
    ));
    for fused in Fused::ALL {
        let parameters: Vec<Tensor> = fused
            .formula()
            .initial_values()
            .iter()
            .map(|&v| Tensor::from_slice(&[v as f32]).set_requires_grad(true))
            .collect();
        let biased = bias.shallow_clone();
        let own: Vec<Tensor> = parameters.iter().map(Tensor::shallow_clone).collect();
        let name = fused.formula().name();
        contestants.push(pass(
            &format!("{name}, fused"),
            Box::new(move |x| fused.forward(x, None, &scalars(&own)).expect("fits")),
        ));
        if matches!(fused.formula(), Activation::CrRelu | Activation::Gelu) {
            contestants.push(pass(
                &format!("bias + {name}, fused"),
                Box::new(move |x| fused.forward(x, Some(&biased), &scalars(&parameters)).expect("fits")),
            ));
        }
    }
    compare(&contestants, rounds);
}

/// The residual stream in f32, the branch and the norm's output in `kind`.
fn of_norms(kind: Kind, rounds: usize) {
    let (x, values, above) = (numbers(1, Kind::Float), numbers(2, kind), numbers(3, kind));
    let passed = numbers(4, Kind::Float);
    let [weight, bias] =
        [1.0, 0.0].map(|start| Tensor::full([SHAPE[1]], start, (Kind::Float, Device::Cpu)).set_requires_grad(true));
    let pass = |name: &str, forward: SumAndNorm| {
        let [x, values, above, passed] = [&x, &values, &above, &passed].map(Tensor::shallow_clone);
        let run = Box::new(move || {
            let leaves = [&x, &values].map(|tensor| tensor.detach().set_requires_grad(true));
            let (normed, sum) = forward(&leaves[0], &leaves[1]);
            // Both outputs are read, as in a block.
            let read = (normed * &above).sum(Kind::Float) + (sum * &passed).sum(Kind::Float);
            read.backward();
        });
        (name.to_owned(), run as Box<dyn Fn()>)
    };
    let source = x.shallow_clone();
    let mut contestants = vec![(FLOOR.to_owned(), Box::new(move || drop(source.copy())) as Box<dyn Fn()>)];
    let [own_weight, own_bias] = [&weight, &bias].map(Tensor::shallow_clone);
    contestants.push(pass(
        "sum, layer_norm, cast, libtorch",
        Box::new(move |x, values| {
            let sum = x + values.to_kind(Kind::Float);
            (sum.layer_norm([SHAPE[1]], Some(&own_weight), Some(&own_bias), 1e-6, false).to_kind(kind), sum)
        }),
    ));
    contestants.push(pass(
        "sum and norm, fused",
        Box::new(move |x, values| {
            let norm = LayerNorm { weight: &weight, bias: &bias, eps: 1e-6 };
            norm.forward_sum(x, Branch { values, scale: None, mask: None }, kind).expect("fits")
        }),
    ));
    compare(&contestants, rounds);
}

/// From the joint projection of 56 × 56 tokens to what is projected again: 3 heads of 32, windows of 7 × 7, rolled by 3.
fn of_windows(kind: Kind, rounds: usize) {
    const SHAPE: [i64; 4] = [16, 56, 56, 3 * 96];
    let (area, windows) = (49, 64);
    let options = (Kind::Float, Device::Cpu);
    let qkv = Tensor::randn(SHAPE, options).to_kind(kind);
    let above = Tensor::randn([16, 56, 56, 96], options).to_kind(kind);
    let bias = Tensor::randn([3, area, area], options).set_requires_grad(true);
    let mask = Tensor::zeros([windows, area, area], options);
    let pass = |name: &str, forward: Box<dyn Fn(&Tensor) -> Tensor>| {
        let (qkv, above) = (qkv.shallow_clone(), above.shallow_clone());
        let run = Box::new(move || {
            let leaf = qkv.detach().set_requires_grad(true);
            backward_from(&forward(&leaf), &above).expect("shapes fit");
        });
        (name.to_owned(), run as Box<dyn Fn()>)
    };
    let source = qkv.shallow_clone();
    let mut contestants = vec![(FLOOR.to_owned(), Box::new(move || drop(source.copy())) as Box<dyn Fn()>)];
    let [own_bias, own_mask] = [&bias, &mask].map(Tensor::shallow_clone);
    contestants.push(pass(
        "cut, attention, join, libtorch",
        Box::new(move |qkv| {
            let cut = qkv.roll([-3, -3], [1, 2]).view([16, 8, 7, 8, 7, 288]).transpose(2, 3);
            let parts = cut.reshape([16, windows, area, 3, 3, 32]).permute([3, 0, 1, 4, 2, 5]);
            let [q, k, v] = [0, 1, 2].map(|part| parts.get(part).reshape([16, 3 * windows, area, 32]));
            let added =
                (own_bias.unsqueeze(0) + own_mask.unsqueeze(1)).view([1, 3 * windows, area, area]).to_kind(kind);
            let mixed = Tensor::scaled_dot_product_attention(&q, &k, &v, Some(&added), 0.0, false, None::<f64>, false);
            let joined = mixed.view([16, windows, 3, area, 32]).transpose(2, 3).reshape([16, 8, 8, 7, 7, 96]);
            joined.transpose(2, 3).reshape([16, 56, 56, 96]).roll([3, 3], [1, 2])
        }),
    ));
    contestants.push(pass(
        "attention in the grid, fused",
        Box::new(move |qkv| {
            let attention = WindowAttention { heads: 3, side: 7, shift: 3, bias: &bias, mask: Some(&mask) };
            attention.forward(qkv).expect("fits")
        }),
    ));
    compare(&contestants, rounds);
}

/// Optimisers, the moving average and the norm of gradients over flat buffers: as they are used, and composed.
fn of_updates(rounds: usize) {
    let flat = |stream: u64| {
        let mut rng = Key::root(stream).rng();
        let values: Vec<f32> = (0..PARAMETERS).map(|_| (2.0 * rng.uniform() - 1.0) as f32).collect();
        Tensor::from_slice(&values)
    };
    let [values, grads, first] = [1, 2, 3].map(flat);
    let second = flat(4).square();
    // As in a model: matrices of a few hundred thousand numbers.
    let tensors: Vec<_> = (0..PARAMETERS).step_by(1 << 18).map(|at| at..(at + (1 << 18)).min(PARAMETERS)).collect();
    let on = |work: &dyn Fn(&mut Tensor, &Tensor, &mut Tensor, &mut Tensor)| {
        let [mut values, grads, mut first, mut second] = [&values, &grads, &first, &second].map(Tensor::shallow_clone);
        no_grad(|| work(&mut values, &grads, &mut first, &mut second));
    };
    let moments = |grads: &Tensor, first: &mut Tensor, second: &mut Tensor| {
        let _ = first.lerp_(grads, 0.1);
        let _ = second.g_mul_scalar_(0.99);
        *second += grads.square() * 0.01;
        &*first / (second.sqrt() / 0.5).g_add_scalar_(1e-8)
    };
    let adamw = kernels::optimizer::AdamW { betas: [0.9, 0.99], weight_decay: 0.1, eps: 1e-8 };
    let sgd = kernels::optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.1 };
    let (rate, number) = (Tensor::from(1e-9f64), Tensor::from(100.0f64));
    let lamb = kernels::optimizer::Lamb {
        rate: 1e-9,
        betas: [0.9, 0.99],
        weight_decay: 0.1,
        eps: 1e-8,
        gradient_scale: 1.0,
        adapts: true,
    };
    let on = &on;
    let moments = &moments;
    let all: Vec<(&str, Work<'_>)> = vec![
        (FLOOR, Box::new(|| drop(values.copy()))),
        (
            "AdamW, composed",
            Box::new(|| {
                on(&|values, grads, first, second| {
                    let _ = values.g_mul_scalar_(1.0 - 1e-10);
                    *values -= moments(grads, first, second) * 1e-9;
                });
            }),
        ),
        (
            "AdamW, libtorch's fused (ours)",
            Box::new(|| {
                on(&|values, grads, exp_avg, exp_avg_sq| {
                    adamw.step(&Buffers { values, grads, exp_avg, exp_avg_sq }, &rate, &number).expect("fits");
                });
            }),
        ),
        (
            "SGD, composed",
            Box::new(|| {
                on(&|values, grads, sum, _| {
                    let update = grads + &*values * 0.1;
                    let _ = sum.g_mul_scalar_(0.9);
                    *sum += &update;
                    *values -= (update + &*sum * 0.9) * 1e-9;
                });
            }),
        ),
        (
            "SGD, libtorch's fused (ours)",
            Box::new(|| on(&|values, grads, sum, _| sgd.step(values, grads, Some(sum), &rate).expect("fits"))),
        ),
        (
            "LAMB, composed",
            Box::new(|| {
                on(&|values, grads, first, second| {
                    let mut update = moments(grads, first, second) + &*values * 0.1;
                    for range in &tensors {
                        let window = |flat: &Tensor| flat.narrow(0, range.start as i64, range.len() as i64);
                        let mut part = window(&update);
                        let ratio = window(values).norm() / part.norm();
                        let _ = part.g_mul_(&ratio);
                    }
                    *values -= update.g_mul_scalar_(1e-9);
                });
            }),
        ),
        (
            "LAMB, two passes (ours)",
            Box::new(|| {
                on(&|values, grads, exp_avg, exp_avg_sq| {
                    lamb.step(&Buffers { values, grads, exp_avg, exp_avg_sq }, &tensors, 100).expect("fits");
                });
            }),
        ),
        (
            "moving average, composed",
            Box::new(|| {
                on(&|values, _, average, _| {
                    let _ = average.g_mul_scalar_(0.999);
                    *average += &*values * 0.001;
                });
            }),
        ),
        (
            "moving average, libtorch's lerp (ours)",
            Box::new(|| on(&|values, _, average, _| drop(average.lerp_(values, 0.001)))),
        ),
        (
            "norm of gradients, composed",
            Box::new(|| on(&|_, grads, _, _| drop(grads.square().sum(Kind::Float).sqrt()))),
        ),
        ("norm of gradients, libtorch's norm (ours)", Box::new(|| on(&|_, grads, _, _| drop(grads.norm())))),
    ];
    compare(&named(all), rounds);
}

/// As it is used, which is libtorch's, and composed.
fn of_losses(rounds: usize) {
    let classes = 1000;
    let logits = numbers(5, Kind::Float).flatten(0, -1).narrow(0, 0, 256 * classes).view([256, classes]);
    let labels = Tensor::arange(256, (Kind::Int64, Device::Cpu));
    let pass = |loss: &dyn Fn(&Tensor) -> Tensor| loss(&logits.detach().set_requires_grad(true)).backward();
    let composed = |logits: &Tensor| {
        let log = logits.log_softmax(-1, Kind::Float);
        let own = log.gather(1, &labels.unsqueeze(1), false).mean(Kind::Float);
        -(own * 0.9 + log.mean(Kind::Float) * 0.1)
    };
    let fused = |logits: &Tensor| logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.1);
    let all: Vec<(&str, Work<'_>)> = vec![
        (FLOOR, Box::new(|| drop(logits.copy()))),
        ("composed", Box::new(|| pass(&composed))),
        ("libtorch's (ours)", Box::new(|| pass(&fused))),
    ];
    compare(&named(all), rounds);
}

fn scalars(tensors: &[Tensor]) -> Vec<Scalar<'_>> {
    tensors.iter().map(Scalar::Tensor).collect()
}

fn numbers(stream: u64, kind: Kind) -> Tensor {
    let mut rng = Key::root(stream).rng();
    let values: Vec<f32> = (0..SHAPE[0] * SHAPE[1]).map(|_| (4.0 * rng.uniform() - 2.0) as f32).collect();
    Tensor::from_slice(&values).view(SHAPE.as_slice()).to_kind(kind)
}

fn named<'a>(all: Vec<(&str, Work<'a>)>) -> Vec<Contestant<'a>> {
    all.into_iter().map(|(name, run)| (name.to_owned(), run)).collect()
}

fn compare(contestants: &[Contestant<'_>], rounds: usize) {
    let mut times = vec![Vec::new(); contestants.len()];
    for round in 0..=rounds {
        for ((_, run), times) in contestants.iter().zip(&mut times) {
            let begun = Instant::now();
            run();
            if round > 0 {
                times.push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let relu = times[1].clone();
    println!("{:42} {:>8} {:>14}", "", "ms", "× the second's");
    for ((name, _), times) in contestants.iter().zip(&times) {
        let ratio = median(times.iter().zip(&relu).map(|(own, relu)| own / relu));
        println!("{name:42} {:8.2} {ratio:14.2}", median(times.iter().copied()));
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
