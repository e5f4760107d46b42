//! What may be above the main screen: dialogs and the screens of the review, the past changes and the backups.

mod form;
mod known;
mod prompt;
mod record;
mod value;

pub(crate) use form::{Form, FormFor, PASSWORD, PASSWORD_AGAIN, Trouble};
pub(crate) use prompt::{Confirm, Menu, Say, Then};
pub(crate) use record::RecordDialog;

use crate::backups::Backups;
use crate::check::Check;
use crate::find::Found;
use crate::history::History;
use crate::review::Review;
use crate::state::State;
use crossterm::event::KeyEvent;
use ratatui::text::Line;

/// Something above the main screen. The uppermost has the keys.
pub(crate) enum Layer {
    Say(Say),
    Confirm(Confirm),
    Menu(Menu),
    Form(Form),
    Record(Box<RecordDialog>),
    Found(Found),
    Review(Box<Review>),
    Backups(Backups),
    History(History),
    Check(Check),
}

/// A layer as it is drawn.
pub(crate) struct View {
    pub(crate) title: String,
    pub(crate) lines: Vec<Line<'static>>,
    /// The line that has to be in view.
    pub(crate) focus: usize,
    /// The keys that do something.
    pub(crate) hints: String,
    /// Whether it takes all of the screen.
    pub(crate) is_full: bool,
}

impl Layer {
    /// Takes a key; gives what is left of the layer.
    pub(crate) fn key(self, key: KeyEvent, state: &mut State) -> Vec<Layer> {
        match self {
            Self::Say(say) => say.key(key, state),
            Self::Confirm(confirm) => confirm.key(key, state),
            Self::Menu(menu) => menu.key(key, state),
            Self::Form(form) => form.key(key, state),
            Self::Record(dialog) => RecordDialog::key(dialog, key, state),
            Self::Found(found) => found.key(key, state),
            Self::Review(review) => Review::key(review, key, state),
            Self::Backups(backups) => backups.key(key, state),
            Self::History(history) => history.key(key, state),
            Self::Check(check) => check.key(key, state),
        }
    }

    /// The layer in so many columns and lines.
    pub(crate) fn view(&self, state: &State, columns: usize, height: usize) -> View {
        match self {
            Self::Say(say) => say.view(columns, height),
            Self::Confirm(confirm) => confirm.view(columns),
            Self::Menu(menu) => menu.view(),
            Self::Form(form) => form.view(columns),
            Self::Record(dialog) => dialog.view(state, columns, height),
            Self::Found(found) => found.view(columns),
            Self::Review(review) => review.view(columns),
            Self::Backups(backups) => backups.view(state, columns),
            Self::History(history) => history.view(columns),
            Self::Check(check) => check.view(columns),
        }
    }

    /// Whether letters are typed into it.
    pub(crate) fn takes_text(&self) -> bool {
        match self {
            Self::Form(_) => true,
            Self::Record(dialog) => dialog.takes_text(),
            Self::Review(review) => review.takes_text(),
            Self::Say(_)
            | Self::Confirm(_)
            | Self::Menu(_)
            | Self::Found(_)
            | Self::Backups(_)
            | Self::History(_)
            | Self::Check(_) => false,
        }
    }

    /// Whether it is closed when the steps that it makes are taken.
    pub(crate) fn makes_steps(&self) -> bool {
        match self {
            Self::Record(_) => true,
            Self::Form(form) => form.makes_key(),
            Self::Say(_)
            | Self::Confirm(_)
            | Self::Menu(_)
            | Self::Found(_)
            | Self::Review(_)
            | Self::Backups(_)
            | Self::History(_)
            | Self::Check(_) => false,
        }
    }

    /// Says why the steps that it makes were not taken.
    pub(crate) fn untaken(&mut self, why: &str) {
        match self {
            Self::Record(dialog) => dialog.trouble = why.into(),
            Self::Form(form) => form.trouble = why.into(),
            _ => {}
        }
    }

    pub(crate) fn as_review(&mut self) -> Option<&mut Review> {
        if let Self::Review(review) = self { Some(review) } else { None }
    }

    pub(crate) fn as_backups(&mut self) -> Option<&mut Backups> {
        if let Self::Backups(backups) = self { Some(backups) } else { None }
    }

    pub(crate) fn as_check(&mut self) -> Option<&mut Check> {
        if let Self::Check(check) = self { Some(check) } else { None }
    }

    pub(crate) fn as_history(&mut self) -> Option<&mut History> {
        if let Self::History(history) = self { Some(history) } else { None }
    }
}
