//! Extra parts that a model adds to its report: words, tables and line plots.

/// One extra part of a report.
#[derive(Clone, Debug)]
pub enum Section {
    /// Words.
    Text {
        /// Heading, without the Markdown signs.
        heading: String,
        /// Markdown.
        body: String,
    },
    /// A table.
    Table {
        /// Heading, without the Markdown signs.
        heading: String,
        /// What the table shows and where the numbers come from.
        caption: String,
        /// Column headings.
        header: Vec<String>,
        /// Cells, each line as long as the header.
        rows: Vec<Vec<String>>,
    },
    /// A plot, written as its own SVG file.
    Plot(Plot),
    /// All models, baselines included, once more with classes taken together (probabilities are added, decisions mapped).
    Merged {
        /// Heading, without the Markdown signs.
        heading: String,
        /// Why these classes are taken together.
        caption: String,
        /// Names of the merged classes.
        classes: Vec<String>,
        /// Merged class per class of the rows.
        merged_of: Vec<usize>,
        /// Index of the merged class that means "nothing wrong".
        benign_class: Option<usize>,
    },
}

/// A plot of one or more lines over two labelled axes.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Heading, without the Markdown signs.
    pub heading: String,
    /// What the plot shows and where the numbers come from.
    pub caption: String,
    /// File name without `.svg`: lower case, digits and hyphens.
    pub file_stem: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
    /// Whether a grey diagonal from corner to corner is drawn (chance in a ROC plot, perfection in a reliability plot).
    pub diagonal: bool,
}

/// An axis of a plot.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What is on it, with the unit.
    pub label: String,
    /// From and to; the data's own range when absent.
    pub range: Option<(f64, f64)>,
}

impl Axis {
    /// An axis over the data's own range.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), range: None }
    }

    /// An axis from 0 to 1.
    #[must_use]
    pub fn unit(label: impl Into<String>) -> Self {
        Self { label: label.into(), range: Some((0.0, 1.0)) }
    }
}

/// A line of a plot.
#[derive(Clone, Debug)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Points from left to right; points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Lower and upper bound per point, drawn as a band; as long as `points`.
    pub band: Option<Vec<(f64, f64)>>,
    /// Whether the points are marked on the line.
    pub marks: bool,
}

impl Series {
    /// A plain line.
    #[must_use]
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, band: None, marks: false }
    }
}
