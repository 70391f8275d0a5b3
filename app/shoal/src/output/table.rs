//! Lists as tables: aligned columns, no borders, one line for each entry.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement};

use super::{Style, Tone};

/// A table. A head that starts with ">" makes a column of numbers: aligned to the right.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    heads: [&'static str; COLUMNS],
    rows: Vec<(Tone, [String; COLUMNS])>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table without rows.
    pub(crate) fn new(heads: [&'static str; COLUMNS]) -> Self {
        Self { heads, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [String; COLUMNS]) {
        self.toned_row(Tone::Plain, cells);
    }

    /// Adds a row in a tone.
    pub(crate) fn toned_row(&mut self, tone: Tone, cells: [String; COLUMNS]) {
        self.rows.push((tone, cells));
    }

    /// The text with a line end; `empty` if there are no rows.
    pub(crate) fn render(&self, style: Style, empty: &str) -> String {
        if self.rows.is_empty() {
            return format!("{empty}\n");
        }
        let tones = std::iter::once(Tone::Head).chain(self.rows.iter().map(|(tone, _)| *tone));
        let lines: Vec<String> = self.plain().lines().map(|line| line.trim_end().to_owned()).collect();
        lines.iter().zip(tones).map(|(line, tone)| format!("{}\n", style.paint(tone, line))).collect()
    }

    /// Colour comes after: its codes have no width, and a table that knew of them would need a terminal.
    fn plain(&self) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.heads.map(|head| head.trim_start_matches('>')));
        for (_, cells) in &self.rows {
            // A cell is one line, whatever a container's name holds.
            table.add_row(cells.each_ref().map(|cell| cell.replace(|c: char| c.is_control(), "?")));
        }
        for (column, head) in table.column_iter_mut().zip(self.heads) {
            column.set_padding((0, 2));
            if head.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<2> {
        let mut table = Table::new(["NAME", ">COUNT"]);
        table.row(["a".into(), "1".into()]);
        table.toned_row(Tone::Bad, ["long-name".into(), "1000".into()]);
        table
    }

    #[test]
    fn columns_line_up_and_lines_end_with_their_text() {
        let text = table().render(Style::new(false), "");
        assert_eq!(text, "NAME       COUNT\na              1\nlong-name   1000\n");
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let text = table().render(Style::new(true), "");
        assert_eq!(
            text,
            "\x1b[1mNAME       COUNT\x1b[0m\na              1\n\x1b[31mlong-name   1000\x1b[0m\n"
        );
    }

    #[test]
    fn an_empty_table_is_a_sentence() {
        assert_eq!(Table::new(["NAME"]).render(Style::new(true), "There is none."), "There is none.\n");
    }

    #[test]
    fn a_cell_cannot_break_the_table() {
        let mut table = Table::new(["NAME", "X"]);
        table.row(["a\nb\x1b[31m".into(), "x".into()]);
        assert_eq!(table.render(Style::new(false), ""), "NAME      X\na?b?[31m  x\n");
    }
}
