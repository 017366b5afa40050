//! Hooks on gradients, and the steps of optimisers.

use std::sync::{Arc, Mutex};

use kernels::autograd::GradientHooks;
use kernels::optimizer::{AdamW, Buffers, Lamb, Sgd};
use tch::{Kind, Tensor};

#[test]
fn a_hook_is_called_once_the_gradient_is_there() {
    let leaves: Vec<Tensor> =
        (0..3).map(|i| Tensor::from_slice(&[1.0 + f64::from(i)]).set_requires_grad(true)).collect();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (seen, watched) = (order.clone(), Mutex::new(leaves.iter().map(Tensor::shallow_clone).collect::<Vec<_>>()));
    let hooks = GradientHooks::new(&leaves.iter().collect::<Vec<_>>(), move |index| {
        let gradient = watched.lock().expect("no panic")[index].grad().double_value(&[0]);
        seen.lock().expect("no panic").push((index, gradient));
    })
    .expect("leaves");
    // 0 is used first, so backward reaches it last; 1 is used twice, and called once, with the sum.
    let loss = || (&leaves[0] * &leaves[1] * &leaves[1] * &leaves[2]).sum(Kind::Double);
    loss().backward();
    let mut calls = std::mem::take(&mut *order.lock().expect("no panic"));
    assert_eq!(calls.len(), 3, "{calls:?}");
    calls.sort_by_key(|call| call.0);
    assert_eq!(calls, [(0, 12.0), (1, 12.0), (2, 4.0)]);
    drop(hooks);
    loss().backward();
    assert!(order.lock().expect("no panic").is_empty());
    assert!(GradientHooks::new(&[&Tensor::from_slice(&[1.0])], |_| {}).is_err());
}

#[test]
fn a_step_of_adamw_is_that_of_the_paper() {
    let tensor = |values: &[f64]| Tensor::from_slice(values);
    let (values, grads) = (tensor(&[0.5, -1.0, 2.0]), tensor(&[0.1, -0.2, 0.0]));
    let (exp_avg, exp_avg_sq) = (tensor(&[0.0; 3]), tensor(&[0.0; 3]));
    let adamw = AdamW { betas: [0.9, 0.99], weight_decay: 0.1, eps: 1e-8 };
    let rate = Tensor::from(0.01f64);
    let buffers = Buffers { values: &values, grads: &grads, exp_avg: &exp_avg, exp_avg_sq: &exp_avg_sq };
    let mut expected = [0.5, -1.0, 2.0];
    let (mut first, mut second) = ([0.0; 3], [0.0; 3]);
    for step in 1..=5 {
        adamw.step(&buffers, &rate, &Tensor::from(step)).expect("all alike");
        for (i, gradient) in [0.1, -0.2, 0.0].into_iter().enumerate() {
            first[i] = 0.9 * first[i] + 0.1 * gradient;
            second[i] = 0.99 * second[i] + 0.01 * gradient * gradient;
            let t = f64::from(step as u32);
            let mean = first[i] / (1.0 - 0.9f64.powf(t));
            let spread = (second[i] / (1.0 - 0.99f64.powf(t))).sqrt();
            expected[i] = expected[i] * (1.0 - 0.01 * 0.1) - 0.01 * mean / (spread + 1e-8);
        }
        for (i, &expected) in expected.iter().enumerate() {
            let found = values.double_value(&[i as i64]);
            assert!((found - expected).abs() < 1e-12, "step {step}: {found} instead of {expected}");
        }
    }
    let other = tensor(&[1.0, 2.0]);
    let wrong = Buffers { grads: &other, ..buffers };
    assert!(adamw.step(&wrong, &rate, &Tensor::from(6)).is_err());
    let two = Tensor::from_slice(&[0.01, 0.01]);
    assert!(adamw.step(&buffers, &two, &Tensor::from(6)).is_err());
}

/// Numbers around 0 in f32, and the same in f64.
fn numbers(stream: u64, count: usize) -> (Tensor, Vec<f64>) {
    let mut rng = random::Key::root(stream).rng();
    let values: Vec<f32> = (0..count).map(|_| (2.0 * rng.uniform() - 1.0) as f32).collect();
    (Tensor::from_slice(&values), values.into_iter().map(f64::from).collect())
}

#[track_caller]
fn close(found: &Tensor, expected: &[f64], what: &str) {
    let found = Vec::<f64>::try_from(found.to_kind(Kind::Double)).expect("numbers");
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 2e-6 * (1.0 + expected.abs()), "{what} at {place}: {found} and {expected}");
    }
}

#[test]
fn steps_of_sgd_are_those_of_its_definition() {
    for (momentum, nesterov, weight_decay) in [(0.0, false, 0.0), (0.9, false, 0.1), (0.9, true, 0.1)] {
        let sgd = Sgd { momentum, nesterov, weight_decay };
        let (values, mut expected) = numbers(1, 1003);
        let sum = values.zeros_like();
        let mut sums = vec![0.0; expected.len()];
        for step in 0..4 {
            let (grads, of_step) = numbers(2 + step, 1003);
            sgd.step(&values, &grads, (momentum > 0.0).then_some(&sum), &Tensor::from(0.1f64)).expect("all alike");
            for ((value, sum), gradient) in expected.iter_mut().zip(&mut sums).zip(of_step) {
                let decayed = gradient + weight_decay * *value;
                *sum = momentum * *sum + decayed;
                *value -= 0.1 * if nesterov { decayed + momentum * *sum } else { *sum };
            }
            close(&values, &expected, &format!("{sgd:?}, step {step}"));
        }
    }
}

/// Tensors of one number, of a few, and of several blocks, with padding between them that stays as it is; one is all zeros.
#[test]
fn steps_of_lamb_are_those_of_its_definition() {
    let tensors = [0..1, 16..53, 64..100_000, 100_000..100_016];
    let count = 100_032;
    for adapts in [true, false] {
        let rule = Lamb { rate: 0.01, betas: [0.9, 0.99], weight_decay: 0.02, eps: 1e-6, gradient_scale: 0.5, adapts };
        let (values, mut expected) = numbers(1, count);
        let _ = values.narrow(0, 100_000, 16).zero_();
        expected[100_000..100_016].fill(0.0);
        let (first, second) = (values.zeros_like(), values.zeros_like());
        let (mut firsts, mut seconds) = (vec![0.0; count], vec![0.0; count]);
        for step in 1..=4 {
            let (grads, of_step) = numbers(1 + step, count);
            let buffers = Buffers { values: &values, grads: &grads, exp_avg: &first, exp_avg_sq: &second };
            rule.step(&buffers, &tensors, step).expect("all alike");
            for range in tensors.clone() {
                let t = step as i32;
                let updates: Vec<f64> = range
                    .clone()
                    .map(|i| {
                        let gradient = 0.5 * of_step[i];
                        firsts[i] = 0.9 * firsts[i] + 0.1 * gradient;
                        seconds[i] = 0.99 * seconds[i] + 0.01 * gradient * gradient;
                        let spread = (seconds[i] / (1.0 - 0.99f64.powi(t))).sqrt();
                        firsts[i] / (1.0 - 0.9f64.powi(t)) / (spread + 1e-6) + 0.02 * expected[i]
                    })
                    .collect();
                let norm = |numbers: &[f64]| numbers.iter().map(|x| x * x).sum::<f64>().sqrt();
                let (weight, update) = (norm(&expected[range.clone()]), norm(&updates));
                let trust = if adapts && weight > 0.0 && update > 0.0 { weight / update } else { 1.0 };
                for (i, update) in range.zip(updates) {
                    expected[i] -= 0.01 * trust * update;
                }
            }
            close(&values, &expected, &format!("{rule:?}, step {step}"));
        }
    }
    let (values, _) = numbers(1, 8);
    let buffers = Buffers { values: &values, grads: &values, exp_avg: &values, exp_avg_sq: &values };
    let rule = Lamb { rate: 0.1, betas: [0.9, 0.99], weight_decay: 0.0, eps: 1e-6, gradient_scale: 1.0, adapts: true };
    assert!(rule.step(&buffers, std::slice::from_ref(&(4..9)), 1).expect_err("too far").message.contains("beyond"));
}
