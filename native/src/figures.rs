//! Figures on disk: the SVG that the core draws, the PNG rendered from it and the data behind both.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use anaume_core::plot::Figure;
use anyhow::{Context, Result, anyhow, ensure};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, FontResolver, fontdb};

use crate::files::{is_plain, make_dir, write_atomic};

/// Pixels of the PNG per pixel of the SVG.
const PNG_SCALE: u32 = 2;
/// The only font of PNGs, whatever the machine has: it covers Japanese, so no figure shows empty boxes.
const FONT: &[u8] = include_bytes!("../../public/fonts/noto-sans-cjk-jp-subset.otf");

/// The files of one figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FigurePaths {
    /// The drawing, with text as text.
    pub svg: PathBuf,
    /// The same drawing in pixels.
    pub png: PathBuf,
    /// The points that were drawn.
    pub csv: PathBuf,
}

/// Writes `name.svg`, `name.png` and `name.csv` into `dir`, which is made where it is missing. Each file is replaced
/// whole or not at all.
///
/// # Errors
/// A figure that cannot be drawn, or a file that cannot be written, by its path.
pub fn write_figure(dir: &Path, name: &str, figure: &dyn Figure) -> Result<FigurePaths> {
    // It is that of a task, which a results file may call anything.
    ensure!(is_plain(name), "a figure cannot be called `{name}`");
    let at = |extension: &str| dir.join(format!("{name}.{extension}"));
    let paths = FigurePaths { svg: at("svg"), png: at("png"), csv: at("csv") };
    let svg = figure.to_svg()?;
    let png = render_png(&svg).with_context(|| format!("cannot render {}", paths.png.display()))?;
    make_dir(dir)?;
    write_atomic(&paths.csv, figure.to_csv().as_bytes())?;
    write_atomic(&paths.svg, svg.as_bytes())?;
    write_atomic(&paths.png, &png)?;
    Ok(paths)
}

fn render_png(svg: &str) -> Result<Vec<u8>> {
    static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(FONT.to_vec());
        Arc::new(fonts)
    });
    let only_font = FontResolver {
        select_font: Box::new(|_, fonts| fonts.faces().next().map(|face| face.id)),
        select_fallback: Box::new(|_, _, _| None),
    };
    let options = usvg::Options { fontdb: FONTS.clone(), font_resolver: only_font, ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options)?;
    let size = tree.size().to_int_size().scale_by(PNG_SCALE as f32).ok_or_else(|| anyhow!("the image is too large"))?;
    let mut pixels = Pixmap::new(size.width(), size.height()).ok_or_else(|| anyhow!("no memory for the image"))?;
    let scale = PNG_SCALE as f32;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    Ok(pixels.encode_png()?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use anaume_core::plot::{Figure, Run, loss_chart};

    use super::*;

    /// Pixels that are not white in the band of a PNG where the title stands.
    fn ink_of_title(title: &str) -> usize {
        let svg = loss_chart(title, &[]).to_svg().expect("a chart without runs is drawn");
        let png = Pixmap::decode_png(&render_png(&svg).expect("the SVG renders")).expect("the PNG decodes");
        let row_pixels = png.width() as usize;
        png.pixels()[20 * row_pixels..70 * row_pixels].iter().filter(|pixel| pixel.red() < 128).count()
    }

    #[test]
    fn japanese_text_is_drawn_as_distinct_glyphs() {
        let [one, another] = [ink_of_title("一一一一"), ink_of_title("鬱鬱鬱鬱")];
        assert!(one > 0, "four strokes leave ink");
        assert!(another > 4 * one, "鬱 has more ink than 一: {another} against {one}, else both are empty boxes");
    }

    #[test]
    fn a_figure_is_three_files_and_no_temporary_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let run = Run { training: vec![(1.0, 2.0), (2.0, 1.5)], ..Run::default() };
        let paths = write_figure(&dir.path().join("new"), "loss", &loss_chart("損失", &[run])).expect("written");
        let mut names: Vec<_> =
            fs::read_dir(dir.path().join("new")).expect("made").map(|f| f.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["loss.csv", "loss.png", "loss.svg"]);
        assert!(fs::read(&paths.png).expect("png").starts_with(b"\x89PNG"));
        assert!(fs::read_to_string(&paths.svg).expect("svg").starts_with("<svg"));
    }

    #[test]
    fn no_figure_is_written_outside_its_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let inner = dir.path().join("inner");
        let error = write_figure(&inner, "../loss", &loss_chart("損失", &[])).expect_err("a path");
        assert!(error.to_string().contains("`../loss`"), "{error:#}");
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
    }

    #[test]
    fn a_figure_that_cannot_be_written_names_its_path() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("loss.csv")).expect("a folder in the way");
        let error = write_figure(dir.path(), "loss", &loss_chart("損失", &[])).expect_err("a folder is in the way");
        assert!(format!("{error:#}").contains("loss.csv"), "{error:#}");
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1, "nothing half-written stays");
    }
}
