//! Parts that are computed again in backward: the same numbers as without, hooks once, nothing kept, failures told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kernels::autograd::{GradientHooks, backward_from};
use kernels::recompute::recomputed;
use tch::{Kind, Tensor};

fn wave(shape: &[i64], frequency: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    (Tensor::arange(count, (Kind::Double, tch::Device::Cpu)) * frequency).sin().view(shape)
}

fn leaf(shape: &[i64], frequency: f64) -> Tensor {
    wave(shape, frequency).set_requires_grad(true)
}

/// Two inputs, two outputs, a leaf inside: the sum goes on with `x`, the product goes through the weight.
fn part(inputs: &[Tensor], weight: &Tensor) -> Vec<Tensor> {
    let sum = &inputs[0] + inputs[1].tanh();
    let product = sum.matmul(weight).gelu("none");
    vec![sum, product]
}

#[test]
fn gradients_are_those_without_bit_for_bit() {
    let gradients = |again: bool| {
        let [x, y, weight] = [leaf(&[5, 4], 0.3), leaf(&[5, 4], 0.7), leaf(&[4, 3], 1.1)];
        let outputs = if again {
            let inside = weight.shallow_clone();
            recomputed(&[&x, &y], 2, move |inputs| part(&inputs, &inside)).expect("fits")
        } else {
            part(&[x.shallow_clone(), y.shallow_clone()], &weight)
        };
        // The sum is read twice, as a residual stream is.
        let end =
            (outputs[0].sin() * 2.0).sum(Kind::Double) + (outputs[1].sum(Kind::Double) * outputs[0].mean(Kind::Double));
        end.backward();
        [x, y, weight].map(|leaf| Vec::<f64>::try_from(leaf.grad().flatten(0, -1)).expect("numbers"))
    };
    assert_eq!(gradients(true), gradients(false));
}

#[test]
fn it_runs_twice_and_hooks_are_called_once_in_the_order_of_backward() {
    let weights: Vec<Tensor> = (0..3).map(|i| leaf(&[4, 4], 0.5 + f64::from(i))).collect();
    let calls = Arc::new(AtomicUsize::new(0));
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = order.clone();
    let leaves: Vec<&Tensor> = weights.iter().collect();
    let _hooks = GradientHooks::new(&leaves, move |index| seen.lock().expect("no panic").push(index)).expect("leaves");
    let mut x = leaf(&[2, 4], 0.2);
    for weight in &weights {
        let (weight, calls) = (weight.shallow_clone(), calls.clone());
        let one = recomputed(&[&x], 1, move |inputs| {
            calls.fetch_add(1, Ordering::Relaxed);
            vec![inputs[0].matmul(&weight).tanh()]
        });
        x = one.expect("fits").remove(0);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    backward_from(&x, &wave(&[2, 4], 0.9)).expect("a graph");
    assert_eq!(calls.load(Ordering::Relaxed), 6);
    assert_eq!(*order.lock().expect("no panic"), [2, 1, 0]);
}

/// What a part holds is freed with the graph, whether backward came or not.
#[test]
fn nothing_is_left_of_a_graph_that_is_dropped() {
    for backward in [true, false] {
        let held = Arc::new(());
        let inside = held.clone();
        let x = leaf(&[3], 0.4);
        let y = recomputed(&[&x], 1, move |inputs| {
            let _ = &inside;
            vec![inputs[0].exp()]
        });
        let y = y.expect("fits").remove(0);
        if backward {
            y.sum(Kind::Double).backward();
        }
        assert_eq!(Arc::strong_count(&held), 2);
        drop(y);
        assert_eq!(Arc::strong_count(&held), 1, "backward: {backward}");
    }
}

#[test]
fn a_part_that_panics_is_an_error_in_both_passes() {
    let x = leaf(&[3], 0.4);
    let error = recomputed(&[&x], 1, |_| panic!("as this test wants")).expect_err("it panicked");
    assert!(error.message.contains("failed"), "{error}");
    let calls = AtomicUsize::new(0);
    let y = recomputed(&[&x], 1, move |inputs| {
        assert_eq!(calls.fetch_add(1, Ordering::Relaxed), 0, "as this test wants");
        vec![inputs[0].exp()]
    });
    let y = y.expect("fits").remove(0);
    let error = backward_from(&y, &wave(&[3], 1.0)).expect_err("it panicked");
    assert!(error.message.contains("failed"), "{error}");
}

/// Without gradients there is nothing to go back through.
#[test]
fn a_look_without_gradients_keeps_nothing() {
    let x = leaf(&[3], 0.4);
    let y = tch::no_grad(|| recomputed(&[&x], 1, |inputs| vec![inputs[0].exp()])).expect("fits").remove(0);
    assert!(!y.requires_grad());
}
