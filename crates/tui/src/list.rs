//! Moving in a list, the part of it that is in view, and a row of it.

use crate::text;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::Modifier;
use ratatui::text::Line;

/// Where a key moves the cursor to; none where it does not move it.
pub(crate) fn moved(key: KeyEvent, at: usize, len: usize, page: usize) -> Option<usize> {
    let last = len.saturating_sub(1);
    let to = match key.code {
        KeyCode::Up => at.saturating_sub(1),
        KeyCode::Down => at.saturating_add(1),
        KeyCode::PageUp => at.saturating_sub(page),
        KeyCode::PageDown => at.saturating_add(page),
        KeyCode::Home => 0,
        KeyCode::End => last,
        _ => return None,
    };
    Some(to.min(last))
}

/// As `moved`, also by the letters that vi moves by: where no text is typed.
pub(crate) fn moved_by_letters(key: KeyEvent, at: usize, len: usize, page: usize) -> Option<usize> {
    let code = match key.code {
        KeyCode::Char('j') => KeyCode::Down,
        KeyCode::Char('k') => KeyCode::Up,
        code => code,
    };
    moved(KeyEvent { code, ..key }, at, len, page)
}

/// The first row in view, so that the cursor is in the middle where it can be.
pub(crate) fn first(at: usize, len: usize, height: usize) -> usize {
    at.saturating_sub(height / 2).min(len.saturating_sub(height))
}

/// A row of a list that fills the screen, in so many columns: what is shown stands behind the sign of the chosen one.
pub(crate) fn row(shown: &str, is_chosen: bool, columns: usize) -> Line<'static> {
    let sign = if is_chosen { '>' } else { ' ' };
    let line = Line::from(text::shorten(&format!("{sign}{shown}"), columns));
    if is_chosen { line.patch_style(Modifier::REVERSED) } else { line }
}
