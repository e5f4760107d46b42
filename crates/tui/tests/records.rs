//! Keys and records are looked at, made, edited and committed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]
#![allow(dead_code, reason = "other tests use the rest of the fake")]

mod fake;

use crossterm::event::KeyCode::{BackTab, Char, Down, Enter, Esc, F, Left, Right, Tab, Up};
use fake::{Desk, Fake, options};
use postroad_control::meta::MetaStep;
use postroad_tui::Options;

fn set(path: &str, id: &str, kind: &str, attributes: u32, value: &[&str]) -> MetaStep {
    MetaStep::Set {
        path: path.into(),
        property: id.into(),
        value: value.iter().map(|text| (*text).to_owned()).collect(),
        data_type: Some(kind.into()),
        user_type: Some(1),
        attributes: Some(attributes),
    }
}

/// The founding article, step by step: LM, SmtpSvc, New DWORD, Id 36997, data 2.
#[test]
fn the_articles_procedure() {
    let mut desk = Desk::new();
    desk.shows(&["MetaEdit", "generation 1", "postroad at /var/lib/postroad", "LM", "? help"]);
    desk.presses(&[Down, Right, Down]).shows(&["SmtpSvc", "Records of /LM/SmtpSvc", "36880", "MaxMessage"]);
    desk.type_in("n").shows(&["Key", "DWORD", "String", "Binary", "MultiSz", "ExpandSz"]);
    desk.presses(&[Down, Enter]).shows(&["New record at /LM/SmtpSvc", "SmartHost"]);
    desk.type_in("36997").shows(&["36997 SmtpUseTcpDns", "What SmtpUseTcpDns is for."]).lacks("SmartHost");
    desk.press(Enter).shows(&["udp-then-tcp", "tcp-only", "Attributes: INHERIT", "(server)"]);
    desk.type_in("2").shows(&["(x) 2 udp-only", "( ) 1 tcp-only"]);
    desk.press(Enter).shows(&["*1 pending", "*= 36997", "udp-only", "not committed"]);
    desk.type_in("c").shows(&["+ /LM/SmtpSvc 36997 SmtpUseTcpDns = 2", "A note of the service.", "3 key(s)"]);
    assert!(desk.fake.commits().is_empty(), "a review changes nothing");
    desk.press(Tab).type_in("KB330070").press(Enter).shows(&["Committed", "generation 2"]);
    desk.press(Enter).shows(&["generation 2", "36997"]).lacks("pending");
    let commits = desk.fake.commits();
    let [(steps, how)] = commits.as_slice() else { unreachable!("one commit: {commits:?}") };
    assert_eq!(*steps, [set("/LM/SmtpSvc", "36997", "DWORD", 1, &["2"])]);
    assert_eq!((how.author.as_str(), how.reason.as_str()), ("ada (metaedit)", "KB330070"));
    assert_eq!((how.if_generation, how.mean_it, how.confirm_secs), (Some(1), false, None));
    assert_eq!(desk.fake.tree["/LM/SmtpSvc"][&36997].value, ["2"]);
}

#[test]
fn an_inherited_value_is_shown_with_its_source_and_overridden() {
    let mut desk = Desk::sized(Fake::new(), options(), 120, 40);
    desk.go_to("SmartHost").shows(&["Records of /LM/SmtpSvc/1", "^= 36880", "/LM/SmtpSvc", "Ii"]);
    desk.press(Up).presses(&[crossterm::event::KeyCode::Home]).shows(&["Inherited from /LM/SmtpSvc"]);
    desk.press(Enter).shows(&["Override at /LM/SmtpSvc/1"]).empty_line().type_in("4096").press(Enter);
    assert_eq!(desk.state.pending(), [set("/LM/SmtpSvc/1", "36880", "DWORD", 1, &["4096"])]);
    desk.shows(&["*= 36880", "4096"]);
}

#[test]
fn an_enumeration_is_picked_and_a_number_is_shown_in_hex() {
    let mut desk = Desk::new();
    desk.go_to("ShouldPipelineIn").press(Enter).shows(&["(x) 1 TRUE", "( ) 0 FALSE"]);
    desk.press(Down).shows(&["(x) 0 FALSE"]).press(Enter);
    assert_eq!(desk.state.pending(), [set("/LM/SmtpSvc/1", "36932", "DWORD", 1, &["FALSE"])]);
    desk.go_to("MaxMessageSize").press(Enter).press(F(2)).shows(&["0x200000"]);
    desk.press(F(2)).shows(&["2097152"]).press(Esc);
}

#[test]
fn bits_are_check_boxes() {
    let mut desk = Desk::new();
    desk.go_to("36998").press(Enter).shows(&["[x] 0x40 DSN", "[ ] 0x80 ETRN", "[ ] 0x400000 8BITMIME"]);
    desk.presses(&[Down, Char(' '), Up, Char(' ')]).shows(&["[ ] 0x40 DSN", "[x] 0x80 ETRN"]);
    desk.press(Enter);
    assert_eq!(desk.state.pending(), [set("/LM/SmtpSvc", "36998", "DWORD", 1, &["128"])]);
}

#[test]
fn a_relay_list_is_edited_line_by_line() {
    let mut desk = Desk::new();
    desk.go_to("RelayIpList").press(Enter).shows(&["1 item(s)", "127.0.0.0/8"]);
    desk.type_in("a10.0.0.0/8").press(Enter).type_in("a192.0.2.1").press(Enter).shows(&["3 item(s)"]);
    desk.press(Up).press(Enter).empty_line().type_in("172.16.0.0/12").press(Enter);
    desk.press(Up).type_in("d").shows(&["2 item(s)", "172.16.0.0/12", "192.0.2.1"]).lacks("127.0.0.0/8 ");
    desk.press(Tab).press(Enter);
    let wanted = set("/LM/SmtpSvc/1", "36990", "BINARY", 1, &["172.16.0.0/12", "192.0.2.1"]);
    assert_eq!(desk.state.pending(), [wanted]);
}

#[test]
fn types_and_attributes_are_chosen_for_an_unknown_id() {
    let mut desk = Desk::new();
    desk.presses(&[Down, Char('n'), Char('s')]).type_in("61000").shows(&["61000 (other)"]);
    desk.press(Enter).type_in("text").presses(&[BackTab, Down, Char(' ')]).shows(&["[x] PARTIAL_PATH"]);
    desk.presses(&[BackTab, Right]).shows(&["< BINARY >"]);
    desk.presses(&[Left, BackTab, Down]).shows(&["(file)"]).press(Enter);
    let MetaStep::Set { user_type, attributes, data_type, value, .. } = &desk.state.pending()[0] else {
        unreachable!("a value is set")
    };
    assert_eq!((*user_type, *attributes), (Some(2), Some(3)));
    assert_eq!((data_type.as_deref(), value.as_slice()), (Some("STRING"), &["text".to_owned()][..]));
}

/// Also an attribute that has no name: it is kept, and told as a number.
#[test]
fn attributes_are_named_the_same_before_a_commit_and_after_it() {
    let mut desk = Desk::sized(Fake::new(), options(), 120, 40);
    desk.fake.tree.get_mut("/LM/SmtpSvc/1").unwrap().get_mut(&36906).unwrap().attributes = 0x83;
    let named = ["Ip ", "INHERIT | PARTIAL_PATH | 0x80. "];
    desk.go_to("SmartHost").shows(&named).press(Enter).empty_line().type_in("b.example").press(Enter);
    desk.shows(&["*= 36906", "b.example"]).shows(&named);
    desk.type_in("c").presses(&[Enter, Enter]).shows(&[" = 36906", "b.example"]).shows(&named);
    assert_eq!(desk.fake.tree["/LM/SmtpSvc/1"][&36906].attributes, 0x83);
    desk.type_in("?").shows(&["p PARTIAL_PATH", "P INSERT_PATH"]);
}

#[test]
fn a_name_narrows_the_list_of_ids() {
    let mut desk = Desk::new();
    desk.presses(&[Char('n'), Char('d')])
        .type_in("pipe")
        .shows(&["36932 ShouldPipelineIn"])
        .lacks("MaxMessageSize");
    desk.press(Enter).shows(&["Id: 36932", "TRUE"]);
    let mut desk = Desk::new();
    desk.presses(&[Char('n'), Char('d')]).type_in("zzz").press(Enter).shows(&["Type a number, or a part"]);
}

#[test]
fn secrets_are_never_shown() {
    let mut desk = Desk::new();
    desk.go_to("RouteAccountPassword").shows(&["(secret)"]).lacks("hunter2");
    desk.press(Enter).press(Enter).shows(&["The secret is not shown"]);
    desk.type_in("swordfish").shows(&["•••••••••"]).lacks("swordfish").press(Enter).lacks("swordfish");
    assert_eq!(desk.state.pending(), [set("/LM/SmtpSvc/1", "36989", "STRING", 5, &["swordfish"])]);
}

#[test]
fn control_characters_are_escaped() {
    let mut desk = Desk::sized(Fake::new(), options(), 120, 40);
    let screen = desk.go_to("61537").screen();
    assert!(screen.contains("bell\\u{7} escape\\u{1b}[2J end"), "{screen}");
    assert!(!screen.chars().any(|c| c.is_control() && c != '\n'));
}

#[test]
fn keys_are_made_deleted_and_undone() {
    let mut desk = Desk::new();
    desk.presses(&[Down, Char('n'), Char('k')]).type_in("PopSvc").press(Enter);
    desk.shows(&["PopSvc (new)", "Records of /LM/PopSvc", "(none)"]);
    desk.presses(&[Char('n'), Char('m')]).type_in("70000").press(Enter).type_in("aone").press(Enter);
    desk.presses(&[Tab, Enter]).shows(&["*2 pending", "[one]"]);
    desk.type_in("c").shows(&["+ /LM/PopSvc (key)", "+ /LM/PopSvc 70000"]).presses(&[Enter, Enter]);
    assert_eq!(desk.fake.tree["/LM/PopSvc"][&70000].value, ["one"]);
    desk.shows(&["PopSvc"]).lacks("(new)");
    desk.presses(&[Char('d')]).shows(&["Delete the key /LM/PopSvc"]).type_in("y").shows(&["(goes)"]);
    desk.type_in("u").shows(&["Undone: delete /LM/PopSvc"]).lacks("(goes)");
    assert!(desk.state.pending().is_empty());
    desk.presses(&[Char('d'), Char('y'), Char('c'), Enter, Enter]).lacks("PopSvc");
    assert!(!desk.fake.tree.contains_key("/LM/PopSvc"));
}

#[test]
fn signs_and_words_tell_what_a_record_does() {
    let mut fake = Fake::new();
    fake.pins.insert(36906, "postroad.toml:3".into());
    let mut desk = Desk::sized(fake, options(), 120, 40);
    desk.go_to("SmartHost").shows(&["#= 36906", "Pinned by postroad.toml:3", "In force."]);
    desk.shows(&[" - 36989", " ? 61537", "^= 36880"]);
    desk.press(Enter).lacks("Edit at").shows(&["36906 SmartHost at /LM/SmtpSvc/1"]).press(Esc);
    desk.type_in("nd36906")
        .press(Enter)
        .shows(&["It is pinned by postroad.toml:3: change it there."])
        .press(Esc);
    desk.go_to("61537").shows(&["Unknown to the schema"]);
    desk.go_to("RouteAccountPassword").shows(&["Kept without effect"]);
}

#[test]
fn a_record_is_deleted_but_not_where_it_is_inherited() {
    let mut desk = Desk::new();
    desk.go_to("SmartHost").type_in("dy").shows(&["(goes)", "*1 pending"]);
    desk.press(Enter).shows(&["U undoes that"]).type_in("U").lacks("pending  ");
    desk.presses(&[crossterm::event::KeyCode::Home, Char('d')]).shows(&["It is inherited"]);
    assert!(desk.state.pending().is_empty());
}

#[test]
fn who_only_reads_changes_nothing() {
    let options = Options { read_only: true, ..options() };
    let mut desk = Desk::sized(Fake::new(), options, 80, 24);
    desk.shows(&["read only"]);
    desk.type_in("n").shows(&["only reads"]);
    desk.go_to("SmartHost").press(Enter).shows(&["only reads"]).type_in("d").shows(&["only reads"]);
    assert!(desk.state.pending().is_empty());
}

#[test]
fn ok_asks_whether_a_value_is_possible() {
    let mut desk = Desk::new();
    desk.go_to("MaxMessageSize").press(Enter).type_in("many").press(Enter);
    desk.shows(&["Edit at /LM/SmtpSvc", "it is not a number of 32 bits"]);
    assert!(desk.state.pending().is_empty(), "what is malformed does not wait");
    desk.empty_line().type_in("4096").lacks("32 bits").press(Enter).shows(&["*1 pending"]).lacks("Edit at");
    desk.type_in("u").go_to("SmtpSvc").presses(&[Char('n'), Char('k')]).type_in("a//b").press(Enter);
    desk.shows(&["New key", "a key has no empty part"]).press(Esc);
    desk.type_in("nk1").press(Enter).shows(&["New key", "There is such a key already"]);
}

/// One change alone may be impossible that is possible with the next one.
#[test]
fn what_is_refused_can_wait_for_a_later_change() {
    let mut desk = Desk::new();
    desk.go_to("SmartHost");
    desk.fake.pins.insert(36906, "postroad.toml:3".into());
    desk.press(Enter).type_in("x").press(Enter).shows(&["it is pinned.", "Keep it pending all the same"]);
    desk.type_in("n").shows(&["Edit at", "relay.example.orgx"]).press(Enter).type_in("y");
    desk.lacks("Edit at").shows(&["*1 pending"]);
    desk.fake.pins.clear();
    desk.type_in("c").shows(&["36906 SmartHost: relay.example.org -> relay.example.orgx"]);
}

#[test]
fn the_cursor_stays_at_a_deep_key_when_it_is_committed() {
    let mut desk = Desk::new();
    desk.go_to("SmtpSvc").type_in("nk").type_in("2/Domain/x").press(Enter);
    desk.shows(&["*     2/Domai… (new)", "Records of /LM/SmtpSvc/2/Domain/x"]).presses(&[
        Char('c'),
        Enter,
        Enter,
    ]);
    desk.shows(&["- 2", "- Domain", "x ", "Records of /LM/SmtpSvc/2/Domain/x"]);
    desk.press(Up).shows(&["Records of /LM/SmtpSvc/2/Domain "]);
}

#[test]
fn a_new_record_where_there_is_one_edits_it() {
    let mut desk = Desk::new();
    desk.go_to("SmartHost").type_in("ns36906").press(Enter);
    desk.shows(&["Edit at /LM/SmtpSvc/1", "It is here already", "relay.example.org"]).press(Esc);
    desk.type_in("nd").shows(&[">  36997 SmtpUseTcpDns DWORD"]).press(Esc);
    desk.type_in("ns").shows(&[">  36906 SmartHost STRING"]);
}

#[test]
fn a_change_in_the_middle_is_taken_back() {
    let mut desk = Desk::new();
    desk.go_to("SmartHost").press(Enter).type_in("x").press(Enter).press(Down).press(Enter).press(Down);
    desk.press(Enter).shows(&["*2 pending"]).press(Up).type_in("U").shows(&["*1 pending", "36906 SmartHost"]);
    let MetaStep::Set { property, .. } = &desk.state.pending()[0] else { unreachable!("a value is set") };
    assert_eq!(property, "36932");
    desk.type_in("U").shows(&["Nothing of what is chosen is pending"]);
}

/// A name that is cut can be told from others, and where a value comes from is always said.
#[test]
fn at_80_columns_names_are_told_apart_and_origins_are_shown() {
    let mut fake = Fake::new();
    for path in ["/LM/SmtpSvc", "/LM/SmtpSvc/1"] {
        for id in [36997, 36894, 36925] {
            fake.tree.get_mut(path).unwrap().insert(id, fake::stored("DWORD", &["2"]));
        }
    }
    fake.tree.get_mut("/LM/SmtpSvc").unwrap().insert(100_007, fake::stored("DWORD", &["2"]));
    fake.names.insert(36894, "MaxOutConnections".into());
    fake.names.insert(36925, "MaxOutConnectionsPerDomain".into());
    let mut desk = Desk::sized(fake, options(), 80, 24);
    desk.go_to("SmartHost").press(Tab);
    desk.shows(&[">Keys", "From", "…SmtpSvc", "SmtpUseTcpDns", "…ions", "…main"]);
    desk.press(Tab).shows(&["From", "…/SmtpSvc", "SmtpUseTcpDns"]);
}

#[test]
fn a_long_explanation_says_that_there_is_more_and_shows_it() {
    let mut desk = Desk::new();
    desk.fake.doc = "word ".repeat(400) + "the end.";
    desk.type_in("r");
    let mut desk = Desk::sized(std::mem::replace(&mut desk.fake, Fake::new()), options(), 80, 24);
    desk.go_to("SmartHost")
        .shows(&["…"])
        .lacks("the end.")
        .type_in("i")
        .presses(&[crossterm::event::KeyCode::End]);
    desk.shows(&["the end."]).press(Esc).press(Enter).shows(&["…", "[ OK ]"]).lacks("the end.");
    desk.press(F(3)).press(crossterm::event::KeyCode::End).shows(&["the end."]).press(Esc);
    desk.shows(&["Edit at /LM/SmtpSvc/1"]);
}
