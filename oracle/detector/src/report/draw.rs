//! SVG plots: lines over two labelled axes, and a confusion matrix.
//!
//! Colours are those of Okabe and Ito 2008, told apart by colour-blind readers too; beyond seven lines they repeat, dashed. Text stays
//! text in the SVG. Must not: fail on a series without points.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::section::{Plot, Series};

/// Lines that one plot can tell apart; the others are left out, and the report says so.
pub const SERIES_MAX: usize = 14;

const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
const GREY: RGBColor = RGBColor(120, 120, 120);
const LIGHT_GREY: RGBColor = RGBColor(190, 190, 190);
const FONT: &str = "Helvetica, Arial, DejaVu Sans, sans-serif";
const WIDTH: u32 = 620;
const HEIGHT: u32 = 470;
/// Width of one letter of the small font, pixels, on the safe side.
const LETTER_WIDTH: u32 = 8;
/// Longest name of a series in the legend, letters.
const NAME_LETTERS_MAX: usize = 36;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Fault = Box<dyn std::error::Error>;

/// A plot as the text of an SVG file.
///
/// # Errors
/// What the drawing library says.
pub(crate) fn lines(plot: &Plot) -> Result<String, String> {
    let legend = plot.series.iter().map(|series| shortened(&series.name).chars().count()).max().unwrap_or(0) as u32;
    let mut svg = String::new();
    {
        let width = WIDTH + 60 + legend * LETTER_WIDTH;
        let root = SVGBackend::with_string(&mut svg, (width, HEIGHT)).into_drawing_area();
        draw_lines(&root, plot).and_then(|()| Ok(root.present()?)).map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME_LETTERS_MAX {
        return name.to_owned();
    }
    name.chars().take(NAME_LETTERS_MAX - 1).chain(['…']).collect()
}

fn draw_lines(root: &Area<'_>, plot: &Plot) -> Result<(), Fault> {
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(WIDTH);
    let bands = || plot.series.iter().filter_map(|series| series.band.as_ref()).flatten();
    let points = || plot.series.iter().flat_map(|series| &series.points);
    let x = plot.x.range.unwrap_or_else(|| extent(points().map(|point| point.0)));
    let ys = points().map(|point| point.1).chain(bands().flat_map(|band| [band.0, band.1]));
    let y = plot.y.range.unwrap_or_else(|| extent(ys));
    let mut chart = ChartBuilder::on(&left)
        .margin(14)
        .margin_right(24)
        .caption(&plot.heading, (FONT, 18))
        .x_label_area_size(50)
        .y_label_area_size(66)
        .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
    chart
        .configure_mesh()
        .x_desc(&plot.x.label)
        .y_desc(&plot.y.label)
        .axis_desc_style((FONT, 15))
        .label_style((FONT, 13))
        .light_line_style(WHITE)
        .bold_line_style(GREY.mix(0.25))
        .x_label_formatter(&|value| tick(*value))
        .y_label_formatter(&|value| tick(*value))
        .draw()?;
    if plot.diagonal {
        chart.draw_series(DashedLineSeries::new([(x.0, y.0), (x.1, y.1)], 4, 4, GREY.stroke_width(1)))?;
    }
    for (place, series) in plot.series.iter().take(SERIES_MAX).enumerate() {
        let colour = PALETTE[place % PALETTE.len()];
        let finite = |point: &(f64, f64)| point.0.is_finite() && point.1.is_finite();
        let points: Vec<(f64, f64)> = series.points.iter().copied().filter(finite).collect();
        if let Some(outline) = band_outline(series) {
            chart.draw_series([Polygon::new(outline, colour.mix(0.15))])?;
        }
        if place < PALETTE.len() {
            chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        } else {
            chart.draw_series(DashedLineSeries::new(points.iter().copied(), 6, 4, colour.stroke_width(2)))?;
        }
        if series.marks {
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
    }
    draw_legend(&right, plot)
}

fn draw_legend(area: &Area<'_>, plot: &Plot) -> Result<(), Fault> {
    for (place, series) in plot.series.iter().take(SERIES_MAX).enumerate() {
        let colour = PALETTE[place % PALETTE.len()];
        let y = 52 + 22 * i32::try_from(place)?;
        if place < PALETTE.len() {
            area.draw(&PathElement::new(vec![(4, y), (30, y)], colour.stroke_width(3)))?;
        } else {
            for x in [4, 14, 24] {
                area.draw(&PathElement::new(vec![(x, y), (x + 6, y)], colour.stroke_width(3)))?;
            }
        }
        let style = TextStyle::from((FONT, 13)).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(shortened(&series.name), (36, y), style))?;
    }
    Ok(())
}

/// From the smallest to the largest number, with a little room; 0 to 1 of nothing.
fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    match high - low {
        room if room > 0.0 => (low - 0.03 * room, high + 0.03 * room),
        _ if low.is_finite() => (low - 0.5, high + 0.5),
        _ => (0.0, 1.0),
    }
}

fn tick(value: f64) -> String {
    // Steps of an axis are round numbers, so that rounding takes off nothing but the noise of the arithmetic.
    let rounded = (value * 1e6).round() / 1e6 + 0.0;
    format!("{rounded}")
}

/// Along the upper bound and back along the lower one.
fn band_outline(series: &Series) -> Option<Vec<(f64, f64)>> {
    let band = series.band.as_ref()?;
    let ends = || {
        series
            .points
            .iter()
            .zip(band)
            .filter(|(point, band)| point.0.is_finite() && band.0.is_finite() && band.1.is_finite())
    };
    let upper = ends().map(|(point, band)| (point.0, band.1));
    let lower = ends().map(|(point, band)| (point.0, band.0)).collect::<Vec<_>>();
    let outline: Vec<(f64, f64)> = upper.chain(lower.into_iter().rev()).collect();
    (outline.len() > 2).then_some(outline)
}

/// A confusion matrix as the text of an SVG file: counts, coloured by the share of the true class.
///
/// # Errors
/// What the drawing library says.
pub(crate) fn confusion(heading: &str, classes: &[String], counts: &[Vec<u64>]) -> Result<String, String> {
    let letters = classes.iter().map(|class| class.chars().count()).max().unwrap_or(1) as u32;
    let cell = if classes.len() <= 6 { 74 } else { 46 };
    let side = cell * classes.len() as u32;
    let labels = letters * LETTER_WIDTH + 12;
    let layout = Layout { left: labels + 34, top: 46, cell, side };
    let mut svg = String::new();
    {
        let width = (layout.left + side + 24).max(heading.chars().count() as u32 * 10 + 40);
        let size = (width, layout.top + side + labels + 40);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let drawn = draw_confusion(&root, &layout, heading, classes, counts);
        drawn.and_then(|()| Ok(root.present()?)).map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

/// Where the parts of a confusion matrix lie, pixels.
struct Layout {
    left: u32,
    top: u32,
    cell: u32,
    side: u32,
}

fn draw_confusion(
    root: &Area<'_>,
    layout: &Layout,
    heading: &str,
    classes: &[String],
    counts: &[Vec<u64>],
) -> Result<(), Fault> {
    root.fill(&WHITE)?;
    let [left, top, cell, side] = [layout.left, layout.top, layout.cell, layout.side].map(|part| part as i32);
    let text =
        |size: i32, horizontal: HPos, vertical: VPos| TextStyle::from((FONT, size)).pos(Pos::new(horizontal, vertical));
    let upwards = |size: i32, horizontal: HPos| {
        let font = (FONT, size).into_font().transform(FontTransform::Rotate270);
        TextStyle::from(font).pos(Pos::new(horizontal, VPos::Center))
    };
    root.draw(&Text::new(heading.to_owned(), (left, 12), text(18, HPos::Left, VPos::Top)))?;
    for (truth, line) in counts.iter().enumerate() {
        let all = line.iter().sum::<u64>().max(1);
        let y = top + cell * truth as i32;
        root.draw(&Text::new(classes[truth].clone(), (left - 8, y + cell / 2), text(13, HPos::Right, VPos::Center)))?;
        for (decided, count) in line.iter().enumerate() {
            let x = left + cell * decided as i32;
            let share = *count as f64 / all as f64;
            let corners = [(x, y), (x + cell, y + cell)];
            root.draw(&Rectangle::new(corners, shade(share).filled()))?;
            root.draw(&Rectangle::new(corners, GREY.mix(0.4).stroke_width(1)))?;
            // Zeros step back, so that the confusions stand out.
            let colour = if *count == 0 {
                LIGHT_GREY
            } else if share > 0.55 {
                WHITE
            } else {
                BLACK
            };
            let size = if count.to_string().len() > 4 && classes.len() > 6 { 11 } else { 13 };
            let style = text(size, HPos::Center, VPos::Center).color(&colour);
            root.draw(&Text::new(count.to_string(), (x + cell / 2, y + cell / 2), style))?;
        }
    }
    for (decided, class) in classes.iter().enumerate() {
        let x = left + cell * decided as i32 + cell / 2;
        root.draw(&Text::new(class.clone(), (x, top + side + 8), upwards(13, HPos::Right)))?;
    }
    let bottom = root.dim_in_pixel().1 as i32 - 14;
    root.draw(&Text::new("decided class", (left + side / 2, bottom), text(15, HPos::Center, VPos::Center)))?;
    root.draw(&Text::new("true class", (16, top + side / 2), upwards(15, HPos::Center)))?;
    Ok(())
}

/// From white to blue.
fn shade(share: f64) -> RGBColor {
    let mix = |to: u8| (255.0 - share.sqrt() * (255.0 - f64::from(to))) as u8;
    let RGBColor(red, green, blue) = PALETTE[0];
    RGBColor(mix(red), mix(green), mix(blue))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Axis;

    fn plot(series: Vec<Series>) -> Plot {
        Plot {
            heading: "Risk by hour".to_owned(),
            caption: String::new(),
            file_stem: "risk".to_owned(),
            x: Axis::new("hour of the stay"),
            y: Axis::unit("ROC-AUC"),
            series,
            diagonal: false,
        }
    }

    #[test]
    fn both_axes_and_every_line_are_named_in_text() {
        let band = Some(vec![(0.4, 0.6), (0.5, 0.7)]);
        let with_band = Series { name: "deep".to_owned(), points: vec![(0.0, 0.5), (1.0, 0.6)], band, marks: true };
        let svg = lines(&plot(vec![with_band, Series::line("NEWS2", vec![(0.0, 0.4), (1.0, f64::NAN)])])).unwrap();
        for word in ["hour of the stay", "ROC-AUC", "deep", "NEWS2", "Risk by hour"] {
            assert!(svg.contains(word), "{word}");
        }
    }

    #[test]
    fn empty_constant_and_many_series_are_drawn_all_the_same() {
        lines(&plot(Vec::new())).unwrap();
        lines(&plot(vec![Series::line("level", vec![(2.0, 0.5)])])).unwrap();
        lines(&plot(
            (0..30).map(|place| Series::line(format!("line {place}"), vec![(0.0, 0.1), (1.0, 0.9)])).collect(),
        ))
        .unwrap();
    }

    #[test]
    fn a_confusion_matrix_names_classes_and_counts() {
        let classes = ["normal", "Spoofing"].map(str::to_owned);
        let svg = confusion("Decided and true", &classes, &[vec![90, 10], vec![3, 7]]).unwrap();
        for word in ["normal", "Spoofing", "decided class", "true class", ">\n90\n"] {
            assert!(svg.contains(word), "{word}");
        }
    }
}
