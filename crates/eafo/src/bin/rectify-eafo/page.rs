//! A page of panels as SVG, and the same rendered as PNG.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use plotters::prelude::*;
use resvg::{tiny_skia, usvg};

use crate::panel::{INK, Panel};

/// A heading over rows of panels.
pub struct Page {
    /// The heading.
    pub heading: String,
    /// Panels from left to right, then down.
    pub panels: Vec<Panel>,
    /// Panels in a row.
    pub columns: usize,
    /// Width and height of a panel, in pixels.
    pub panel_size: (u32, u32),
}

/// Height of the heading, with its margins.
const TOP: u32 = 46;

impl Page {
    /// The page as SVG.
    pub fn svg(&self) -> anyhow::Result<String> {
        let columns = self.columns.max(1);
        let rows = self.panels.len().div_ceil(columns).max(1);
        let (width, height) = self.panel_size;
        let size = (width * columns as u32, height * rows as u32 + TOP);
        let mut picture = String::new();
        {
            let area = SVGBackend::with_string(&mut picture, size).into_drawing_area();
            let failed = |error: DrawingAreaErrorKind<std::io::Error>| anyhow!("cannot draw: {error}");
            area.fill(&WHITE).map_err(failed)?;
            let (top, body) = area.split_vertically(TOP);
            top.draw(&Text::new(self.heading.as_str(), (14, 14), ("sans-serif", 19).into_font().color(&INK)))
                .map_err(failed)?;
            for (part, panel) in body.split_evenly((rows, columns)).iter().zip(&self.panels) {
                panel.draw(part).map_err(failed)?;
            }
            area.present().map_err(failed)?;
        }
        Ok(picture)
    }

    /// Writes `NAME.svg` and `NAME.png` into a folder.
    pub fn write(&self, folder: &Path, name: &str) -> anyhow::Result<()> {
        let svg = self.svg()?;
        let path = |extension: &str| folder.join(format!("{name}.{extension}"));
        std::fs::write(path("svg"), &svg).with_context(|| format!("cannot write {}", path("svg").display()))?;
        std::fs::write(path("png"), png(&svg)?).with_context(|| format!("cannot write {}", path("png").display()))
    }
}

/// An SVG rendered with the font that comes with this binary.
fn png(svg: &str) -> anyhow::Result<Vec<u8>> {
    let mut fonts = usvg::fontdb::Database::new();
    fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    // It has the letters that the first lacks.
    fonts.load_font_data(epaint_default_fonts::HACK_REGULAR.to_vec());
    let family = fonts.faces().next().map(|face| face.families[0].0.clone()).context("the font has no name")?;
    fonts.set_sans_serif_family(family);
    let options = usvg::Options { fontdb: Arc::new(fonts), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options).context("the plot is no SVG")?;
    let size = tree.size().to_int_size();
    let mut pixels = tiny_skia::Pixmap::new(size.width(), size.height()).context("the plot has no size")?;
    resvg::render(&tree, tiny_skia::Transform::identity(), &mut pixels.as_mut());
    pixels.encode_png().context("the plot cannot be encoded")
}
