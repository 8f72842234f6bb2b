//! What the terminal on stdout is like.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

/// Below this a table is not worth folding.
const WIDTH_MIN: usize = 20;
/// Of a terminal that does not say.
const WIDTH_DEFAULT: usize = 80;

/// Whether stdout is one, also one that has hung up.
pub fn is_on_stdout() -> bool {
    // What has hung up does not answer as a terminal any more, but is still a device, which a file or a pipe is not.
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().and_then(|stdout| File::from(stdout).metadata());
    stdout.is_ok_and(|stdout| stdout.file_type().is_char_device())
}

/// The width to fit into; `None` where stdout is a file or a pipe, which have none.
pub fn width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let columns = terminal_size::terminal_size_of(stdout).map(|(width, _)| usize::from(width.0));
    Some(columns.unwrap_or(WIDTH_DEFAULT).max(WIDTH_MIN))
}

/// The lines of the terminal on stdout, where it says.
pub fn height() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(_, height)| usize::from(height.0))
}

/// A text that cannot move the cursor or paint the screen, at most so many characters long: rejected bytes are
/// shown, and they come from anywhere.
pub fn plain(text: &str, chars_max: usize) -> String {
    let harmless = |c: char| if c.is_control() { '·' } else { c };
    let mut plain: String = text.chars().take(chars_max).map(harmless).collect();
    if text.chars().nth(chars_max).is_some() {
        plain.push('…');
    }
    plain
}
