//! The review, the search, the log, the backups, and keys pressed at random.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]
#![allow(dead_code, reason = "other tests use the rest of the fake")]

mod fake;

use crossterm::event::KeyCode::{self, Char, Down, Enter, Esc, F, Tab};
use crossterm::event::{KeyEvent, KeyModifiers};
use fake::{Desk, Fake, options};
use postroad_control::meta::{MetaRequest, Secret, VersionWanted};
use postroad_tui::Event;

fn relay_for_all() -> Desk {
    let mut desk = Desk::new();
    desk.go_to("RelayIpList").press(Enter).type_in("a0.0.0.0/0").presses(&[Enter, Tab, Enter]);
    desk
}

#[test]
fn a_refusal_is_shown_and_can_be_meant() {
    let mut desk = relay_for_all();
    desk.type_in("c").shows(&["It is refused", "this would be an open relay for 0.0.0.0/0", "m I mean it"]);
    desk.press(Enter);
    assert!(desk.fake.commits().is_empty(), "what is refused is not committed");
    desk.type_in("m").shows(&["~ /LM/SmtpSvc/1 36990 RelayIpList: 127.0.0.0/8 -> 127.0.0.0/8, 0.0.0.0/0"]);
    desk.press(Enter).shows(&["Committed"]);
    assert!(desk.fake.commits()[0].1.mean_it);
}

#[test]
fn a_review_can_be_left_or_drop_all() {
    let mut desk = relay_for_all();
    desk.type_in("c").press(Esc).shows(&["*1 pending"]);
    desk.type_in("cx").shows(&["Drop all 1"]).type_in("n").shows(&["*1 pending"]);
    desk.type_in("cxy").lacks("*1 pending").shows(&["dropped"]);
    assert!(desk.fake.commits().is_empty());
}

/// What was there when a change was thought of can be gone at its review.
#[test]
fn what_cannot_be_done_any_more_is_refused_at_the_review_and_kept() {
    let mut desk = Desk::new();
    desk.go_to("SmartHost").press(Enter).type_in("x").press(Enter);
    desk.fake.pins.insert(36906, "postroad.toml:3".into());
    desk.type_in("c").shows(&["It is refused", "it is pinned"]).lacks("mean");
    desk.type_in("m").shows(&["It is refused"]).press(Esc).shows(&["*1 pending"]).type_in("u");
    assert!(desk.state.pending().is_empty());
}

#[test]
fn what_was_not_reviewed_is_not_committed() {
    let mut desk = Desk::new();
    desk.go_to("SmartHost").press(Enter).type_in("x").press(Enter).type_in("c").shows(&["~ /LM/SmtpSvc/1"]);
    let past = desk.fake.past[0].clone();
    desk.fake.past.push(past);
    desk.press(Enter).shows(&["changed in the meantime"]);
    assert_eq!(desk.fake.tree["/LM/SmtpSvc/1"][&36906].value, ["relay.example.org"]);
}

#[test]
fn a_change_can_wait_to_be_confirmed() {
    let mut desk = Desk::new();
    desk.go_to("SmartHost").press(Enter).type_in("x").press(Enter).type_in("c");
    desk.presses(&[Tab, Tab]).type_in("0").press(Enter).shows(&["a number from 1 to 1440"]);
    desk.empty_line().type_in("5").press(Enter).press(Enter).shows(&["undoes itself at", "K keeps it"]);
    assert_eq!(desk.fake.commits()[0].1.confirm_secs, Some(300));
    desk.type_in("K").lacks("undoes itself").shows(&["The change stays"]);
}

/// A change after it does not hide that a change waits.
#[test]
fn a_change_that_waits_to_be_confirmed_is_told_whatever_comes_after_it() {
    let mut desk = Desk::new();
    desk.go_to("SmartHost").press(Enter).type_in("x").press(Enter).type_in("c");
    desk.presses(&[Tab, Tab]).type_in("5").presses(&[Enter, Enter]);
    desk.go_to("MaxMessageSize").press(Enter).empty_line().type_in("7").press(Enter);
    desk.type_in("c").presses(&[Enter, Enter]);
    desk.shows(&["generation 3", "K keeps 2", "Generation 2 undoes itself at 2026-11-25"]);
    desk.type_in("K").shows(&["The change stays"]).lacks("K keeps");
}

#[test]
fn a_change_that_waits_to_be_confirmed_is_undone_at_once() {
    let mut desk = Desk::new();
    desk.go_to("SmartHost").press(Enter).type_in("x").press(Enter).type_in("c");
    desk.presses(&[Tab, Tab]).type_in("5").presses(&[Enter, Enter]);
    desk.type_in("Z")
        .shows(&["Undo generation 2"])
        .type_in("y")
        .shows(&["Committed", "-> relay.example.org"]);
    desk.press(Enter).lacks("K keeps").type_in("Z").lacks("Undo generation");
}

#[test]
fn a_change_that_somebody_else_makes_is_shown() {
    let mut desk = Desk::new();
    desk.go_to("SmartHost");
    let asked = desk.fake.asked.len();
    desk.event(Event::Idle);
    assert_eq!(desk.fake.asked.len(), asked + 1, "one look where nothing happened");
    desk.fake.tree.get_mut("/LM/SmtpSvc/1").unwrap().insert(36906, fake::stored("STRING", &["b.example"]));
    let past = desk.fake.past[0].clone();
    desk.fake.past.push((postroad_control::meta_answer::HistoryRow { generation: 2, ..past.0 }, past.1));
    desk.event(Event::Idle);
    desk.shows(&["generation 2", "b.example", "changed elsewhere"]).press(Down).lacks("elsewhere");
    desk.fake.service = None;
    desk.press(Down).press(Enter).fake.asked.clear();
    desk.event(Event::Idle);
    assert!(desk.fake.asked.is_empty(), "a store at rest is left alone");
}

#[test]
fn another_one_that_answers_is_told() {
    let mut desk = Desk::new();
    desk.shows(&["MetaEdit  service 4711"]);
    desk.fake.service = None;
    desk.press(Down).shows(&["The service 4711 has ended", "at rest"]).press(Enter).lacks("has ended");
    desk.press(KeyCode::Right).shows(&["MetaEdit  at rest"]).lacks("has ended");
    desk.fake.service = Some(4712);
    desk.type_in("r").shows(&["The service 4712 runs here", "service 4712"]).press(Esc).shows(&[">Keys"]);
}

#[test]
fn what_is_found_beyond_what_is_shown_is_counted() {
    let mut desk = Desk::sized(Fake { many: 50_002, ..Fake::new() }, options(), 80, 24);
    desk.type_in("frelay.example").press(Enter).shows(&["Found 50000 and 3 more, not shown, for relay"]);
    desk.shows(&["3 more are there and not shown"]);
}

#[test]
fn what_takes_long_is_said_before_it_is_asked() {
    let mut desk = relay_for_all();
    desk.listens = true;
    desk.type_in("cm").press(Enter);
    let said = desk.said.join("\n");
    for wanted in ["Asking what it would do...", "Committing..."] {
        assert!(said.contains(wanted), "{said}");
    }
    desk.press(Enter).type_in("bmnightly").press(Enter).press(Enter).said.clear();
    desk.type_in("v").press(Enter).type_in("r").press(Enter).lacks("...");
    let said = desk.said.join("\n");
    assert!(said.contains("Reading the backup...") && said.contains("Verifying the backup"), "{said}");
}

#[test]
fn the_check_shows_what_is_wrong_and_repairs_it() {
    use postroad_control::meta::MetaStep;
    use postroad_control::meta_answer::Finding;
    let mut desk = Desk::new();
    desk.type_in("v").shows(&["Check: 0 error(s), 0 warning(s)", "Nothing is wrong."]).press(Esc);
    let finding = Finding {
        error: true,
        untested: false,
        path: "/LM/SmtpSvc/1".into(),
        id: Some(36906),
        name: "SmartHost".into(),
        description: "nothing relays there".into(),
        repair: vec![MetaStep::Unset { path: "/LM/SmtpSvc/1".into(), property: "36906".into() }],
        repair_text: "take it away".into(),
    };
    let other = Finding { error: false, path: "/LM".into(), id: None, repair: Vec::new(), ..finding.clone() };
    desk.fake.findings = vec![finding, other];
    desk.type_in("v")
        .shows(&["1 error(s), 1 warning(s)", "> error   r /LM/SmtpSvc/1 SmartHost: nothing relays"]);
    desk.press(Enter).shows(&["Repair: take it away", "delete 36906 at /LM/SmtpSvc/1"]).press(Enter);
    desk.type_in("jr").shows(&["There is no repair"]).type_in("kr").shows(&["1 change(s) pending"]);
    desk.type_in("o").shows(&["with hosts looked up"]).type_in("g").shows(&[">Records of /LM/SmtpSvc/1"]);
    desk.type_in("c").shows(&["- /LM/SmtpSvc/1 36906 SmartHost"]).presses(&[Enter, Enter]);
    assert!(!desk.fake.tree["/LM/SmtpSvc/1"].contains_key(&36906));
}

#[test]
fn a_backup_has_a_version_of_choice_and_is_replaced_only_after_a_yes() {
    let mut desk = Desk::new();
    desk.type_in("bm").type_in("a").presses(&[Tab, Tab, Tab]).empty_line().type_in("x").press(Enter);
    desk.shows(&["The version is next, highest, or a number"]).empty_line().type_in("7").press(Enter);
    desk.shows(&["The backup a 7 is made"]).press(Enter);
    desk.type_in("ma").presses(&[Tab, Tab, Tab]).empty_line().type_in("7").press(Enter);
    desk.shows(&["it is there already"]).press(Enter);
    desk.type_in("ma").presses(&[Tab, Tab, Tab]).empty_line().type_in("7").press(Tab);
    desk.empty_line().type_in("yes").press(Enter).shows(&["The backup a 7 is made"]);
    assert_eq!(desk.fake.backups.len(), 1);
}

#[test]
fn a_list_says_what_it_knows_of_a_backup() {
    let mut desk = Desk::new();
    desk.type_in("bma").press(Enter).press(Enter).shows(&["verified"]);
    let mut desk = Desk::sized(std::mem::replace(&mut desk.fake, Fake::new()), options(), 80, 24);
    desk.type_in("b").shows(&["checksum right"]).lacks("verified");
    desk.type_in("v").press(Enter).shows(&["4096 verified"]);
    desk.fake.backups[0].0.fault = "/var/lib/postroad/backups/a.pb0 is cut off after 7 octets.".into();
    desk.press(F(5)).shows(&["FAULT: is cut off after 7"]);
    desk.press(Enter).shows(&["It is not whole: /var/lib/postroad/backups/a.pb0"]).press(Esc);
    desk.type_in("dy").shows(&["The backup a 0 is deleted."]).lacks("not whole");
}

#[test]
fn find_goes_to_a_record_and_to_a_key() {
    let mut desk = Desk::new();
    desk.type_in("f")
        .type_in("relay.example")
        .press(Enter)
        .shows(&["Found 1", "/LM/SmtpSvc/1  36906 SmartHost"]);
    desk.press(Enter).shows(&["Records of /LM/SmtpSvc/1", ">Records", "36906 SmartHost = relay.example.org"]);
    desk.type_in("f")
        .type_in("Domain")
        .presses(&[Enter, Enter])
        .shows(&["Records of /LM/SmtpSvc/1/Domain", ">Keys"]);
    desk.type_in("f").type_in("nothing like it").press(Enter).shows(&["Not found", "nothing matches"]);
}

#[test]
fn filters_narrow_both_panes() {
    let mut desk = Desk::new();
    desk.presses(&[Down, KeyCode::Right]).type_in("/w3").shows(&["W3Svc", "/w3"]).lacks("SmtpSvc");
    desk.press(Esc).shows(&["SmtpSvc"]);
    desk.go_to("SmartHost").type_in("/smart").press(Enter).shows(&["SmartHost", "/smart"]).lacks("36990");
    desk.press(Esc).shows(&["36990"]);
}

#[test]
fn the_log_shows_differences_and_rolls_back() {
    let mut desk = Desk::new();
    desk.go_to("SmartHost").press(Enter).empty_line().type_in("b.example").press(Enter).type_in("c");
    desk.presses(&[Enter, Enter]).type_in("g").shows(&[
        "Changes, newest first",
        "ada (metaedit)",
        "fresh install",
    ]);
    desk.press(Enter).shows(&["~ /LM/SmtpSvc/1 36906 SmartHost: relay.example.org -> b.example"]).press(Esc);
    desk.press(Down)
        .type_in("r")
        .shows(&["Rollback: as it was at generation 1", "b.example -> relay.example.org"]);
    desk.press(Enter).shows(&["Committed"]);
    assert_eq!(desk.fake.tree["/LM/SmtpSvc/1"][&36906].value, ["relay.example.org"]);
}

#[test]
fn backups_are_made_verified_restored_and_deleted() {
    let mut desk = Desk::new();
    desk.type_in("b").shows(&["Backups", "There are no backups"]);
    desk.type_in("m").type_in("nightly").press(Tab).type_in("geheim").shows(&["••••••"]).lacks("geheim");
    desk.press(Enter).shows(&["Type the password again."]).type_in("gehein").press(Enter);
    desk.shows(&["The passwords differ."]).empty_line().type_in("geheim").press(Enter);
    desk.shows(&["The backup nightly 0 is made."]).press(Enter).shows(&["nightly", "password, verified"]);
    let made = MetaRequest::Backup {
        name: "nightly".into(),
        version: VersionWanted::Next,
        overwrite: false,
        password: Some(Secret("geheim".into())),
    };
    assert!(desk.fake.asked.contains(&made));
    desk.type_in("v")
        .type_in("falsch")
        .press(Enter)
        .shows(&["Refused", "the password is another one"])
        .press(Esc);
    desk.type_in("v").type_in("geheim").press(Enter).shows(&["The backup nightly 0 is verified."]).press(Esc);
    desk.fake.tree.get_mut("/LM/W3Svc").unwrap().insert(1, fake::stored("STRING", &["x"]));
    desk.type_in("r").type_in("geheim").press(Enter).shows(&["Restore of nightly 0", "- /LM/W3Svc 1"]);
    assert!(desk.fake.tree["/LM/W3Svc"].contains_key(&1), "the difference is shown first");
    desk.press(Enter).shows(&["The backup was verified.", "What was there before"]).press(Enter);
    assert!(!desk.fake.tree["/LM/W3Svc"].contains_key(&1));
    desk.type_in("d").shows(&["Delete the backup nightly 0?"]).type_in("y").shows(&["nightly 0 is deleted."]);
    desk.press(Enter).shows(&["There are no backups"]).press(Esc).shows(&[">Keys"]);
}

#[test]
fn help_is_on_every_screen() {
    for (keys, wanted) in [
        ("", "undoes the last"),
        ("b", "m makes a backup"),
        ("g", "all differences"),
        ("n", "Esc closes"),
        ("v", "r keeps the repair"),
        ("jd", "y is yes"),
    ] {
        let mut desk = Desk::new();
        desk.type_in(keys).type_in("?").shows(&["Help", wanted]).press(Esc).lacks("Help");
    }
    let mut desk = Desk::new();
    desk.type_in("nd").press(F(1)).shows(&["Help", "Tab and Shift-Tab"]);
}

#[test]
fn small_and_large_terminals_show_what_matters() {
    for (width, height) in [(80, 24), (120, 40), (40, 10)] {
        let mut desk = Desk::sized(Fake::new(), options(), width, height);
        desk.presses(&[Down, KeyCode::Right, Down]).shows(&["MetaEdit", ">Keys", "SmtpSvc"]);
        desk.press(Tab).shows(&[">Records", "36880"]).press(Enter).shows(&["Edit at /LM/SmtpSvc", "2097152"]);
        desk.press(Esc);
        desk.terminal.backend_mut().resize(100, 30);
        desk.event(Event::Resize(100, 30));
        desk.shows(&["MaxMessageSize", "What MaxMessageSize is for."]);
    }
}

#[test]
fn a_long_help_is_scrolled_to_its_end_and_back() {
    let mut desk = Desk::sized(Fake::new(), options(), 40, 10);
    desk.type_in("?").shows(&["Left are the keys"]).press(KeyCode::End).shows(&["the user type, 1 server"]);
    desk.press(KeyCode::Up).lacks("server, 2 file").press(KeyCode::Home).shows(&["Left are the keys"]);
}

#[test]
fn a_key_that_went_is_left() {
    let mut desk = Desk::new();
    desk.go_to("61537").press(Tab);
    desk.fake.tree.retain(|path, _| !path.starts_with("/LM/SmtpSvc"));
    desk.type_in("r").shows(&["Records of /LM ", "W3Svc", "is gone"]).lacks("SmtpSvc ");
}

/// What is shown right is of the key that is chosen then: keys pressed there act on that one.
#[test]
fn a_key_that_went_is_left_with_its_records_when_it_is_opened() {
    let mut desk = Desk::new();
    desk.fake
        .tree
        .insert("/LM/W3Svc/1".into(), std::iter::once((7, fake::stored("STRING", &["x"]))).collect());
    desk.fake.tree.get_mut("/LM/W3Svc").unwrap().insert(6, fake::stored("STRING", &["of the web"]));
    desk.presses(&[Down, KeyCode::Right, KeyCode::End]).shows(&["Records of /LM/W3Svc", "of the web"]);
    desk.fake.tree.retain(|path, _| !path.starts_with("/LM/W3Svc"));
    desk.press(KeyCode::Right).shows(&["Records of /LM ", "/LM/W3Svc is gone."]).lacks("of the web");
}

#[test]
fn undoing_a_key_leaves_another_one_that_waits_chosen() {
    let mut desk = Desk::new();
    desk.press(Down).type_in("n").press(Enter).type_in("First").press(Enter);
    desk.shows(&["First (new)"]).press(KeyCode::Left);
    desk.type_in("n").press(Enter).type_in("Second").press(Enter).shows(&["Records of /LM/Second"]);
    desk.press(KeyCode::Up).shows(&["Records of /LM/First"]);
    desk.type_in("u").shows(&["Records of /LM/First", "First (new)"]).lacks("Second (new)");
    desk.type_in("u").shows(&["Records of /LM "]).lacks("(new)");
}

#[test]
fn leaving_asks_where_changes_are_pending() {
    let mut desk = relay_for_all();
    desk.type_in("q").shows(&["1 pending change(s) are not committed"]).type_in("n");
    assert!(!desk.state.is_over());
    desk.type_in("qy");
    assert!(desk.state.is_over());
    let mut desk = Desk::new();
    desk.event(Event::Key(KeyEvent::new(Char('c'), KeyModifiers::CONTROL)));
    assert!(desk.state.is_over());
}

#[test]
fn no_service_is_said_in_words() {
    let mut desk = Desk::sized(Fake { down: true, ..Fake::new() }, options(), 80, 24);
    desk.shows(&["Not reachable", "there is no service at /var/lib/postroad"]);
    desk.presses(&[Enter, Char('r')]).shows(&["Not reachable"]);
    assert_eq!(desk.state.exit_status(), 69);
    desk.fake.down = false;
    desk.presses(&[Esc, Char('r')]).lacks("Not reachable").shows(&["LM"]);
    assert_eq!(desk.state.exit_status(), 0);
}

/// A number from the one before it: splitmix64.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn keys_at_random_do_no_harm() {
    use KeyCode::{BackTab, Backspace, Delete, End, Home, Insert, Left, PageDown, PageUp, Right, Up};
    let special = [
        BackTab,
        Backspace,
        Delete,
        End,
        F(1),
        F(2),
        F(5),
        Home,
        Insert,
        Left,
        PageDown,
        PageUp,
        Right,
        Up,
        Down,
        Enter,
        Enter,
        Esc,
        Tab,
    ];
    let letters: Vec<char> =
        "nndcubgfr/?qymvxaKUiohjkl 0123456789äé\u{301}漢\u{202e}\u{7}-xs".chars().collect();
    for (width, height, seed) in [(80, 24, 1), (120, 40, 2), (40, 10, 3), (1, 1, 4), (13, 4, 5)] {
        let mut seed = seed;
        let mut desk = Desk::sized(Fake::new(), options(), width, height);
        for round in 0..4_000 {
            if desk.state.is_over() {
                let fake = std::mem::replace(&mut desk.fake, Fake::new());
                desk = Desk::sized(fake, options(), width, height);
            }
            let number = next(&mut seed) as usize;
            let code = match number % 5 {
                0 | 1 => special[number / 5 % special.len()],
                _ => Char(letters[number / 5 % letters.len()]),
            };
            desk.fake.down = number.is_multiple_of(97);
            desk.press(code);
            if round % 8 == 0 {
                desk.screen();
            }
            if desk.fake.past.len() > 40 {
                desk.fake.past.truncate(40);
            }
            desk.fake.asked.clear();
        }
    }
}
