//! A table in memory, column by column: what views are written from and read back into.

use super::LakeError;
use std::collections::HashMap;

/// Columns of one length, with their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    pub names: Vec<String>,
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    Text(TextColumn),
    /// What need not be text: the bytes of rejected records.
    Bytes(Vec<Option<Box<[u8]>>>),
    Int(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    Bool(Vec<Option<bool>>),
    /// Days since 1970-01-01.
    Date(Vec<Option<i32>>),
    /// UTC microseconds.
    Timestamp(Vec<Option<i64>>),
    /// `values` are in units of 10^-scale; up to 38 digits.
    Decimal {
        scale: u32,
        values: Vec<Option<i128>>,
    },
}

/// Texts by reference to a dictionary. A text may stand in the dictionary twice: columns are equal where their rows are.
#[derive(Clone, Debug, Default)]
pub struct TextColumn {
    pub dictionary: Vec<String>,
    pub keys: Vec<Option<u32>>,
}

/// Builds a [`TextColumn`] from texts, each distinct one kept once.
#[derive(Clone, Debug, Default)]
pub struct TextBuilder {
    column: TextColumn,
    known: HashMap<String, u32>,
}

impl TextColumn {
    pub fn get(&self, row: usize) -> Option<&str> {
        self.keys[row].map(|key| self.dictionary[key as usize].as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        (0..self.keys.len()).map(|row| self.get(row))
    }
}

impl PartialEq for TextColumn {
    fn eq(&self, other: &TextColumn) -> bool {
        self.iter().eq(other.iter())
    }
}

impl TextBuilder {
    /// The key of a text, for [`TextBuilder::push_key`].
    pub fn key(&mut self, text: &str) -> u32 {
        if let Some(&key) = self.known.get(text) {
            return key;
        }
        let key = u32::try_from(self.column.dictionary.len()).expect("fewer than 2^32 distinct texts fit in memory");
        self.column.dictionary.push(text.to_owned());
        self.known.insert(text.to_owned(), key);
        key
    }

    pub fn push_key(&mut self, key: Option<u32>) {
        self.column.keys.push(key);
    }

    pub fn push(&mut self, text: Option<&str>) {
        let key = text.map(|text| self.key(text));
        self.push_key(key);
    }

    pub fn finish(self) -> TextColumn {
        self.column
    }
}

impl<'a> FromIterator<Option<&'a str>> for TextColumn {
    fn from_iter<T: IntoIterator<Item = Option<&'a str>>>(texts: T) -> TextColumn {
        let mut builder = TextBuilder::default();
        texts.into_iter().for_each(|text| builder.push(text));
        builder.finish()
    }
}

impl Column {
    pub fn len(&self) -> usize {
        match self {
            Column::Text(texts) => texts.keys.len(),
            Column::Bytes(values) => values.len(),
            Column::Int(values) | Column::Timestamp(values) => values.len(),
            Column::Decimal { values, .. } => values.len(),
            Column::Float(values) => values.len(),
            Column::Bool(values) => values.len(),
            Column::Date(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all rows out; a dictionary stays, and so does the memory.
    pub fn clear(&mut self) {
        match self {
            Column::Text(texts) => texts.keys.clear(),
            Column::Bytes(values) => values.clear(),
            Column::Int(values) | Column::Timestamp(values) => values.clear(),
            Column::Decimal { values, .. } => values.clear(),
            Column::Float(values) => values.clear(),
            Column::Bool(values) => values.clear(),
            Column::Date(values) => values.clear(),
        }
    }

    /// Appends the rows of a column of the same type; false where it is of another.
    pub(crate) fn append(&mut self, other: Column) -> bool {
        match (self, other) {
            (Column::Text(texts), Column::Text(other)) => {
                let shift = texts.dictionary.len() as u32;
                texts.dictionary.extend(other.dictionary);
                texts.keys.extend(other.keys.into_iter().map(|key| key.map(|key| key + shift)));
            }
            (Column::Bytes(values), Column::Bytes(other)) => values.extend(other),
            (Column::Int(values), Column::Int(other)) => values.extend(other),
            (Column::Float(values), Column::Float(other)) => values.extend(other),
            (Column::Bool(values), Column::Bool(other)) => values.extend(other),
            (Column::Date(values), Column::Date(other)) => values.extend(other),
            (Column::Timestamp(values), Column::Timestamp(other)) => values.extend(other),
            (Column::Decimal { scale, values }, Column::Decimal { scale: other_scale, values: other })
                if *scale == other_scale =>
            {
                values.extend(other);
            }
            _ => return false,
        }
        true
    }
}

impl Columns {
    pub fn push(&mut self, name: &str, column: Column) {
        self.names.push(name.to_owned());
        self.columns.push(column);
    }

    /// Rows of every column.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        let at = self.names.iter().position(|known| known == name)?;
        self.columns.get(at)
    }

    /// # Errors
    /// [`LakeError::BadTable`] where columns and names do not match, or lengths differ, or a key points nowhere.
    pub fn check(&self) -> Result<(), LakeError> {
        if self.names.len() != self.columns.len() {
            let (names, columns) = (self.names.len(), self.columns.len());
            return Err(LakeError::BadTable(format!("{names} names for {columns} columns")));
        }
        for (name, column) in self.names.iter().zip(&self.columns) {
            if column.len() != self.rows() {
                let (rows, first) = (column.len(), self.rows());
                return Err(LakeError::BadTable(format!("{name} has {rows} rows and the first column {first}")));
            }
            if let Column::Text(texts) = column {
                let highest = texts.keys.iter().copied().flatten().max();
                if highest.is_some_and(|key| key as usize >= texts.dictionary.len()) {
                    return Err(LakeError::BadTable(format!("a key of {name} is not in its dictionary")));
                }
            }
        }
        Ok(())
    }
}
