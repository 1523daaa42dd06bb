//! Tables and figures as Markdown.

use std::time::Duration;

/// A table that is printed as a whole.
pub(crate) struct Table {
    lines: Vec<String>,
}

impl Table {
    /// The first column is text, the others are figures.
    pub(crate) fn new(head: &[&str]) -> Self {
        let rule: Vec<&str> =
            head.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "--:" }).collect();
        Self { lines: vec![format!("| {} |", head.join(" | ")), format!("|{}|", rule.join("|"))] }
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        self.lines.push(format!("| {} |", cells.join(" | ")));
    }

    pub(crate) fn print(&self) {
        println!("{}\n", self.lines.join("\n"));
    }
}

/// As many digits as say something: 0.012, 1.23, 12.3, 1234.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        nothing if nothing.is_nan() => "–".to_owned(),
        small if small < 0.0005 => "0".to_owned(),
        small if small < 1.0 => format!("{value:.3}"),
        small if small < 10.0 => format!("{value:.2}"),
        small if small < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{} ms", figure(duration.as_secs_f64() * 1e3))
}

/// How many times as much; not a number when there is nothing to compare with.
pub(crate) fn ratio(value: f64, of: f64) -> f64 {
    if of == 0.0 { f64::NAN } else { value / of }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_that_count() {
        let shown = [0.0, 0.0123, 1.234, 12.34, 1234.5, f64::NAN].map(figure);
        assert_eq!(shown, ["0", "0.012", "1.23", "12.3", "1234", "–"]);
    }
}
