//! `kill -9` at any moment: a change is there whole or not at all, and one that was acknowledged is there.

use crate::{Numbers, done, file, raw};
use postroad_tests::postroad::{Config, Postroad, program};
use postroad_tests::wait;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const ROUNDS: u64 = 20;
/// The number in the backup: the largest that either may have. Others are below it, each for one change.
const BASE: u64 = 1000;

/// Two numbers that every change sets together.
fn pair(number: u64) -> String {
    format!("[\"/LM/SmtpSvc/1\"]\nHopCount = {number}\nMaxRecipients = {number}\n")
}

fn pair_xml(number: u64) -> String {
    format!(
        "<?xml version =\"1.0\"?>\n<configuration xmlns=\"urn:microsoft-catalog:XML_Metabase_V64_0\">\n<MBProperty>\n\
         <IIsSmtpServer\tLocation =\"/LM/SmtpSvc/1\"\n\t\tHopCount=\"{number}\"\n\t\tMaxRecipients=\"{number}\"\n\t>\n\
         </IIsSmtpServer>\n</MBProperty>\n</configuration>\n"
    )
}

/// The number that both have.
fn number(postroad: &Postroad) -> u64 {
    let check = postroad.verb(&["meta", "check"]);
    assert_eq!(check.status, 0, "the store opens and nothing is wrong with it: {check:?}");
    let numbers = ["HopCount", "MaxRecipients"].map(|name| raw(postroad, "smtpsvc/1", name));
    assert_eq!(numbers[0], numbers[1], "half a change");
    numbers[0].parse().unwrap()
}

/// What was asked for, and whether it was acknowledged.
struct Asked {
    what: &'static str,
    number: u64,
    acknowledged: bool,
}

/// In turn a change, an import, a change, and a restore of the backup `base`, until told to stop.
fn edit(postroad: &Postroad, first: u64, over: &AtomicBool, answered: &AtomicU64) -> Vec<Asked> {
    let mut asked = Vec::new();
    for index in first.. {
        let what = ["apply", "import", "apply", "restore"][usize::try_from(index % 4).unwrap()];
        let number = 1 + index % (BASE - 1);
        let (number, verb) = match what {
            "apply" => {
                (number, postroad.verb(&["meta", "apply", &file(postroad, "pair.toml", pair(number))]))
            }
            "import" => {
                let xml = file(postroad, "pair.xml", pair_xml(number));
                (number, postroad.verb(&["meta", "import", &xml, "--apply"]))
            }
            _ => (BASE, postroad.verb(&["meta", "restore", "base", "--yes"])),
        };
        asked.push(Asked { what, number, acknowledged: verb.status == 0 });
        answered.fetch_add(1, Ordering::Relaxed);
        if over.load(Ordering::Relaxed) {
            break;
        }
        assert_eq!(verb.status, 0, "a healthy service takes it: {what} {verb:?}");
    }
    asked
}

/// What holds is the last that was acknowledged, or one that came after it.
fn check(holds: u64, before: u64, asked: &[Asked]) {
    let last = asked.iter().rposition(|one| one.acknowledged);
    let mut allowed: Vec<u64> = asked[last.unwrap_or(0)..].iter().map(|one| one.number).collect();
    if last.is_none() {
        allowed.push(before);
    }
    assert!(allowed.contains(&holds), "{holds} holds, of {allowed:?}");
}

#[test]
fn the_service_is_killed() {
    let mut postroad = Postroad::prepare_stored(&Config::default());
    let toml = file(&postroad, "base.toml", pair(BASE));
    crate::changed(&postroad, &["apply", &toml]);
    done(&postroad, &["backup", "base"]);
    let mut numbers = Numbers(0x2545_F491_4F6C_DD1D);
    let (mut holds, mut next) = (BASE, 0);
    let mut unanswered = [0; 3];
    for round in 0..ROUNDS {
        postroad.restart();
        let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
        // Another kind of change each time, at another moment of it.
        let enough = 1 + round % 4;
        let moment = Duration::from_micros(numbers.below(60_000));
        let pid = postroad.process().id();
        let asked = std::thread::scope(|scope| {
            let editor = scope.spawn(|| edit(&postroad, next, &over, &answered));
            wait::until("changes", || answered.load(Ordering::Relaxed) >= enough || editor.is_finished());
            std::thread::sleep(moment);
            over.store(true, Ordering::Relaxed);
            let killed = Command::new("kill").args(["-9", "--", &pid.to_string()]).status().unwrap();
            assert!(killed.success());
            editor.join().unwrap()
        });
        postroad.kill();
        next += u64::try_from(asked.len()).unwrap();
        if let Some(last) = asked.last().filter(|last| !last.acknowledged) {
            let kind = ["apply", "import", "restore"].iter().position(|kind| *kind == last.what).unwrap();
            unanswered[kind] += 1;
        }
        let now = number(&postroad);
        check(now, holds, &asked);
        holds = now;
        println!("round {round}: {} asked, {holds} holds", asked.len());
    }
    println!("killed in the middle of [apply, import, restore]: {unanswered:?}");
    assert!(unanswered.iter().sum::<u32>() > 0, "no kill came in the middle of anything");
}

#[test]
fn a_verb_on_a_store_at_rest_is_killed() {
    let postroad = Postroad::prepare_stored(&Config::default());
    let mut numbers = Numbers(0x1234_5678_9ABC_DEF1);
    let toml = file(&postroad, "pair.toml", pair(BASE));
    crate::changed(&postroad, &["apply", &toml]);
    let (mut holds, mut cut_short) = (BASE, 0);
    for wanted in 1..=ROUNDS {
        let toml = file(&postroad, "pair.toml", pair(wanted));
        let mut child = Command::new(program())
            .args(["--data", &postroad.data().display().to_string(), "meta", "apply", &toml])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(numbers.below(80_000)));
        let _ = child.kill();
        let status = child.wait().unwrap();
        cut_short += u32::from(!status.success());
        let now = number(&postroad);
        assert!(now == wanted || (now == holds && !status.success()), "{now} after {wanted}: {status}");
        holds = now;
    }
    println!("{cut_short} of {ROUNDS} were cut short");
    assert!(cut_short > 0);
}
