//! A contact sheet of what a model sees, through the loader itself: `rectify-data show`.

use font8x8::UnicodeFonts;
use image::{Rgb, RgbImage};

use crate::{DataError, LoaderSpec, LoaderStats, Pixels, Source, with_batches};

/// Tiles of a row.
pub const COLUMNS: usize = 8;
/// Pixels between tiles, and around all.
pub const GAP: u32 = 4;
/// A tile's picture has at least so many pixels a side: smaller ones are magnified by a whole number.
const SMALLEST_SIDE: u32 = 96;
/// Pixels of a side of a letter, before it is magnified.
const LETTER: u32 = 8;
const PAPER: Rgb<u8> = Rgb([24, 24, 27]);
const INK: Rgb<u8> = Rgb([228, 228, 231]);

/// A drawn sheet.
pub struct Sheet {
    /// Its pixels.
    pub image: RgbImage,
    /// How many samples it shows: fewer than were asked for where the order ends before.
    pub images: usize,
    /// How many bad images were met, and replaced or left out.
    pub bad: u64,
}

/// Where things are on a sheet, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// By how much pictures are magnified.
    pub zoom: u32,
    /// The side of a picture, magnified.
    pub side: u32,
    /// By how much letters are magnified.
    pub letter_zoom: u32,
}

impl Layout {
    /// For pictures of `size` × `size` pixels.
    pub fn of(size: u32) -> Layout {
        let zoom = SMALLEST_SIDE.div_ceil(size).max(1);
        let side = size * zoom;
        Layout { zoom, side, letter_zoom: (side / 160).clamp(1, 3) }
    }

    /// Width and height of a sheet of `tiles`.
    pub fn sheet(self, tiles: usize) -> (u32, u32) {
        let rows = tiles.div_ceil(COLUMNS) as u32;
        (tiles.clamp(1, COLUMNS) as u32 * (self.side + GAP) + GAP, rows * (self.side + self.caption() + GAP) + GAP)
    }

    /// The left upper corner of tile `place`.
    pub fn corner(self, place: usize) -> (u32, u32) {
        let (row, column) = ((place / COLUMNS) as u32, (place % COLUMNS) as u32);
        (GAP + column * (self.side + GAP), GAP + row * (self.side + self.caption() + GAP))
    }

    fn caption(self) -> u32 {
        (LETTER + 3) * self.letter_zoom
    }
}

/// Draws the first `images` samples that a loader of `spec` delivers, eight a row, each above the name of its class.
///
/// # Errors
/// When the loader fails.
pub fn draw(source: &dyn Source, spec: &LoaderSpec, images: usize) -> Result<Sheet, DataError> {
    let size = spec.transform.size;
    let layout = Layout::of(size);
    let memory = vec![vec![0.0f32; spec.batch_bytes().div_ceil(size_of::<f32>())]; 2];
    let stats = LoaderStats::new();
    let tiles = with_batches(source, spec, memory, &stats, |batches| {
        let mut tiles: Vec<(RgbImage, i64)> = Vec::new();
        while tiles.len() < images {
            let Some(lease) = batches.next()? else { break };
            let bytes: &[u8] = bytemuck::cast_slice(&lease[..]);
            let pictures = bytes.chunks_exact(spec.transform.image_bytes());
            let wanted = images - tiles.len();
            tiles.extend(
                pictures
                    .zip(lease.labels())
                    .take(wanted)
                    .map(|(picture, &label)| (to_picture(picture, &spec.transform.pixels, size), label)),
            );
        }
        Ok::<_, DataError>(tiles)
    })??;
    let (width, height) = layout.sheet(tiles.len());
    let mut image = RgbImage::from_pixel(width, height, PAPER);
    for (place, (picture, label)) in tiles.iter().enumerate() {
        // A bad image that the config leaves out is black, and of no class.
        let class = usize::try_from(*label).ok().and_then(|label| source.classes().get(label));
        draw_tile(&mut image, layout, place, picture, class.map_or("left out", String::as_str));
    }
    Ok(Sheet { image, images: tiles.len(), bad: stats.bad_total() })
}

/// One image of a batch, its normalisation undone.
fn to_picture(bytes: &[u8], pixels: &Pixels, size: u32) -> RgbImage {
    let Pixels::F32 { mean, std } = pixels else {
        return RgbImage::from_raw(size, size, bytes.to_vec()).expect("an image of a batch of bytes");
    };
    let plane = size as usize * size as usize;
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(bytes); // (3, H, W)
    RgbImage::from_fn(size, size, |x, y| {
        let place = y as usize * size as usize + x as usize;
        let level = |channel: usize| (values[channel * plane + place] * std[channel] + mean[channel]) * 255.0;
        Rgb([0, 1, 2].map(|channel| level(channel).round().clamp(0.0, 255.0) as u8))
    })
}

fn draw_tile(sheet: &mut RgbImage, layout: Layout, place: usize, picture: &RgbImage, class: &str) {
    let (left, top) = layout.corner(place);
    for y in 0..layout.side {
        for x in 0..layout.side {
            sheet.put_pixel(left + x, top + y, *picture.get_pixel(x / layout.zoom, y / layout.zoom));
        }
    }
    let room = (layout.side / (LETTER * layout.letter_zoom)) as usize;
    for (column, letter) in class.chars().take(room).enumerate() {
        let left = left + column as u32 * LETTER * layout.letter_zoom;
        draw_letter(sheet, layout, letter, left, top + layout.side + 2 * layout.letter_zoom);
    }
}

fn draw_letter(sheet: &mut RgbImage, layout: Layout, letter: char, left: u32, top: u32) {
    let known = font8x8::BASIC_FONTS.get(letter).or_else(|| font8x8::LATIN_FONTS.get(letter));
    let rows = known.or_else(|| font8x8::BASIC_FONTS.get('?')).unwrap_or_default();
    let zoom = layout.letter_zoom;
    for (y, row) in (0..LETTER * zoom).map(|y| (y, rows[(y / zoom) as usize])) {
        for x in (0..LETTER * zoom).filter(|x| row >> (x / zoom) & 1 == 1) {
            sheet.put_pixel(left + x, top + y, INK);
        }
    }
}
