//! The loop: draws, waits for a key, asks what the state wants to know.

use crate::state::{Effect, Event, Options, State};
use postroad_control::{Failed, Item, Request};
use std::collections::VecDeque;
use std::io::{self, IsTerminal};

/// How a question is put: the parts of its answer go to the function that is given along.
pub type Ask<'a> = dyn FnMut(&Request, &mut dyn FnMut(Item)) -> Result<(), Failed> + 'a;

/// Parts of one answer that are kept: more than a person looks through.
const ITEMS_MAX: usize = 50_000;
/// Questions that one key can lead to: a refresh asks for each open key.
const QUESTIONS_MAX: usize = 20_000;

/// Runs the editor on this terminal until it is left, and gives the exit status.
///
/// # Errors
/// What the terminal does not do. It is restored in any case, also when the program panics.
pub fn run(ask: &mut Ask<'_>, options: &Options) -> io::Result<u8> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        let what = "metaedit needs a terminal; `postroad meta` does the same without one";
        return Err(io::Error::new(io::ErrorKind::Unsupported, what));
    }
    let terminal = ratatui::try_init();
    let outcome = terminal.and_then(|mut terminal| edit(&mut terminal, ask, options));
    let restored = ratatui::try_restore();
    let status = outcome?;
    restored.map(|()| status)
}

fn edit(terminal: &mut ratatui::DefaultTerminal, ask: &mut Ask<'_>, options: &Options) -> io::Result<u8> {
    let (mut state, effects) = State::new(options.clone());
    let size = terminal.size()?;
    state.handle(Event::Resize(size.width, size.height));
    terminal.draw(|frame| crate::draw(&state, frame))?;
    settle(&mut state, effects, ask);
    while !state.is_over() {
        terminal.draw(|frame| crate::draw(&state, frame))?;
        let effects = match crossterm::event::read()? {
            crossterm::event::Event::Key(key) if key.is_press() || key.is_repeat() => {
                state.handle(Event::Key(key))
            }
            crossterm::event::Event::Resize(width, height) => state.handle(Event::Resize(width, height)),
            _ => continue,
        };
        if !effects.is_empty() {
            terminal.draw(|frame| crate::draw(&state, frame))?;
            settle(&mut state, effects, ask);
        }
    }
    Ok(state.exit_status())
}

/// Asks everything that the state wants to know, and what it wants to know after that.
pub fn settle(state: &mut State, effects: Vec<Effect>, ask: &mut Ask<'_>) {
    let mut waiting = VecDeque::from(effects);
    for _ in 0..QUESTIONS_MAX {
        let Some(Effect { purpose, request }) = waiting.pop_front() else { return };
        let mut items = Vec::new();
        let asked = ask(&Request::Meta(request), &mut |item| {
            if let Item::Meta(item) = item
                && items.len() < ITEMS_MAX
            {
                items.push(item);
            }
        });
        let answer = asked.map(|()| items);
        waiting.extend(state.handle(Event::Answer { purpose, answer }));
    }
}
