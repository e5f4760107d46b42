//! Whether a tree would make settings here: under what the configuration file pins, and beside what is wrong already.

use super::{Registry, place};
use postroad_metabase::compile::{self, Place, Problem};
use postroad_metabase::settings::Settings;
use postroad_metabase::text::Pin;
use postroad_metabase::tree::{OpError, Tree};

/// Owns what it judges by, for a thread aside.
#[derive(Clone)]
pub(super) struct Judge {
    pins: Vec<Pin>,
    /// What is wrong here already, which a change may leave so.
    known: Vec<Problem>,
    place: Place,
}

impl Judge {
    /// What is wrong with a tree, and is not wrong here already.
    pub(super) fn added(&self, tree: &Tree) -> Result<Vec<Problem>, OpError> {
        let (_, mut problems) = Settings::of_what_fits(&self.effective(tree)?, &self.place, 0);
        problems.retain(|problem| !is_in(&self.known, problem));
        Ok(problems)
    }

    /// Whether the virtual server of a tree has a problem, known or not; its domains are not looked at.
    pub(super) fn has(&self, tree: &Tree, problem: &Problem) -> Result<bool, OpError> {
        let problems = compile::problems_of_server(&self.effective(tree)?, &self.place);
        Ok(is_in(&problems, problem))
    }

    /// The judge where no configuration file pins anything; none where that is so here.
    pub(super) fn unpinned(&self) -> Option<Self> {
        (!self.pins.is_empty()).then(|| Self { pins: Vec::new(), ..self.clone() })
    }

    fn effective(&self, tree: &Tree) -> Result<Tree, OpError> {
        compile::overlay(tree, &self.pins)
    }
}

impl Registry {
    pub(super) fn judge(&self) -> Judge {
        Judge { pins: self.pinned.pins.clone(), known: self.problems.clone(), place: place(&self.dir) }
    }

    pub(super) fn is_known(&self, problem: &Problem) -> bool {
        is_in(&self.problems, problem)
    }
}

/// Whether something is wrong with the same record: what exactly may differ.
fn is_in(known: &[Problem], problem: &Problem) -> bool {
    known.iter().any(|known| (&known.path, known.id) == (&problem.path, problem.id))
}
