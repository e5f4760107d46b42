//! The drawing. Nothing is said by colour alone: signs and words say it, bold and reversed only help.

use crate::explain;
use crate::field::Field;
use crate::list;
use crate::pending::{self, Shown, Waits};
use crate::record_pane::Widths;
use crate::state::{Pane, State};
use crate::text;
use crate::tree_pane::TreeLine;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

/// The height from which there is room for so many lines of explanation, with their border.
const EXPLANATION: [(u16, u16); 2] = [(32, 8), (16, 5)];
/// Columns from which both panes have room at once.
const WIDE: u16 = 100;

/// Draws the editor.
pub fn draw(state: &State, frame: &mut Frame<'_>) {
    let area = frame.area();
    let room = EXPLANATION.iter().find(|(height, _)| area.height >= *height);
    let explanation = room.map_or(0, |(_, lines)| *lines);
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(explanation),
        Constraint::Length(1),
    ]);
    let [title, main, below, hints] = area.layout(&rows);
    draw_title(state, frame, title);
    // The records, which are wider, get the room that the keys can do without.
    let percent = match (area.width >= WIDE, state.pane) {
        (true, _) | (false, Pane::Tree) => 28,
        (false, Pane::Records) => 18,
    };
    let columns = Layout::horizontal([Constraint::Percentage(percent), Constraint::Min(0)]);
    let [left, right] = main.layout(&columns);
    draw_tree(state, frame, left);
    let records = state.records.lines(&state.pending, &state.schema);
    draw_records(state, &records, frame, right);
    if explanation > 0 {
        draw_explanation(state, &records, frame, below);
    }
    draw_hints(state, frame, hints);
    draw_layers(state, frame, area);
}

fn bold_if(has_focus: bool) -> Style {
    if has_focus { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() }
}

fn draw_title(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let mut title = String::from(" MetaEdit");
    match state.service {
        Some(Some(pid)) => title.push_str(&format!("  service {pid}")),
        Some(None) => title.push_str("  at rest"),
        None => {}
    }
    if let Some(generation) = state.generation {
        title.push_str(&format!("  generation {generation}"));
    }
    if !state.pending.is_empty() {
        title.push_str(&format!("  *{} pending", state.pending.len()));
    }
    if state.options.read_only {
        title.push_str("  read only");
    }
    if let Some((generation, _)) = state.unconfirmed {
        title.push_str(&format!("  K keeps {generation}"));
    }
    title.push_str("  ");
    // The end of a path says more than its beginning.
    let room = usize::from(area.width).saturating_sub(text::width(&title));
    title.push_str(&text::shorten_left(&state.options.connected, room));
    let title = text::column(&title, usize::from(area.width));
    frame.render_widget(Line::from(title).style(Style::new().add_modifier(Modifier::REVERSED)), area);
}

fn block(name: &str, filter: &Field, has_focus: bool, is_filtering: bool, width: u16) -> Block<'static> {
    let sign = if has_focus { ">" } else { " " };
    let typed = filter.text();
    let shown = match (is_filtering, typed.is_empty()) {
        (true, _) => format!("{sign}{name} /{typed}_ "),
        (false, false) => format!("{sign}{name} /{typed} "),
        (false, true) => format!("{sign}{name} "),
    };
    let title = text::shorten(&shown, usize::from(width.saturating_sub(2)));
    Block::bordered().title(title).border_style(bold_if(has_focus))
}

fn draw_tree(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let has_focus = state.pane == Pane::Tree;
    let block = block("Keys", &state.tree.filter, has_focus, has_focus && state.is_filtering, area.width);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let lines = state.tree.lines(&state.pending);
    let at = lines.iter().position(|line| pending::is_same(&line.path, &state.tree.chosen)).unwrap_or(0);
    let (height, columns) = (usize::from(inner.height), usize::from(inner.width));
    let first = list::first(at, lines.len(), height);
    let is_filtered = !state.tree.filter.is_empty();
    let drawn = lines.iter().enumerate().skip(first).take(height).map(|(index, line)| {
        let shown = Line::from(tree_text(line, is_filtered, columns));
        chosen_if(index == at, has_focus, shown)
    });
    frame.render_widget(Paragraph::new(drawn.collect::<Vec<_>>()), inner);
}

/// Levels of the tree that are indented; deeper ones stand below each other.
const INDENTED_MAX: usize = 16;

/// A key in just so many columns. What waits to become of it is not cut off with its name.
fn tree_text(line: &TreeLine, is_filtered: bool, columns: usize) -> String {
    let sign = if line.waits == Waits::Not { ' ' } else { '*' };
    let waits = match (line.is_new, line.waits) {
        (true, _) => " (new)",
        (false, Waits::Gone) => " (goes)",
        (false, Waits::Not | Waits::Set) => "",
    };
    let (indent, name) = match is_filtered {
        true => (0, &line.path),
        false => (line.depth.min(INDENTED_MAX), &line.name),
    };
    let head = format!("{sign}{}{} ", " ".repeat(indent), line.sign);
    let room = columns.saturating_sub(head.len() + waits.len());
    text::column(&format!("{head}{}{waits}", text::shorten(name, room)), columns)
}

fn chosen_if(is_chosen: bool, has_focus: bool, line: Line<'static>) -> Line<'static> {
    match (is_chosen, has_focus) {
        (true, true) => line.patch_style(Modifier::REVERSED),
        (true, false) => line.patch_style(Modifier::BOLD | Modifier::UNDERLINED),
        (false, _) => line,
    }
}

fn draw_records(state: &State, lines: &[Shown], frame: &mut Frame<'_>, area: Rect) {
    let has_focus = state.pane == Pane::Records;
    let name = format!("Records of {}", state.records.path);
    let block = block(&name, &state.records.filter, has_focus, has_focus && state.is_filtering, area.width);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let at = state.records.at(lines);
    let (height, columns) = (usize::from(inner.height).saturating_sub(1), usize::from(inner.width));
    let first = list::first(at, lines.len(), height);
    let widths = Widths::of(lines, columns);
    let heads = Line::from(text::column(&widths.heads(), columns)).patch_style(Modifier::BOLD);
    let rows = lines.iter().enumerate().skip(first).take(height).map(|(index, shown)| {
        let line = Line::from(text::column(&widths.line(shown), columns));
        let line = if shown.row.inherited { line.patch_style(Modifier::DIM) } else { line };
        chosen_if(index == at, has_focus, line)
    });
    let mut drawn = vec![heads];
    drawn.extend(rows);
    if lines.is_empty() {
        drawn.push(Line::from("   (none)"));
    }
    frame.render_widget(Paragraph::new(drawn), inner);
}

fn draw_explanation(state: &State, lines: &[Shown], frame: &mut Frame<'_>, area: Rect) {
    let block = Block::bordered();
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some(shown) = lines.get(state.records.at(lines)) else { return };
    let (height, columns) = (usize::from(inner.height), usize::from(inner.width));
    let explained = explain::record(shown, state);
    let first = explained.first().map(|line| text::shorten(line, columns));
    let rest = explained.get(1..).unwrap_or_default().join("\n");
    let rest = text::beginning(&rest, columns, height.saturating_sub(1));
    let drawn: Vec<Line<'static>> = first.into_iter().chain(rest).map(Line::from).collect();
    frame.render_widget(Paragraph::new(drawn), inner);
}

fn draw_hints(state: &State, frame: &mut Frame<'_>, area: Rect) {
    if let Some(asking) = state.asking {
        return draw_asking(asking, frame, area);
    }
    let waits;
    let hints = match (state.message.is_empty(), state.is_filtering, state.pane) {
        (false, _, _) => state.message.as_str(),
        (true, true, _) => "Type to filter, Enter keeps the filter, Esc shows all",
        _ if let Some((generation, until)) = state.unconfirmed => {
            waits = format!(
                "Generation {generation} undoes itself at {}: K keeps it, Z undoes it.  ? help",
                explain::minute(until)
            );
            waits.as_str()
        }
        (true, false, Pane::Tree) => {
            "? help  n new  d delete  u undo  c commit  f find  v check  b backups  g log"
        }
        (true, false, Pane::Records) => {
            "? help  Enter edit  n new  d delete  i more  u undo  c commit  f find  v check"
        }
    };
    frame.render_widget(Line::from(text::shorten(hints, usize::from(area.width))), area);
}

/// What is waited for.
fn draw_asking(asking: &str, frame: &mut Frame<'_>, area: Rect) {
    let line = Line::from(text::column(&format!(" {asking}"), usize::from(area.width)));
    frame.render_widget(line.patch_style(Modifier::REVERSED), area);
}

/// Draws what is above the main screen: the uppermost over all, what it lies on where it leaves room.
fn draw_layers(state: &State, frame: &mut Frame<'_>, area: Rect) {
    for layer in &state.layers {
        let view = layer.view(state, state.columns(), state.height());
        let wanted = u16::try_from(view.lines.len()).unwrap_or(u16::MAX).saturating_add(3);
        let height = if view.is_full { area.height } else { wanted.min(area.height) };
        let width = if view.is_full { area.width } else { area.width.saturating_sub(2) };
        let place = area.centered(Constraint::Length(width), Constraint::Length(height));
        let title = text::shorten(&format!(" {} ", view.title), usize::from(place.width.saturating_sub(2)));
        let block = Block::bordered().title(title).border_style(Style::new().add_modifier(Modifier::BOLD));
        let inner = block.inner(place);
        frame.render_widget(Clear, place);
        frame.render_widget(block, place);
        let [body, hints] = inner.layout(&Layout::vertical([Constraint::Min(0), Constraint::Length(1)]));
        let body = Rect { x: body.x + 1, width: body.width.saturating_sub(2), ..body };
        let height = usize::from(body.height);
        let first = list::first(view.focus, view.lines.len(), height);
        let lines: Vec<Line<'static>> = view.lines.into_iter().skip(first).take(height).collect();
        frame.render_widget(Paragraph::new(lines), body.intersection(inner));
        if let Some(asking) = state.asking {
            draw_asking(asking, frame, hints);
            continue;
        }
        let shown = if state.message.is_empty() { &view.hints } else { &state.message };
        let shown = Line::from(text::shorten(&format!(" {shown}"), usize::from(hints.width)));
        frame.render_widget(shown.patch_style(Modifier::BOLD), hints);
    }
}
