//! Every kernel against libtorch's composed form and against the floor, a plain copy: `cargo bench -p kernels [-- ROUNDS]`.
//!
//! All take turns in each round; ratios are medians over rounds of each round's own times. On a GPU where there is one.

use std::time::Instant;

use activations::Activation;
use kernels::activation::{Fused, Scalar};
use kernels::autograd::backward_from;
use random::Key;
use tch::{Device, Kind, Tensor};

/// Tokens of 32 images and the width of the MLP of ViT-S: 39 MB in f32, out of cache.
const SHAPE: [i64; 2] = [6304, 1536];

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
}

/// Something to time: does forward and backward once.
struct Contestant {
    name: String,
    run: Box<dyn Fn()>,
}

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
        Contestant { name: name.to_owned(), run }
    };
    let mut contestants = Vec::new();
    let source = x.shallow_clone();
    contestants.push(Contestant {
        name: "copy (the floor: 1 read, 1 write)".to_owned(),
        run: Box::new(move || drop(source.copy())),
    });
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

fn scalars(tensors: &[Tensor]) -> Vec<Scalar<'_>> {
    tensors.iter().map(Scalar::Tensor).collect()
}

fn numbers(stream: u64, kind: Kind) -> Tensor {
    let mut rng = Key::root(stream).rng();
    let values: Vec<f32> = (0..SHAPE[0] * SHAPE[1]).map(|_| (4.0 * rng.uniform() - 2.0) as f32).collect();
    Tensor::from_slice(&values).view(SHAPE.as_slice()).to_kind(kind)
}

fn compare(contestants: &[Contestant], rounds: usize) {
    let mut times = vec![Vec::new(); contestants.len()];
    for round in 0..=rounds {
        for (contestant, times) in contestants.iter().zip(&mut times) {
            let begun = Instant::now();
            (contestant.run)();
            if round > 0 {
                times.push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let relu = times[1].clone();
    println!("{:36} {:>8} {:>14}", "", "ms", "× relu's time");
    for (contestant, times) in contestants.iter().zip(&times) {
        let ratio = median(times.iter().zip(&relu).map(|(own, relu)| own / relu));
        println!("{:36} {:8.2} {ratio:14.2}", contestant.name, median(times.iter().copied()));
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
