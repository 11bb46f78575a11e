//! Tables and colours, which are for terminals: elsewhere a row is a line with tabs between its cells.

use std::io::{self, IsTerminal, Write};

/// How a cell looks on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Plain,
    Good,
    Doubtful,
    Bad,
}

/// A cell and its look.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) look: Look,
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: text.to_string(), look: Look::Plain }
    }
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Look::Plain => "",
            Look::Good => "\x1b[32m",
            Look::Doubtful => "\x1b[33m",
            Look::Bad => "\x1b[31m",
        }
    }
}

/// Whether colours are wanted: on a terminal, unless NO_COLOR says no.
fn has_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints rows: under headings on a terminal, else without.
pub(crate) fn print<const N: usize>(headings: [&str; N], rows: &[[Cell; N]]) -> io::Result<()> {
    let mut out = io::stdout();
    if !out.is_terminal() {
        return rows.iter().try_for_each(|row| {
            writeln!(out, "{}", row.iter().map(|cell| cell.text.as_str()).collect::<Vec<_>>().join("\t"))
        });
    }
    write!(out, "{}", laid_out(headings, rows, has_colours()))
}

/// The rows in columns, under their headings.
fn laid_out<const N: usize>(headings: [&str; N], rows: &[[Cell; N]], colours: bool) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].text.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = line(headings.map(Cell::from), widths, colours);
    rows.iter().for_each(|row| text.push_str(&line(row.clone(), widths, colours)));
    text
}

fn line<const N: usize>(cells: [Cell; N], widths: [usize; N], colours: bool) -> String {
    let mut text = String::new();
    for (index, (Cell { text: cell, look }, width)) in cells.into_iter().zip(widths).enumerate() {
        // The colour ends with the word: what fills the column up has none.
        let fill = " ".repeat(if index + 1 == N { 0 } else { width - cell.chars().count() + 2 });
        match colours && look != Look::Plain {
            true => text.push_str(&format!("{}{cell}\x1b[0m{fill}", look.code())),
            false => text.push_str(&format!("{cell}{fill}")),
        }
    }
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_whatever_its_colour() {
        let bad = Cell { text: "down".to_owned(), look: Look::Bad };
        let rows = [["a".into(), "worker:0".into()], [bad, "b".into()]];
        assert_eq!(laid_out(["IS", "UID"], &rows, false), "IS    UID\na     worker:0\ndown  b\n");
        assert!(laid_out(["IS", "UID"], &rows, true).ends_with("\x1b[31mdown\x1b[0m  b\n"));
    }
}
