//! Texts of the metabase as a terminal may show them: no control characters, no wider than their place.

use ratatui::text::Span;

/// Lines that a wrapped text may have: what a person scrolls through; values are longer only by mistake.
const LINES_MAX: usize = 2_000;
/// Characters a column, so that marks without width cannot pile up in one place.
const CHARS_PER_COLUMN: usize = 4;

/// A character as it is drawn: control characters and those that turn the direction of writing are escaped.
fn drawn(c: char) -> String {
    let hidden =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if c.is_control() || hidden { c.escape_default().collect() } else { c.into() }
}

/// Columns that a drawn text takes.
pub(crate) fn width(text: &str) -> usize {
    // Most texts are printable ASCII, and the screen is drawn after each key.
    if text.bytes().all(|octet| matches!(octet, b' '..=b'~')) { text.len() } else { Span::raw(text).width() }
}

/// The text without anything that would move the cursor.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().map(drawn).collect()
}

/// The beginning of a text, with an ellipsis where it is cut.
pub(crate) fn shorten(text: &str, columns: usize) -> String {
    let (kept, is_whole) = fitting(text.chars(), columns);
    if is_whole || columns == 0 {
        return kept.concat();
    }
    let (mut kept, _) = fitting(text.chars(), columns - 1);
    kept.push("…".into());
    kept.concat()
}

/// The end of a text, as that of a path says more than its beginning.
pub(crate) fn shorten_left(text: &str, columns: usize) -> String {
    let (mut kept, is_whole) = fitting(text.chars().rev(), columns);
    if !is_whole && columns > 0 {
        (kept, _) = fitting(text.chars().rev(), columns - 1);
        kept.push("…".into());
    }
    kept.reverse();
    kept.concat()
}

/// The pieces of a text that fit, and whether that is all of it.
fn fitting(chars: impl Iterator<Item = char>, columns: usize) -> (Vec<String>, bool) {
    let (mut kept, mut used) = (Vec::new(), 0);
    for (count, c) in chars.enumerate() {
        let piece = drawn(c);
        used += width(&piece);
        if used > columns || count >= columns * CHARS_PER_COLUMN {
            return (kept, false);
        }
        kept.push(piece);
    }
    (kept, true)
}

/// Exactly so many columns.
pub(crate) fn column(text: &str, columns: usize) -> String {
    pad(shorten(text, columns), columns)
}

/// Exactly so many columns of the text's end.
pub(crate) fn column_left(text: &str, columns: usize) -> String {
    pad(shorten_left(text, columns), columns)
}

/// Exactly so many columns, with what does not fit left out of the middle: the end of a name tells it from others.
pub(crate) fn column_middle(text: &str, columns: usize) -> String {
    if width(&escaped(text)) <= columns {
        return column(text, columns);
    }
    let end = columns / 3;
    let (first, _) = fitting(text.chars(), columns.saturating_sub(end + 1));
    let begin = first.concat();
    let left = columns.saturating_sub(width(&begin));
    pad(begin + &shorten_left(text, left), columns)
}

fn pad(mut text: String, columns: usize) -> String {
    let missing = columns.saturating_sub(width(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// Texts in lines, each text beginning a line.
pub(crate) fn wrapped(texts: &[String], columns: usize) -> Vec<String> {
    texts.iter().flat_map(|text| wrap(text, columns)).collect()
}

/// The first lines of a text, with an ellipsis where there are more.
pub(crate) fn beginning(text: &str, columns: usize, lines: usize) -> Vec<String> {
    let mut all = wrap(text, columns);
    if all.len() > lines {
        all.truncate(lines);
        if let Some(last) = all.last_mut() {
            while width(last) + 2 > columns
                && let Some((words, _)) = last.rsplit_once(' ')
            {
                *last = words.to_owned();
            }
            *last = shorten(&format!("{last} …"), columns);
        }
    }
    all
}

/// A text in lines, broken at blanks where there are any.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let blank = usize::from(!line.is_empty());
            let word = escaped(word);
            if !line.is_empty() && width(&line) + blank + width(&word) > columns {
                lines.push(std::mem::take(&mut line));
            } else if blank == 1 {
                line.push(' ');
            }
            for c in word.chars() {
                if width(&line) + width(c.encode_utf8(&mut [0; 4])) > columns {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(c);
            }
            if lines.len() >= LINES_MAX {
                lines.push("…".into());
                return lines;
            }
        }
        lines.push(line);
    }
    lines
}
