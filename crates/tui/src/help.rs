//! The help of each screen.

use crate::dialog::{Layer, Say};
use postroad_control::attributes::ATTRIBUTES;

const MAIN: &[&str] = &[
    "Left are the keys, right the records of the chosen key. Changes are kept here until they are committed.",
    "",
    "Tab             the other pane",
    "arrows, hjkl    move; right opens a key, left closes it",
    "PageUp/Down, Home, End",
    "Enter           edits the record; opens or closes the key",
    "n               makes a key or a record",
    "d               deletes the key or the record",
    "i               says all that is known of the record",
    "u, U            undoes the last pending change; that of what is chosen",
    "c               reviews and commits the pending changes",
    "K, Z            keeps the change that undoes itself; undoes it",
    "/               filters the pane; Esc shows all again",
    "f               finds by id, name or value",
    "v               checks what is wrong, and repairs it",
    "b               backups",
    "g               the log of changes, and rollback",
    "r, F5           refreshes",
    "q, Ctrl-C       leaves",
    "?, F1           this help",
    "",
    "The first sign of a record: * pending, # pinned by the configuration file, ^ inherited.",
    "The second: = in force, - kept without effect, ! refused, ? unknown to the schema.",
];

const RECORD: &[&str] = &[
    "Tab and Shift-Tab go through the parts; Enter is OK; F3 says what the property is for; Esc leaves without a change.",
    "Id: type a number, or a part of a name and choose one with Up and Down.",
    "Attributes and bits: Space sets and clears the one under the cursor.",
    "Numbers: decimal, 0x hex or -1; F2 shows the other base.",
    "Lists: a adds a line, Enter edits it, d deletes it; Tab leaves the list.",
    "Ctrl-U empties a line. OK asks the service whether the value is possible.",
];

const REVIEW: &[&str] = &[
    "This is what the change would do. Signs: + comes, - goes, ~ changes.",
    "Enter commits it in one transaction. Tab goes to the reason, and to the minutes after which the change \
     undoes itself unless it is confirmed with K.",
    "m, where it is offered, does what is refused because it is dangerous, as an open relay.",
    "x drops all pending changes. Esc goes back and keeps them.",
];

const BACKUPS: &[&str] = &[
    "m makes a backup: of version next, one above the highest of its name, or the highest, or a number. One that is there is replaced only after a yes. With a password it can be restored on another machine.",
    "v reads a backup back and compares it. The list itself says whether the checksum is right.",
    "Enter shows all of what is known of a backup.",
    "r shows what a restore would change, and restores after a yes. What is there is backed up first.",
    "d deletes a backup.",
];

const HISTORY: &[&str] = &[
    "Enter shows all differences of a change. The one with * waits to be confirmed.",
    "r makes the tree be as it was after that change, after a review.",
];

const CHECK: &[&str] = &[
    "What is wrong with the tree, errors and warnings; r stands where a repair is known.",
    "Enter shows all of a finding and the steps of its repair; g goes there.",
    "r keeps the repair with the pending changes: c, on the main screen, reviews and commits them.",
    "o also looks up the hosts that values name; F5 checks again.",
];

const CONFIRM: &[&str] = &["y is yes; n and Esc are no."];

const FORM: &[&str] =
    &["Enter is OK, from any line; Tab and Shift-Tab go to the others; Ctrl-U empties a line; Esc closes."];

const OTHER: &[&str] = &["Enter takes what is chosen, Esc closes, arrows move."];

/// The help of what is uppermost.
pub(crate) fn of(layer: Option<&Layer>) -> Say {
    let lines = match layer {
        None => MAIN,
        Some(Layer::Record(_)) => RECORD,
        Some(Layer::Review(_)) => REVIEW,
        Some(Layer::Backups(_)) => BACKUPS,
        Some(Layer::History(_)) => HISTORY,
        Some(Layer::Check(_)) => CHECK,
        Some(Layer::Confirm(_)) => CONFIRM,
        Some(Layer::Form(_)) => FORM,
        Some(Layer::Say(_) | Layer::Menu(_) | Layer::Found(_)) => OTHER,
    };
    let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    if layer.is_none() {
        lines.push(columns());
    }
    Say::help(lines)
}

/// What the narrow columns of the records have.
fn columns() -> String {
    let attributes = ATTRIBUTES.map(|(_, name, letter)| format!("{letter} {name}"));
    format!("Attributes: {}. UT: the user type, 1 server, 2 file.", attributes.join(", "))
}
