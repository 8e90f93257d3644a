//! Where something is in a file.

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    /// Where the value is.
    pub(super) at: Position,
    /// The value itself.
    pub(super) value: T,
}

impl<T> At<T> {
    /// The same place with what `make` makes of the value; none where it makes nothing.
    pub(super) fn try_map<U>(self, make: impl FnOnce(T) -> Option<U>) -> Option<At<U>> {
        make(self.value).map(|value| At { at: self.at, value })
    }
}

/// A place in one file; lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Position {
    /// The line where it begins.
    pub(super) line: u32,
    /// The column where it begins.
    pub(super) column: u32,
    /// The line where it ends.
    pub(super) end_line: u32,
    /// The column after its last character.
    pub(super) end_column: u32,
}

impl Position {
    /// From a line that counts from 1 and a column that counts from 0, as parsers have it.
    pub(super) fn new(line: usize, column: usize) -> Position {
        let (line, column) = (short(line).max(1), short(column).saturating_add(1));
        Position { line, column, end_line: line, end_column: column }
    }

    /// The beginning alone, without what is there, so that nothing is replaced.
    pub(super) fn empty(self) -> Position {
        Position { end_line: self.line, end_column: self.column, ..self }
    }

    /// The same beginning with this end.
    pub(super) fn to(self, line: usize, column: usize) -> Position {
        Position { end_line: short(line).max(1), end_column: short(column).saturating_add(1), ..self }
    }
}

fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
