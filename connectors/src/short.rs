//! What others say, cut to what a message can hold: a broken file may quote megabytes of itself.

const MOST_CHARS: usize = 300;

pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{} … ({} bytes in all)", &text[..end], text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(short("as it is"), "as it is");
        let long = "ü".repeat(1_000_000);
        assert_eq!(short(&long), format!("{} … (2000000 bytes in all)", "ü".repeat(300)));
    }
}
