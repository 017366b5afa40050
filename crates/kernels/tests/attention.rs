//! Attention within windows against its definition in plain f64: values, all gradients, odd shapes and odd numbers.

use kernels::attention::WindowAttention;
use kernels::autograd::backward_from;
use random::Key;
use tch::{Device, Kind, Tensor};

/// Sides of a problem.
#[derive(Clone, Copy, Debug)]
struct Shape {
    images: usize,
    rows: usize,
    columns: usize,
    side: usize,
    shift: usize,
    heads: usize,
    width: usize,
    masked: bool,
}

/// Swin's own window and head; windows and heads that no vector divides; one of a single token; a grid that is no square; more
/// windows than there are blocks of them; nothing at all.
const SHAPES: [Shape; 8] = [
    Shape { images: 2, rows: 14, columns: 14, side: 7, shift: 3, heads: 3, width: 32, masked: true },
    Shape { images: 1, rows: 7, columns: 7, side: 7, shift: 0, heads: 2, width: 32, masked: false },
    Shape { images: 2, rows: 6, columns: 9, side: 3, shift: 1, heads: 2, width: 5, masked: true },
    Shape { images: 3, rows: 4, columns: 2, side: 2, shift: 0, heads: 1, width: 16, masked: false },
    Shape { images: 1, rows: 2, columns: 3, side: 1, shift: 0, heads: 2, width: 1, masked: true },
    Shape { images: 1, rows: 12, columns: 12, side: 12, shift: 5, heads: 1, width: 24, masked: false },
    Shape { images: 5, rows: 16, columns: 16, side: 2, shift: 1, heads: 5, width: 3, masked: true },
    Shape { images: 0, rows: 4, columns: 4, side: 2, shift: 1, heads: 2, width: 4, masked: true },
];

impl Shape {
    fn area(&self) -> usize {
        self.side * self.side
    }

    fn windows(&self) -> usize {
        (self.rows / self.side) * (self.columns / self.side)
    }

    /// The token of `image` at place `i` of a window, counted over all images.
    fn token(&self, image: usize, window: usize, i: usize) -> usize {
        let across = self.columns / self.side;
        let row = (window / across * self.side + i / self.side + self.shift) % self.rows;
        let column = (window % across * self.side + i % self.side + self.shift) % self.columns;
        (image * self.rows + row) * self.columns + column
    }
}

/// What goes in, and what comes from above.
struct Problem {
    shape: Shape,
    qkv: Vec<f64>,
    bias: Vec<f64>,
    mask: Vec<f64>,
    above: Vec<f64>,
}

/// What comes out: values, and the gradients of qkv and bias.
struct Solution {
    out: Vec<f64>,
    dqkv: Vec<f64>,
    dbias: Vec<f64>,
}

impl Problem {
    /// Numbers rounded to `kind`.
    fn new(shape: Shape, kind: Kind) -> Problem {
        let tokens = shape.images * shape.rows * shape.columns * shape.heads * shape.width;
        let numbers = |stream: u64, count: usize, reach: f64, kind: Kind| -> Vec<f64> {
            let mut rng = Key::root(11).child(stream).rng();
            let values: Vec<f64> = (0..count).map(|_| (2.0 * rng.uniform() - 1.0) * reach).collect();
            numbers_of(&Tensor::from_slice(&values).to_kind(kind))
        };
        let pairs = shape.area() * shape.area();
        let computed = if kind == Kind::Double { Kind::Double } else { Kind::Float };
        let apart = numbers(3, shape.windows() * pairs, 1.0, computed);
        // No token is kept apart from itself.
        let with_itself = |place: usize| (place % pairs).is_multiple_of(shape.area() + 1);
        let apart_of = |place: usize, x: f64| shape.masked && x > 0.3 && !with_itself(place);
        Problem {
            shape,
            qkv: numbers(1, 3 * tokens, 2.0, kind),
            bias: numbers(2, shape.heads * pairs, 1.0, computed),
            mask: apart
                .into_iter()
                .enumerate()
                .map(|(place, x)| if apart_of(place, x) { -100.0 } else { 0.0 })
                .collect(),
            above: numbers(4, tokens, 1.0, kind),
        }
    }

    /// By the definition.
    fn solve(&self) -> Solution {
        let Shape { images, heads, width, .. } = self.shape;
        let (area, depth) = (self.shape.area(), heads * width);
        let mut found = Solution {
            out: vec![0.0; self.above.len()],
            dqkv: vec![0.0; self.qkv.len()],
            dbias: vec![0.0; self.bias.len()],
        };
        let scale = 1.0 / (width as f64).sqrt();
        for (image, window, head) in
            (0..images).flat_map(|i| (0..self.shape.windows()).flat_map(move |w| (0..heads).map(move |h| (i, w, h))))
        {
            let token = |i: usize| self.shape.token(image, window, i);
            let of = |part: usize, i: usize, c: usize| token(i) * 3 * depth + part * depth + head * width + c;
            let out = |i: usize, c: usize| token(i) * depth + head * width + c;
            for i in 0..area {
                let score = |j: usize| {
                    let product: f64 = (0..width).map(|c| self.qkv[of(0, i, c)] * self.qkv[of(1, j, c)]).sum();
                    let place = i * area + j;
                    product * scale + self.bias[head * area * area + place] + self.mask[window * area * area + place]
                };
                let scores: Vec<f64> = (0..area).map(score).collect();
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
                let all: f64 = powers.iter().sum();
                let weights: Vec<f64> = powers.iter().map(|power| power / all).collect();
                let dweight =
                    |j: usize| -> f64 { (0..width).map(|c| self.above[out(i, c)] * self.qkv[of(2, j, c)]).sum() };
                let dweights: Vec<f64> = (0..area).map(dweight).collect();
                let along: f64 = weights.iter().zip(&dweights).map(|(p, dp)| p * dp).sum();
                for j in 0..area {
                    let dscore = weights[j] * (dweights[j] - along);
                    found.dbias[head * area * area + i * area + j] += dscore;
                    for c in 0..width {
                        found.out[out(i, c)] += weights[j] * self.qkv[of(2, j, c)];
                        found.dqkv[of(0, i, c)] += dscore * scale * self.qkv[of(1, j, c)];
                        found.dqkv[of(1, j, c)] += dscore * scale * self.qkv[of(0, i, c)];
                        found.dqkv[of(2, j, c)] += weights[j] * self.above[out(i, c)];
                    }
                }
            }
        }
        found
    }

    fn tensors(&self, kind: Kind) -> [Tensor; 4] {
        let Shape { images, rows, columns, heads, width, .. } = self.shape;
        let [images, rows, columns, depth] = [images, rows, columns, heads * width].map(|side| side as i64);
        let (area, windows) = (self.shape.area() as i64, self.shape.windows() as i64);
        let computed = if kind == Kind::Double { Kind::Double } else { Kind::Float };
        [
            (&self.qkv, vec![images, rows, columns, 3 * depth], kind),
            (&self.bias, vec![heads as i64, area, area], computed),
            (&self.mask, vec![windows, area, area], computed),
            (&self.above, vec![images, rows, columns, depth], kind),
        ]
        .map(|(values, shape, kind)| Tensor::from_slice(values).to_kind(kind).view(shape.as_slice()))
    }

    /// By the kernel.
    fn compute(&self, kind: Kind) -> Solution {
        let [qkv, bias, mask, above] = self.tensors(kind);
        let (qkv, bias) = (qkv.set_requires_grad(true), bias.set_requires_grad(true));
        let out = attention(self.shape, &bias, &mask).forward(&qkv).expect("shapes fit");
        assert_eq!((out.kind(), out.size()), (kind, above.size()));
        backward_from(&out, &above).expect("shapes fit");
        Solution { out: numbers_of(&out), dqkv: numbers_of(&qkv.grad()), dbias: numbers_of(&bias.grad()) }
    }
}

fn attention<'a>(shape: Shape, bias: &'a Tensor, mask: &'a Tensor) -> WindowAttention<'a> {
    let [heads, side, shift] = [shape.heads, shape.side, shape.shift].map(|number| number as i64);
    WindowAttention { heads, side, shift, bias, mask: shape.masked.then_some(mask) }
}

fn numbers_of(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().to_kind(Kind::Double).flatten(0, -1)).expect("numbers")
}

/// How far results of a kind may be from f64, relative to the largest.
fn tolerance(kind: Kind) -> f64 {
    match kind {
        Kind::Double => 1e-14,
        Kind::Float => 1e-6,
        Kind::Half => 1.0 / 1500.0,
        Kind::BFloat16 => 1.0 / 200.0,
        other => panic!("no test in {other:?}"),
    }
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1e-3f64, |most, x| most.max(x.abs()));
    for (place, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * size, "{what} at {place}: {a} instead of {b}");
    }
}

#[test]
fn values_and_gradients_are_those_of_the_definition() {
    for shape in SHAPES {
        for kind in [Kind::Double, Kind::Float, Kind::BFloat16, Kind::Half] {
            let problem = Problem::new(shape, kind);
            let (found, expected) = (problem.compute(kind), problem.solve());
            let what = |of: &str| format!("{of} of {shape:?} in {kind:?}");
            assert_close(&found.out, &expected.out, tolerance(kind), &what("out"));
            assert_close(&found.dqkv, &expected.dqkv, tolerance(kind), &what("dqkv"));
            // Summed over images and windows in what is computed with.
            let exact = if kind == Kind::Double { 1e-13 } else { 1e-5 };
            assert_close(&found.dbias, &expected.dbias, exact, &what("dbias"));
        }
    }
}

/// With the log of the sum of exponentials of every row near −120, where an exponential by itself is 0 in f32: once by the
/// products of queries and keys, and once by the bias.
#[test]
fn strongly_negative_scores_give_the_numbers_of_the_definition() {
    for (shape, kind) in [SHAPES[0], SHAPES[1]].into_iter().flat_map(|s| [(s, Kind::Float), (s, Kind::BFloat16)]) {
        for by_bias in [false, true] {
            let mut problem = Problem::new(shape, kind);
            let depth = shape.heads * shape.width;
            if by_bias {
                problem.bias.iter_mut().for_each(|bias| *bias -= 124.0);
            } else {
                let constant = (124.0 / (shape.width as f64).sqrt()).sqrt();
                for (place, x) in problem.qkv.iter_mut().enumerate() {
                    *x = match place % (3 * depth) / depth {
                        0 => 0.2 * *x + constant,
                        1 => 0.2 * *x - constant,
                        _ => *x,
                    };
                }
                problem.qkv = numbers_of(&Tensor::from_slice(&problem.qkv).to_kind(kind));
            }
            let (found, expected) = (problem.compute(kind), problem.solve());
            let what = |of: &str| format!("{of} of {shape:?} in {kind:?}, by bias: {by_bias}");
            // A score of −125 is exact to 4e-6 in f32, and its exponential with it.
            let tolerance = if kind == Kind::Float { 2e-5 } else { tolerance(kind) };
            assert_close(&found.out, &expected.out, tolerance, &what("out"));
            // Gradients of queries and keys cancel to a small part of their terms, which are as large as the constant.
            let dqkv = if kind == Kind::Float { 1e-4 } else { tolerance };
            assert_close(&found.dqkv, &expected.dqkv, dqkv, &what("dqkv"));
            assert_close(&found.dbias, &expected.dbias, 1e-4, &what("dbias"));
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let problem = Problem::new(SHAPES[0], Kind::Float);
    let of = |threads: i32| {
        tch::set_num_threads(threads);
        problem.compute(Kind::Float)
    };
    let (one, three) = (of(1), of(3));
    assert!(one.out == three.out && one.dqkv == three.dqkv && one.dbias == three.dbias);
}

/// Large scores overflow nothing, small ones are nothing, and a NaN is seen in all of its window and in no other.
#[test]
fn odd_numbers_stay_in_their_window() {
    let shape = SHAPES[0];
    for (number, is_odd) in [(f64::NAN, true), (f64::INFINITY, true), (3e4, false), (-3e4, false), (1e-40, false)] {
        let mut problem = Problem::new(shape, Kind::Float);
        let token = shape.token(1, 2, 17);
        problem.qkv[token * 3 * shape.heads * shape.width] = number; // of q, head 0
        let [qkv, bias, mask, _] = problem.tensors(Kind::Float);
        let out = attention(shape, &bias, &mask).forward(&qkv).expect("shapes fit");
        let odd: Vec<bool> = numbers_of(&out).iter().map(|x| !x.is_finite()).collect();
        let depth = shape.heads * shape.width;
        for (place, &odd) in odd.iter().enumerate() {
            let of_its_row = place / depth == token && place % depth < shape.width;
            assert_eq!(odd, of_its_row && is_odd, "{number} at {place}");
        }
    }
}

/// A softmax over nothing is no number, as in PyTorch; what is beyond the window's 49 tokens does not stand in for them.
#[test]
fn a_row_that_may_look_at_nothing_is_no_number() {
    let shape = SHAPES[1];
    let [qkv, bias, _, _] = Problem::new(shape, Kind::Float).tensors(Kind::Float);
    let _ = bias.get(1).get(5).fill_(f64::NEG_INFINITY);
    let out = numbers_of(&attention(shape, &bias, &bias).forward(&qkv).expect("shapes fit"));
    let depth = shape.heads * shape.width;
    for (place, x) in out.iter().enumerate() {
        assert_eq!(x.is_nan(), place / depth == 5 && place % depth >= shape.width, "{x} at {place}");
    }
}

#[test]
fn what_does_not_fit_is_an_error_that_says_so() {
    let problem = Problem::new(SHAPES[2], Kind::Float);
    let [qkv, bias, mask, _] = problem.tensors(Kind::Float);
    let good = attention(SHAPES[2], &bias, &mask);
    let message =
        |attention: WindowAttention<'_>, qkv: &Tensor| attention.forward(qkv).expect_err("no fit").to_string();
    assert!(message(WindowAttention { side: 4, ..good }, &qkv).contains("do not cut a grid of 6 x 9"));
    assert!(message(WindowAttention { heads: 4, ..good }, &qkv).contains("of 4 heads"));
    assert!(message(WindowAttention { bias: &mask, ..good }, &qkv).contains("biases of shape [6, 9, 9]"));
    assert!(message(WindowAttention { mask: Some(&bias), ..good }, &qkv).contains("masks of shape [2, 9, 9]"));
    assert!(message(good, &qkv.to_kind(Kind::Int64)).contains("no attention in Long"));
    assert!(message(good, &Tensor::zeros([2, 3], (Kind::Float, Device::Cpu))).contains("do not have q, k and v"));
}
