//! What the terminal on stdout is like.

use std::io::IsTerminal;

/// Below this a table is not worth folding.
const WIDTH_MIN: usize = 20;
/// Of a terminal that does not say.
const WIDTH_DEFAULT: usize = 80;

/// The width to fit into; `None` where stdout is a file or a pipe, which have none.
pub(super) fn width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let columns = terminal_size::terminal_size_of(stdout).map(|(width, _)| usize::from(width.0));
    Some(columns.unwrap_or(WIDTH_DEFAULT).max(WIDTH_MIN))
}

/// The lines of the terminal on stdout, where it says.
pub(super) fn height() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(_, height)| usize::from(height.0))
}

/// A text that cannot move the cursor or paint the screen, at most so many characters long: rejected bytes are
/// shown, and they come from anywhere.
pub(super) fn plain(text: &str, chars_max: usize) -> String {
    let harmless = |c: char| if c.is_control() { '·' } else { c };
    let mut plain: String = text.chars().take(chars_max).map(harmless).collect();
    if text.chars().nth(chars_max).is_some() {
        plain.push('…');
    }
    plain
}
