//! `lab`: scenarios in a simulated network.

use crate::args::Lab;
use crate::ending::{DONE, Trouble};
use crate::screen::{Line, Screen};

/// Runs the verb.
pub fn run(lab: Lab, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let scenarios = postroad_lab::scenario::list();
    let Some(name) = lab.name else {
        let width = scenarios.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, story) in scenarios {
            if screen.json {
                screen.object(&std::collections::BTreeMap::from([("name", name), ("story", story)]))?;
            } else {
                screen.line(&Line::plain(format!("{name:<width$}  {story}")))?;
            }
        }
        return Ok(DONE);
    };
    todo!()
}
