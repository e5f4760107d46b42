//! The loop: draws, waits for a key, asks what the state wants to know.

use crate::field::Field;
use crate::state::{Effect, Event, Options, State};
use crossterm::event::{self, KeyCode, KeyEvent, KeyModifiers};
use postroad_control::Failed;
use postroad_control::meta::MetaRequest;
use postroad_control::meta_answer::MetaItem;
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Whom the editor asks.
pub trait Metabase {
    /// Puts a question; the parts of its answer go to `each`.
    ///
    /// # Errors
    /// As the answer has it.
    fn ask(&mut self, request: &MetaRequest, each: &mut dyn FnMut(MetaItem)) -> Result<(), Failed>;
    /// The process id of the service that answered last; none: no service runs, and the store itself was asked.
    fn service(&self) -> Option<u32>;
    /// Lets go of what is held so that the next question is answered fast: nobody asks at the moment.
    fn let_go(&mut self);
}

/// Parts of one answer that are kept: more than a person looks through. How many more there are is told.
const ITEMS_MAX: usize = 50_000;
/// Questions that one key can lead to: a refresh asks for each open key.
const QUESTIONS_MAX: usize = 20_000;
/// Without a key for so long, nobody is busy here, and a service may want to start.
const IDLE: Duration = Duration::from_secs(1);
/// How often it is looked whether somebody else changed something, while nobody is busy.
const WATCH: Duration = Duration::from_secs(2);
/// Keys that were pressed while an answer took longer than this were meant for a screen that is not there any more.
const BLIND: Duration = Duration::from_millis(500);

/// Runs the editor on this terminal until it is left, and gives the exit status. Whoever calls has seen that there is one.
///
/// # Errors
/// What the terminal does not do. It is restored in any case, also when the program panics.
pub fn run(metabase: &mut dyn Metabase, options: &Options) -> io::Result<u8> {
    let terminal = ratatui::try_init();
    let outcome = terminal.and_then(|mut terminal| edit(&mut terminal, metabase, options));
    let restored = ratatui::try_restore();
    let status = outcome?;
    restored.map(|()| status)
}

fn edit(
    terminal: &mut ratatui::DefaultTerminal,
    metabase: &mut dyn Metabase,
    options: &Options,
) -> io::Result<u8> {
    let (mut state, mut effects) = State::new(options.clone());
    let size = terminal.size()?;
    state.handle(Event::Resize(size.width, size.height));
    loop {
        let began = Instant::now();
        let was_said = settle(&mut state, effects, metabase, &mut |state| {
            terminal.draw(|frame| crate::draw(state, frame)).map(|_| ())
        })?;
        if was_said && began.elapsed() > BLIND {
            while event::poll(Duration::ZERO)? {
                event::read()?;
            }
            let size = terminal.size()?;
            state.handle(Event::Resize(size.width, size.height));
        }
        if state.is_over() {
            return Ok(state.exit_status());
        }
        terminal.draw(|frame| crate::draw(&state, frame))?;
        if !event::poll(IDLE)? {
            metabase.let_go();
            if !event::poll(WATCH)? {
                effects = state.handle(Event::Idle);
                continue;
            }
        }
        effects = match event::read()? {
            event::Event::Key(key) if key.is_press() || key.is_repeat() => pressed(&mut state, key),
            event::Event::Resize(width, height) => state.handle(Event::Resize(width, height)),
            _ => Vec::new(),
        };
    }
}

/// Asks for a password on this terminal, without showing it. None: it was given up, with Esc or Ctrl-C.
///
/// # Errors
/// What the terminal does not do; there is none.
pub fn password(prompt: &str) -> io::Result<Option<String>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "there is no terminal"));
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "{prompt}")?;
    stderr.flush()?;
    crossterm::terminal::enable_raw_mode()?;
    let typed = typed();
    let restored = crossterm::terminal::disable_raw_mode();
    writeln!(stderr)?;
    restored.and(typed)
}

/// What is typed until Enter.
fn typed() -> io::Result<Option<String>> {
    let mut field = Field::default();
    loop {
        let event::Event::Key(key) = event::read()? else { continue };
        let is_control_c = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
        match key.code {
            KeyCode::Enter => return Ok(Some(field.text())),
            KeyCode::Esc => return Ok(None),
            _ if is_control_c => return Ok(None),
            _ => field.key(key),
        };
    }
}

/// Takes a key. To a terminal, a letter right after Esc is that letter with Alt; nothing here is done with Alt.
fn pressed(state: &mut State, mut key: KeyEvent) -> Vec<Effect> {
    let mut effects = Vec::new();
    if key.modifiers.contains(KeyModifiers::ALT) {
        key.modifiers.remove(KeyModifiers::ALT);
        effects = state.handle(Event::Key(KeyCode::Esc.into()));
    }
    effects.extend(state.handle(Event::Key(key)));
    effects
}

/// Asks everything that the state wants to know, and what it wants to know after that. Before a question that may take long
/// the state is shown, so that it says what is waited for; gives whether there was one.
///
/// # Errors
/// What `show` does not do.
pub fn settle(
    state: &mut State,
    effects: Vec<Effect>,
    metabase: &mut dyn Metabase,
    show: &mut dyn FnMut(&State) -> io::Result<()>,
) -> io::Result<bool> {
    let mut waiting = VecDeque::from(effects);
    let mut was_said = false;
    for _ in 0..QUESTIONS_MAX {
        let Some(Effect { purpose, request }) = waiting.pop_front() else { break };
        if state.waits_for(&request) {
            was_said = true;
            show(state)?;
        }
        let mut items = Vec::new();
        let mut cut = 0;
        let asked = metabase.ask(&request, &mut |item| {
            if items.len() < ITEMS_MAX {
                items.push(item);
            } else {
                cut += 1;
            }
        });
        let answer = asked.map(|()| items);
        let service = metabase.service();
        waiting.extend(state.handle(Event::Answer { purpose, answer, cut, service }));
    }
    Ok(was_said)
}
