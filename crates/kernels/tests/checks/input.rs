//! Images prepared by the kernel against plain Rust, bit for bit: odd sizes and patches, erased
//! rectangles, mixing, images left out.

use kernels::input::{Erasing, Fill, Input, MOST_COLUMNS, Mixing, has_kernel};
use random::Key;
use tch::{Kind, Tensor};

const SCALE: [f32; 3] = [1.0 / (255.0 * 0.229), 1.0 / (255.0 * 0.224), 1.0 / (255.0 * 0.225)];
const SHIFT: [f32; 3] = [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225];
const KINDS: [Kind; 4] = [Kind::Float, Kind::BFloat16, Kind::Half, Kind::Double];

/// Images, their rows and columns, and the side of patches; 0 leaves them whole. Blocks that have
/// several rows of patches, one, a part of one; patches whose rows do not fill 16 bytes; images
/// that begin anywhere.
const SHAPES: [[usize; 4]; 13] = [
    [5, 32, 32, 16],
    [3, 224, 224, 16],
    [3, 28, 28, 14],
    [2, 42, 70, 14],
    [4, 20, 12, 4],
    [2, 224, 448, 32],
    [2, 16, 1008, 16],
    [3, 5, 7, 1],
    [3, 17, 33, 0],
    [2, 64, 64, 0],
    [2, 131, 127, 0],
    [1, 3, 5461, 0],
    [0, 8, 8, 4],
];

/// An erased rectangle: top, left, height, width.
type Rectangle = [i32; 4];

/// All that is done with some images, as plain numbers.
struct Case {
    images: usize,
    rows: usize,
    columns: usize,
    bytes: Vec<u8>,
    labels: Vec<i64>,
    /// Of each image, with the key of their numbers and how many come before the first.
    rectangles: Vec<Vec<(Rectangle, Key, u32)>>,
    fill: Fill,
    half_normal: Vec<f32>,
    partners: Vec<i64>,
    own: Vec<f64>,
    /// Top, bottom, left, right.
    boxes: Vec<[i64; 4]>,
    erases: bool,
    mixes: bool,
    pastes: bool,
}

impl Case {
    fn new([images, rows, columns, _]: [usize; 4], fill: Fill, [erases, mixes, pastes]: [bool; 3]) -> Case {
        let mut rng = Key::root(21).child((rows * columns) as u64).rng();
        let mut below = |bound: usize| rng.below(bound as u64) as usize;
        let bytes = (0..images * rows * columns * 3).map(|_| below(256) as u8).collect();
        let labels = (0..images).map(|image| if image == 1 { -1 } else { image as i64 }).collect();
        let mut side = |whole: usize| {
            let length = 1 + below(whole);
            [below(whole - length + 1), length].map(|length| length as i32)
        };
        let mut rectangle = |image: usize, place: usize| {
            let ([top, height], [left, width]) = (side(rows), side(columns));
            ([top, left, height, width], Key::root(image as u64), (1_000_003 * place + image) as u32)
        };
        // None, one, two and three of them, which overlap.
        let rectangles =
            (0..images).map(|image| (0..image % 4).map(|place| rectangle(image, place)).collect()).collect();
        let boxes = (0..images).map(|image| {
            let ([top, height], [left, width]) = (side(rows), side(columns));
            let [top, left, height, width] = [top, left, height, width].map(i64::from);
            // The second image has none, the third one that is empty.
            if image == 1 { [0; 4] } else { [top, top + height * i64::from(image != 2), left, left + width] }
        });
        let boxes: Vec<[i64; 4]> = boxes.collect();
        Case {
            images,
            rows,
            columns,
            bytes,
            labels,
            rectangles,
            fill,
            half_normal: (0..4096).map(|size| (size as f32 + 0.5) / 1000.0).collect(),
            partners: (0..images as i64).rev().collect(),
            own: (0..images).map(|image| [0.3, 1.0, 0.71, 1.0, 0.0][image % 5]).collect(),
            boxes,
            erases,
            mixes,
            pastes,
        }
    }

    /// What the kernel makes of it.
    fn found(&self, patch: usize, kind: Kind) -> Result<Tensor, kernels::KernelError> {
        let device = crate::device();
        let (images, rows, columns) = (self.images as i64, self.rows as i64, self.columns as i64);
        // The first image lies behind one byte of something else.
        let bytes = Tensor::from_slice(&[&[7], &self.bytes[..]].concat()).to_device(device);
        let bytes = bytes.narrow(0, 1, self.bytes.len() as i64).view([images, rows, columns, 3]);
        let words: Vec<i32> = self.rectangles.iter().flat_map(|rectangles| words(rectangles)).collect();
        let words = Tensor::from_slice(&words).view([images, 3, 9]).to_device(device);
        let sent = |numbers: Tensor| numbers.to_device(device);
        let boxes: Vec<i64> = (0..4).flat_map(|edge| self.boxes.iter().map(move |edges| edges[edge])).collect();
        let boxes = sent(Tensor::from_slice(&boxes).view([4, images]));
        let (labels, half_normal) =
            (sent(Tensor::from_slice(&self.labels)), sent(Tensor::from_slice(&self.half_normal)));
        let (partners, own) = (sent(Tensor::from_slice(&self.partners)), sent(Tensor::from_slice(&self.own)));
        let erasing = Erasing { rectangles: &words, fill: self.fill, half_normal: &half_normal };
        let mixing = Mixing { partners: &partners, own: &own, boxes: self.pastes.then_some(&boxes) };
        let input = Input {
            bytes: &bytes,
            labels: &labels,
            scale: SCALE,
            shift: SHIFT,
            erasing: self.erases.then_some(erasing),
            mixing: self.mixes.then_some(mixing),
        };
        if patch == 0 { input.whole(kind) } else { input.patches(patch as i64, kind) }
    }

    /// Images (N, 3, H, W) before they are mixed.
    fn unmixed(&self) -> Vec<Vec<f32>> {
        let area = self.rows * self.columns;
        let image = |image: usize| {
            let mut values = vec![0.0; 3 * area];
            if self.labels[image] < 0 {
                return values;
            }
            for (place, value) in values.iter_mut().enumerate() {
                let (channel, pixel) = (place / area, place % area);
                let level = f32::from(self.bytes[(image * area + pixel) * 3 + channel]);
                *value = level * SCALE[channel] + SHIFT[channel];
            }
            for &(rectangle, key, before) in self.rectangles[image].iter().filter(|_| self.erases) {
                self.erase(&mut values, rectangle, key, before);
            }
            values
        };
        (0..self.images).map(image).collect()
    }

    fn erase(&self, values: &mut [f32], rectangle: Rectangle, key: Key, before: u32) {
        let [top, left, height, width] = rectangle.map(|length| length as usize);
        let mut rng = key.rng();
        rng.skip(before.into());
        let normal = |bits: u32| {
            let size = self.half_normal[bits as usize % 4096];
            if bits >> 12 & 1 == 0 { size } else { -size }
        };
        for channel in 0..3 {
            let color = if self.fill == Fill::Color { normal(rng.next_u32()) } else { 0.0 };
            for row in top..top + height {
                let row = &mut values[(channel * self.rows + row) * self.columns + left..][..width];
                for pair in row.chunks_mut(2) {
                    let bits = if self.fill == Fill::Noise { rng.next_u32() } else { 0 };
                    for (value, bits) in pair.iter_mut().zip([bits, bits >> 16]) {
                        *value = if self.fill == Fill::Noise { normal(bits) } else { color };
                    }
                }
            }
        }
    }

    /// What it should make of it.
    fn expected(&self, patch: usize, kind: Kind) -> Tensor {
        let unmixed = self.unmixed();
        let mixed = |(image, values): (usize, &Vec<f32>)| -> Vec<f32> {
            let (own, edges) = (self.own[image] as f32, self.boxes[image]);
            let value = |(place, (&value, &other)): (usize, (&f32, &f32))| {
                let (row, column) = ((place / self.columns % self.rows) as i64, (place % self.columns) as i64);
                let inside = (edges[0]..edges[1]).contains(&row) && (edges[2]..edges[3]).contains(&column);
                if self.pastes && inside { other } else { value.mul_add(own, other * (1.0 - own)) }
            };
            values.iter().zip(&unmixed[self.partners[image] as usize]).enumerate().map(value).collect()
        };
        let all: Vec<f32> = match self.mixes {
            true => unmixed.iter().enumerate().flat_map(mixed).collect(),
            false => unmixed.concat(),
        };
        let [images, rows, columns, side] = [self.images, self.rows, self.columns, patch].map(|size| size as i64);
        let all = Tensor::from_slice(&all).view([images, 3, rows, columns]).to_kind(kind);
        if patch == 0 {
            return all;
        }
        let grid = [rows / side, columns / side];
        let cut = all.view([images, 3, grid[0], side, grid[1], side]).permute([0, 2, 4, 1, 3, 5]);
        cut.reshape([images, grid[0] * grid[1], 3 * side * side])
    }
}

/// The records of an image's rectangles: room for three.
fn words(rectangles: &[(Rectangle, Key, u32)]) -> [i32; 27] {
    let mut words = [0; 27];
    for (record, (rectangle, key, before)) in words.chunks_mut(9).zip(rectangles) {
        record[..4].copy_from_slice(&key.words().map(u32::cast_signed));
        record[4..8].copy_from_slice(rectangle);
        record[8] = before.cast_signed();
    }
    words
}

/// Whether there is a kernel where this runs. Where there is none, the answer is an error that says
/// so.
fn is_there() -> bool {
    let there = has_kernel(&Tensor::zeros([1, 4, 4, 3], (Kind::Uint8, crate::device())));
    if !there {
        let error = Case::new([1, 4, 4, 0], Fill::Zero, [false; 3]).found(0, Kind::Float).expect_err("no kernel");
        assert!(error.to_string().contains("no kernel for images on"), "{error}");
    }
    there
}

#[test]
fn prepared_images_are_those_of_the_formulas_to_the_bit() {
    if !is_there() {
        return;
    }
    for shape in SHAPES {
        for (fill, parts) in [
            (Fill::Zero, [false, false, false]),
            (Fill::Zero, [true, false, false]),
            (Fill::Color, [true, true, false]),
            (Fill::Noise, [true, false, false]),
            (Fill::Noise, [true, true, true]),
            (Fill::Noise, [false, true, true]),
        ] {
            let case = Case::new(shape, fill, parts);
            for kind in KINDS {
                let found = case.found(shape[3], kind).expect("fits").to_device(tch::Device::Cpu);
                let expected = case.expected(shape[3], kind);
                let what = format!("{shape:?}, {kind:?}, {fill:?}, erased, mixed, pasted: {parts:?}");
                assert_eq!((found.kind(), found.size()), (kind, expected.size()), "{what}");
                assert!(found.equal(&expected), "{what}: {:?}", (&found - &expected).abs().max());
            }
        }
    }
}

#[test]
fn images_that_do_not_fit_are_an_error() {
    if !is_there() {
        return;
    }
    let case = |shape: [usize; 4]| Case::new(shape, Fill::Noise, [true; 3]);
    let fails = |case: &Case, patch: usize, kind: Kind, words: &str| {
        let error = case.found(patch, kind).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    };
    fails(&case([2, 32, 30, 16]), 16, Kind::Float, "do not cut up images of 32 x 30");
    fails(&case([2, 32, 32, 16]), 16, Kind::Int64, "Int64");
    fails(&case([1, 1, 1 + MOST_COLUMNS as usize, 0]), 0, Kind::Float, "wider than");
    let wide = |columns: i64| Tensor::zeros([1, 1, columns, 3], (Kind::Uint8, crate::device()));
    assert_eq!([MOST_COLUMNS, 1 + MOST_COLUMNS].map(|columns| has_kernel(&wide(columns))), [true, false]);
    fails(&Case { labels: vec![0; 3], ..case([2, 8, 8, 0]) }, 0, Kind::Float, "labels are");
    fails(&Case { partners: vec![0; 3], ..case([2, 8, 8, 0]) }, 0, Kind::Float, "partners are");
    fails(&Case { half_normal: vec![0.0; 8], ..case([2, 8, 8, 0]) }, 0, Kind::Float, "normal numbers are");
}
