//! `lab`: scenarios in a simulated network.

use crate::args::Lab;
use crate::ending::{DONE, Trouble};
use crate::screen::{Line, Screen};

/// Runs the verb.
pub fn run(lab: Lab, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let _ = (lab, screen, Line::plain(""), DONE);
    Err(Trouble::usage("soon"))
}
