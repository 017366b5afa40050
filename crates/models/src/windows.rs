//! Attention within windows: how an image's tokens are cut into them, and what each adds by relative position.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::declaration::{Constant, Declarations, Role, Slot};
use crate::layers::{Linear, WEIGHT, first};
use crate::parameters::Parameters;

/// What is added to the score of two tokens of a window that lie in different parts of the image, as in timm.
const MASKED: f64 = -100.0;

/// How the tokens of an image are cut into windows.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Rows and columns of a window.
    pub side: i64,
    /// By how many rows and columns the image is rolled up and left before it is cut.
    pub shift: i64,
}

impl Windows {
    /// `(N, H, W, D)` to `(N, windows, side², D)`. Where windows do not divide the image, zeros follow its rows and columns.
    pub fn cut(self, x: &Tensor) -> Tensor {
        let (n, rows, columns, width) = x.size4().expect("(N, H, W, D)");
        let rolled = self.roll(x, -self.shift);
        let [tall, wide] = self.padded([rows, columns]);
        let padded = match [tall - rows, wide - columns] {
            [0, 0] => rolled,
            [below, right] => rolled.constant_pad_nd([0, 0, 0, right, 0, below]),
        };
        let bands = padded.reshape([n, tall / self.side, self.side, wide / self.side, self.side, width]);
        bands.transpose(2, 3).reshape([n, -1, self.side * self.side, width])
    }

    /// The inverse of [`Windows::cut`] for an image of that many rows and columns.
    pub fn join(self, windows: &Tensor, [rows, columns]: [i64; 2]) -> Tensor {
        let (n, _, _, width) = windows.size4().expect("(N, windows, side², D)");
        let [tall, wide] = self.padded([rows, columns]);
        let bands = windows.view([n, tall / self.side, wide / self.side, self.side, self.side, width]);
        let padded = bands.transpose(2, 3).reshape([n, tall, wide, width]);
        self.roll(&first(&first(&padded, 1, rows), 2, columns), self.shift)
    }

    /// What keeps tokens apart that only rolling has brought into one window: `(windows, side², side²)` of 0 and −100, in
    /// f64 on the host; none where nothing is rolled.
    pub fn mask(self, grid: [i64; 2]) -> Option<Tensor> {
        if self.shift == 0 {
            return None;
        }
        let [tall, wide] = self.padded(grid);
        // Of the rows (and columns) those of whole windows, those before the roll's seam, and those behind it.
        let part = |place: i64, all: i64| i64::from(place >= all - self.side) + i64::from(place >= all - self.shift);
        let parts: Vec<i64> = (0..tall * wide).map(|i| 3 * part(i / wide, tall) + part(i % wide, wide)).collect();
        let whole = Windows { shift: 0, ..self };
        let parts = whole.cut(&Tensor::from_slice(&parts).view([1, tall, wide, 1])).squeeze_dim(0); // (windows, side², 1)
        Some(parts.ne_tensor(&parts.transpose(1, 2)).to_kind(Kind::Double) * MASKED)
    }

    fn padded(self, grid: [i64; 2]) -> [i64; 2] {
        grid.map(|places| (places + self.side - 1) / self.side * self.side)
    }

    fn roll(self, x: &Tensor, by: i64) -> Tensor {
        if by == 0 { x.shallow_clone() } else { x.roll([by, by], [1, 2]) }
    }
}

/// Multi-head self-attention within windows, with learned biases by relative position.
pub struct WindowAttention {
    windows: Windows,
    heads: i64,
    table: Slot, // ((2·side − 1)², H)
    qkv: Linear,
    proj: Linear,
    offsets: Constant, // (side², 2·side − 1)
    grid: i64,         // rows and columns of tokens that the mask is for
    mask: Option<Constant>,
    /// Masks of other grids, each made when it is first needed.
    masks: Mutex<HashMap<[i64; 2], Option<Tensor>>>,
}

impl WindowAttention {
    /// Declares `name.relative_position_bias_table`, `name.qkv` and `name.proj`, for images of `grid` × `grid` tokens;
    /// `heads` divides `width`.
    pub fn declare(
        declarations: &mut Declarations<'_>,
        name: &str,
        [width, heads]: [i64; 2],
        grid: i64,
        windows: Windows,
    ) -> WindowAttention {
        let positions = 2 * windows.side - 1;
        let table = format!("{name}.relative_position_bias_table");
        let mask = windows.mask([grid, grid]);
        WindowAttention {
            windows,
            heads,
            table: declarations.add(table, &[positions * positions, heads], WEIGHT, Role::Token),
            qkv: Linear::declare(declarations, &format!("{name}.qkv"), width, 3 * width),
            proj: Linear::declare(declarations, &format!("{name}.proj"), width, width),
            offsets: declarations.constant(offsets(windows.side)),
            grid,
            mask: mask.map(|mask| declarations.constant(mask)),
            masks: Mutex::default(),
        }
    }

    /// `(N, H, W, D)` to the same.
    pub fn forward(&self, parameters: &Parameters, x: &Tensor) -> Tensor {
        let grid = [x.size()[1], x.size()[2]];
        let fits = self.windows.padded(grid) == grid;
        if fits && x.device() == Device::Cpu { self.in_place(parameters, x) } else { self.in_windows(parameters, x) }
    }

    /// By the kernel, which reads and writes the tokens where they lie in the grid.
    fn in_place(&self, parameters: &Parameters, x: &Tensor) -> Tensor {
        let (_, rows, columns, _) = x.size4().expect("(N, H, W, D)");
        let qkv = self.qkv.forward(parameters, x);
        let (bias, mask) = (self.biases(parameters), self.mask(parameters, [rows, columns]));
        let Windows { side, shift } = self.windows;
        let attention =
            kernels::attention::WindowAttention { heads: self.heads, side, shift, bias: &bias, mask: mask.as_ref() };
        let mixed = attention.forward(&qkv).expect("kinds, shapes and devices of a model fit");
        self.proj.forward(parameters, &mixed)
    }

    /// By libtorch's operations, on copies of the windows.
    fn in_windows(&self, parameters: &Parameters, x: &Tensor) -> Tensor {
        let (n, rows, columns, width) = x.size4().expect("(N, H, W, D)");
        let cut = self.windows.cut(x); // (N, windows, side², D)
        let (windows, area) = (cut.size()[1], cut.size()[2]);
        let parts = self.qkv.forward(parameters, &cut).split(width, -1);
        let bias = self.biases(parameters).unsqueeze(0); // (1, heads, side², side²)
        let heads = |part: &Tensor| part.view([n, windows, area, self.heads, width / self.heads]).transpose(2, 3);
        let (bias, batch) = match self.mask(parameters, [rows, columns]) {
            None => (bias, [n * windows, self.heads]),
            // What windows and heads have in common need not be repeated for each image.
            Some(mask) => {
                let bias = (bias + mask.unsqueeze(1)).view([1, windows * self.heads, area, area]);
                (bias, [n, windows * self.heads])
            }
        };
        let [query, key, value] =
            [0, 1, 2].map(|part| heads(&parts[part]).reshape([batch[0], batch[1], area, width / self.heads]));
        let mixed = Tensor::scaled_dot_product_attention(
            &query,
            &key,
            &value,
            Some(&bias.to_kind(query.kind())),
            0.0,
            false,
            None::<f64>,
            false,
        );
        let mixed = mixed.view([n, windows, self.heads, area, width / self.heads]).transpose(2, 3);
        let projected = self.proj.forward(parameters, &mixed.reshape([n, windows, area, width]));
        self.windows.join(&projected, [rows, columns])
    }

    /// The biases of all pairs of tokens of a window, `(heads, side², side²)`.
    ///
    /// A pair's bias is found by its rows and then by its columns, each time by a product with ones and zeros: its gradient
    /// is one as well, and adds in the same order every time.
    fn biases(&self, parameters: &Parameters) -> Tensor {
        let side = self.windows.side;
        let (positions, offsets) = (2 * side - 1, parameters.constant(self.offsets));
        let table = parameters.tensor(self.table).view([positions, positions * self.heads]);
        let by_rows = offsets.matmul(&table).view([side * side, positions, self.heads]);
        let pairs = offsets.matmul(&by_rows).view([side, side, side, side, self.heads]); // rows, then columns
        pairs.permute([4, 0, 2, 1, 3]).reshape([self.heads, side * side, side * side])
    }

    /// That of the model's own grid was made with the model; another is made here, once.
    fn mask(&self, parameters: &Parameters, grid: [i64; 2]) -> Option<Tensor> {
        if grid == [self.grid; 2] {
            return self.mask.map(|mask| parameters.constant(mask).shallow_clone());
        }
        let like = parameters.tensor(self.table);
        let made = || self.windows.mask(grid).map(|mask| mask.to_device(like.device()).to_kind(like.kind()));
        let mut masks = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        masks.entry(grid).or_insert_with(made).as_ref().map(Tensor::shallow_clone)
    }
}

/// `(side², 2·side − 1)`: for each pair of places a 1 where their distance is, from 1 − side to side − 1.
fn offsets(side: i64) -> Tensor {
    let places = Tensor::arange(side, (Kind::Int64, Device::Cpu));
    let distances = (places.unsqueeze(1) - places.unsqueeze(0) + (side - 1)).flatten(0, 1);
    distances.one_hot(2 * side - 1).to_kind(Kind::Double)
}

#[cfg(test)]
mod tests {
    use plan::config::DecayRule;
    use random::Key;

    use super::*;

    #[test]
    fn joining_undoes_cutting() {
        let x = Tensor::arange(2 * 5 * 7 * 3, (Kind::Float, Device::Cpu)).view([2, 5, 7, 3]);
        for (side, shift, windows) in [(7, 0, 1), (5, 2, 2), (3, 1, 6), (2, 0, 12)] {
            let cut = Windows { side, shift }.cut(&x);
            assert_eq!(cut.size(), [2, windows, side * side, 3]);
            assert_eq!(Windows { side, shift }.join(&cut, [5, 7]), x, "{side}, {shift}");
        }
    }

    /// A GPU, and a grid that windows do not divide, go by copies of the windows.
    #[test]
    fn the_kernel_attends_as_copies_of_the_windows_do() {
        let spec = plan::models::find("swin_tiny_patch4_window7_224").expect("a model of the table");
        for (shift, [rows, columns]) in [(0, [4, 4]), (1, [6, 6]), (1, [4, 8])] {
            let windows = Windows { side: 2, shift };
            let mut declarations = Declarations::new(DecayRule::All.into(), &spec.architecture, &spec.activations);
            let attention = WindowAttention::declare(&mut declarations, "attn", [12, 3], 6, windows);
            let parameters = Parameters::allocate(&declarations, Some(Key::root(2)), Device::Cpu, Kind::Double);
            let parameters = parameters.expect("a few numbers");
            let of = |forward: &dyn Fn(&Tensor) -> Tensor| {
                parameters.zero_grads();
                tch::manual_seed(4);
                let x = Tensor::randn([2, rows, columns, 12], (Kind::Double, Device::Cpu)).set_requires_grad(true);
                let y = forward(&x);
                (&y * Tensor::randn_like(&y)).sum(Kind::Double).backward();
                let grads = parameters.iter().map(|one| one.tensor.grad().copy());
                [y.detach(), x.grad()].into_iter().chain(grads).collect::<Vec<_>>()
            };
            let kernel = of(&|x| attention.in_place(&parameters, x));
            let copies = of(&|x| attention.in_windows(&parameters, x));
            for (kernel, copies) in kernel.iter().zip(&copies) {
                let apart = (kernel - copies).abs().max().double_value(&[]);
                assert!(apart <= 1e-12 * copies.abs().max().double_value(&[]).max(1.0), "{rows} x {columns}: {apart}");
            }
        }
    }

    #[test]
    fn a_shifted_window_keeps_apart_what_was_far_apart() {
        assert!(Windows { side: 2, shift: 0 }.mask([4, 4]).is_none());
        let mask = Windows { side: 2, shift: 1 }.mask([4, 4]).expect("a mask");
        assert_eq!(mask.size(), [4, 4, 4]);
        let apart: Vec<i64> =
            (0..4).map(|window| mask.select(0, window).ne(0.0).sum(Kind::Int64).int64_value(&[])).collect();
        // Of the first window nothing; of the next two, halves; of the last every two tokens.
        assert_eq!(apart, [0, 8, 8, 12]);
        assert_eq!(mask.min().double_value(&[]), MASKED);
    }
}
