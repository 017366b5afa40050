//! Images that come as bytes, in one pass to what a network reads: normalized, erased, mixed, cut
//! into patches and rounded, on a GPU.
//!
//! The numbers are those that the loader delivers as floats, mixed by libtorch's operations and
//! rounded, bit for bit.

use std::ffi::c_int;
use std::ptr;

use tch::{Kind, Tensor};

use crate::error::check;
use crate::{KernelError, ffi};

/// Bytes of images, and what is to be done with them. Tensors are contiguous and on one device.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// `(N, H, W, 3)` bytes.
    pub bytes: &'a Tensor,
    /// `(N)` whole numbers: an image with a negative label was left out, and becomes zeros.
    pub labels: &'a Tensor,
    /// What bytes of each channel are multiplied by.
    pub scale: [f32; 3],
    /// What is added to that; the product is rounded before.
    pub shift: [f32; 3],
    /// What is erased afterwards.
    pub erasing: Option<Erasing<'a>>,
    /// How images are mixed after that.
    pub mixing: Option<Mixing<'a>>,
}

/// Erased rectangles, each of which covers those before it.
#[derive(Clone, Copy, Debug)]
pub struct Erasing<'a> {
    /// `(N, R, 9)` 32-bit whole numbers: up to R records an image, the one behind its last with a
    /// height of 0. A record is the key of a stream of Philox4x32-10 (4 words), top, left, height,
    /// width, and how many of the stream's numbers come before its first.
    pub rectangles: &'a Tensor,
    /// What stands in a rectangle.
    pub fill: Fill,
    /// `(4096)` f32: the sizes of normal numbers. Bits 0 to 11 of a number of the stream choose
    /// one, bit 12 its sign.
    pub half_normal: &'a Tensor,
}

/// What stands in an erased rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Fill {
    /// 0.
    Zero = 0,
    /// One normal number a channel: one number of the stream each.
    Color = 1,
    /// One normal number for each pixel and channel: each number of the stream gives two that lie
    /// side by side in a row, its lower half the first.
    Noise = 2,
}

/// How images are mixed with one another: `own · image + (1 − own) · partner` outside of a box, the
/// partner's pixels in it. The partner's product is rounded, the own one and the sum are rounded
/// once (fused multiply-add), as libtorch's `addcmul` does.
#[derive(Clone, Copy, Debug)]
pub struct Mixing<'a> {
    /// `(N)` whole numbers below N: the place of each image's partner.
    pub partners: &'a Tensor,
    /// `(N)` f64: the weight of each image's own pixels.
    pub own: &'a Tensor,
    /// `(4, N)` whole numbers: top, bottom, left and right of the boxes.
    pub boxes: Option<&'a Tensor>,
}

impl Input<'_> {
    /// Whole images, `(N, 3, H, W)`, in `kind`: f32, bf16, f16 or f64.
    ///
    /// # Errors
    /// When there is no kernel for the device (see [`has_kernel`]), or shapes, kinds or devices do
    /// not fit.
    pub fn whole(&self, kind: Kind) -> Result<Tensor, KernelError> {
        let (images, rows, columns) = self.sizes()?;
        Ok(self.prepared([rows, columns], kind)?.view([images, 3, rows, columns]))
    }

    /// Patches of `side` × `side` pixels, row after row, `(N, L, 3·side·side)`, in `kind`: channels
    /// of a patch one after the other.
    ///
    /// # Errors
    /// As [`Input::whole`], and when `side` does not divide the images' sides.
    pub fn patches(&self, side: i64, kind: Kind) -> Result<Tensor, KernelError> {
        let (images, ..) = self.sizes()?;
        let patches = self.prepared([side; 2], kind)?;
        Ok(patches.view([images, patches.size()[1], 3 * side * side]))
    }

    fn sizes(&self) -> Result<(i64, i64, i64), KernelError> {
        let size = self.bytes.size();
        let [images, rows, columns, 3] = size[..] else {
            return Err(failed(format!("images are (N, H, W, 3), and not {size:?}")));
        };
        Ok((images, rows, columns))
    }

    /// `(N, L, 3, rows, columns)`.
    fn prepared(&self, [patch_rows, patch_columns]: [i64; 2], kind: Kind) -> Result<Tensor, KernelError> {
        let pointer = |tensor: Option<&Tensor>| tensor.map_or(ptr::null(), |tensor| tensor.as_ptr().cast());
        let arguments = ffi::InputArguments {
            bytes: pointer(Some(self.bytes)),
            labels: pointer(Some(self.labels)),
            erasures: pointer(self.erasing.map(|erasing| erasing.rectangles)),
            half_normal: pointer(self.erasing.map(|erasing| erasing.half_normal)),
            partners: pointer(self.mixing.map(|mixing| mixing.partners)),
            own: pointer(self.mixing.map(|mixing| mixing.own)),
            boxes: pointer(self.mixing.and_then(|mixing| mixing.boxes)),
            scale: self.scale,
            shift: self.shift,
            erase_mode: self.erasing.map_or(Fill::Zero, |erasing| erasing.fill) as c_int,
            patch_rows,
            patch_columns,
        };
        let kind = match kind {
            Kind::Half => 5,
            Kind::Float => 6,
            Kind::Double => 7,
            Kind::BFloat16 => 15,
            other => return Err(failed(format!("there are none in {other:?}"))),
        };
        let mut out = ptr::null_mut();
        // SAFETY: all pointers are null or those of live tensors, and `out` is written before null
        // is answered.
        check(WHAT, unsafe { ffi::rectify_prepare_images(&arguments, kind, &mut out) })?;
        // SAFETY: the shim made this tensor with `new`, as tch makes its own, and nobody else has
        // it.
        Ok(unsafe { Tensor::from_ptr(out.cast()) })
    }
}

/// Columns of the widest images that the kernel prepares.
pub const MOST_COLUMNS: i64 = 16384 / 3;

/// Whether [`Input`] can be prepared by the kernel: on a GPU, unless images are wider than
/// [`MOST_COLUMNS`].
pub fn has_kernel(bytes: &Tensor) -> bool {
    // SAFETY: the tensor lives.
    bytes.size()[2] <= MOST_COLUMNS && unsafe { ffi::rectify_by_kernels(bytes.as_ptr().cast()) }
}

const WHAT: &str = "images as a network reads them";

fn failed(message: String) -> KernelError {
    KernelError { what: WHAT, message }
}
