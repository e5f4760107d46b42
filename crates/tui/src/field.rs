//! A line that is typed.

use crate::text;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

/// Characters that can be typed: what is longer (a record has up to 1 MiB) is no line that a person types.
const CHARS_MAX: usize = 64 * 1024;

/// A line that is typed, with its cursor.
#[derive(Clone, Default)]
pub(crate) struct Field {
    chars: Vec<char>,
    at: usize,
}

impl Field {
    pub(crate) fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        Self { at: chars.len(), chars }
    }

    pub(crate) fn text(&self) -> String {
        self.chars.iter().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chars.is_empty()
    }

    /// Takes a key; whether it was one for a field.
    pub(crate) fn key(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('u') if control => *self = Self::default(),
            KeyCode::Char(c) if !control && !key.modifiers.contains(KeyModifiers::ALT) => {
                if self.chars.len() < CHARS_MAX {
                    self.chars.insert(self.at.min(self.chars.len()), c);
                    self.at += 1;
                }
            }
            KeyCode::Backspace if self.at > 0 => {
                self.at -= 1;
                self.chars.remove(self.at);
            }
            KeyCode::Delete if self.at < self.chars.len() => {
                self.chars.remove(self.at);
            }
            KeyCode::Backspace | KeyCode::Delete => {}
            KeyCode::Left => self.at = self.at.saturating_sub(1),
            KeyCode::Right => self.at = (self.at + 1).min(self.chars.len()),
            KeyCode::Home => self.at = 0,
            KeyCode::End => self.at = self.chars.len(),
            _ => return false,
        }
        true
    }

    /// The field behind its label. Dots stand for a secret.
    pub(crate) fn line(
        &self,
        label: &str,
        columns: usize,
        has_focus: bool,
        is_secret: bool,
    ) -> Line<'static> {
        let room = columns.saturating_sub(text::width(label) + 2).max(1);
        let shown = |chars: &[char]| -> String {
            if is_secret { "•".repeat(chars.len()) } else { chars.iter().collect() }
        };
        let (before, after) = self.chars.split_at(self.at.min(self.chars.len()));
        let label = Span::raw(format!("{label}[").replace('\n', " "));
        if !has_focus {
            let all = text::column(&shown(&self.chars), room);
            return Line::from(vec![label, Span::raw(all), Span::raw("]")]);
        }
        // The end of what is before the cursor, the cursor, and as much behind it as fits.
        let before = text::shorten_left(&shown(before), room.saturating_sub(1));
        let (under, rest) = match after {
            [] => (String::from(" "), &[][..]),
            [c, rest @ ..] => (text::shorten(&shown(&[*c]), room), rest),
        };
        let left = room.saturating_sub(text::width(&before) + text::width(&under));
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        let rest = text::column(&shown(rest), left);
        Line::from(vec![
            label,
            Span::styled(before, Modifier::UNDERLINED),
            Span::styled(under, reversed),
            Span::styled(rest, Modifier::UNDERLINED),
            Span::raw("]"),
        ])
    }
}
