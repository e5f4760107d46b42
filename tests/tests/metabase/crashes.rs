//! `kill -9` at any moment of random changes, imports, restores and backups: the whole tree is as before or after what was in
//! flight, never between; what was acknowledged is there; and every backup that has its name is whole.

use crate::deeds::{self, Deed, Kind, open};
use crate::{Numbers, changed, done};
use postroad_metabase::tree::Tree;
use postroad_tests::postroad::{Config, Postroad, program};
use postroad_tests::wait;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Deeds begun by a service that is killed, and by verbs that are; a thousand together.
const RUNNING: usize = 750;
const AT_REST: usize = 250;
/// A service that greets answers by then.
const AT_ONCE: Duration = Duration::from_secs(2);
/// In microseconds: on a fast machine a restore is committed by then, and mostly not answered.
const AFTER_WRITE: u64 = 1_000;

/// The service's ear; none where it was killed.
fn ear(data: &Path) -> Option<UnixStream> {
    UnixStream::connect(data.join("control.sock")).ok()
}

/// Asks the service one thing: whether it was done; none: it was killed before it answered.
fn ask(mut stream: UnixStream, kind: &Kind) -> Option<Result<(), String>> {
    stream.write_all(format!("{}\n", deeds::question(kind)).as_bytes()).ok()?;
    let lines: Vec<String> = BufReader::new(stream).lines().collect::<Result<_, _>>().ok()?;
    let (last, items) = lines.split_last()?;
    // A restore that was rolled back was not done.
    let rolled_back =
        items.iter().find(|item| item.contains("rolled_back") && !item.contains("\"rolled_back\":\"\""));
    match (last.as_str(), rolled_back) {
        ("\"end\"", None) => Some(Ok(())),
        (line, None) if line.starts_with("{\"failed\"") => Some(Err(line.to_owned())),
        (_, None) => None,
        (_, Some(report)) => Some(Err(report.clone())),
    }
}

fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-9", "--", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
}

/// The trees that are compared, and how many of each kind were begun and cut short.
struct Loop {
    holds: Tree,
    /// Backups made before the first kill.
    saved: Vec<(String, Tree)>,
    begun: BTreeMap<&'static str, (usize, usize)>,
    numbers: Numbers,
}

impl Loop {
    /// Some backups of trees that differ, and where to begin.
    fn new(postroad: &Postroad, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let mut saved = Vec::new();
        for number in 0..4 {
            for _ in 0..3 {
                let tree = open(&postroad.data()).tree().clone();
                let (ops, _) = deeds::change(&mut numbers, &tree, 1);
                let args = deeds::verb(postroad, &Kind::Change(ops));
                let verb = postroad.verb(&args.iter().map(String::as_str).collect::<Vec<_>>());
                assert_eq!(verb.status, 0, "{args:?}: {verb:?}");
            }
            let name = format!("base{number}");
            done(postroad, &["backup", &name]);
            saved.push((name, open(&postroad.data()).tree().clone()));
        }
        let holds = open(&postroad.data()).tree().clone();
        Self { holds, saved, begun: BTreeMap::new(), numbers }
    }

    fn next(&mut self, steps: u64) -> Deed {
        deeds::random(&mut self.numbers, &self.holds, &self.saved, steps)
    }

    fn begin(&mut self, kind: &Kind) {
        self.begun.entry(kind.name()).or_default().0 += 1;
    }

    /// No process has the store. What was in flight, if anything was, is there whole or not at all.
    fn reopen(&mut self, postroad: &Postroad, in_flight: Option<&Deed>) {
        let mut metabase = open(&postroad.data());
        let tree = metabase.tree().clone();
        let newest = metabase.generation();
        let past = metabase.past(newest).unwrap();
        assert!(
            past.is_some_and(|past| past.deltas_count > 0) && metabase.past(newest + 1).unwrap().is_none()
        );
        let before = self.holds.diff(&tree);
        let Some(deed) = in_flight else {
            assert_eq!(before, [], "what was acknowledged is there, and nothing else");
            return;
        };
        self.begun.entry(deed.kind.name()).or_default().1 += 1;
        let after = deed.after.diff(&tree);
        assert!(
            before.is_empty() || after.is_empty(),
            "between before and after a {}: {before:?} {after:?}",
            deed.kind.name()
        );
        if metabase.pending().is_some() {
            // A restore that nobody knows to be well undoes itself, unless somebody says that it is.
            assert!(matches!(deed.kind, Kind::Restore(_)));
            assert_eq!(metabase.undone().unwrap().diff(&self.holds), []);
            metabase.drop_wait().unwrap();
        }
        self.holds = tree;
    }

    /// Until so many were begun, and some of each kind cut short.
    fn goes_on(&self, wanted: usize) -> bool {
        let begun: usize = self.begun.values().map(|(begun, _)| begun).sum();
        let is_cut = |kind| self.begun.get(kind).is_some_and(|(_, cut)| *cut > 0);
        assert!(begun < 10 * wanted, "kills cut nothing short: {:?}", self.begun);
        begun < wanted || !["change", "import", "restore"].into_iter().all(is_cut)
    }

    /// Every backup that has its name is whole, and those from before hold what they held.
    fn end(&mut self, postroad: &Postroad) {
        println!("(begun, cut short): {:?}", self.begun);
        let backups = postroad.json(&["meta", "backups"]);
        assert!(backups.len() > self.saved.len());
        for row in backups {
            let (name, version) = (row["name"].as_str().unwrap(), row["version"].to_string());
            done(postroad, &["backups", "verify", name, "--version", &version]);
        }
        for (name, tree) in self.saved.clone() {
            done(postroad, &["restore", &name, "--yes"]);
            assert_eq!(open(&postroad.data()).tree().diff(&tree), [], "{name}");
        }
    }
}

#[test]
fn the_service_is_killed() {
    let mut postroad = Postroad::prepare_stored(&Config::default());
    let mut kills = Loop::new(&postroad, 0x2545_F491_4F6C_DD1D);
    while kills.goes_on(RUNNING) {
        postroad.restart();
        let (pid, data) = (postroad.process().id(), postroad.data());
        wait::until("the control socket", || ear(&data).is_some());
        let moment = Duration::from_micros(kills.numbers.below(150_000));
        let killer = std::thread::spawn(move || {
            std::thread::sleep(moment);
            kill(pid);
        });
        let mut in_flight = None;
        while let (None, Some(stream)) = (&in_flight, ear(&data)) {
            let deed = kills.next(6);
            kills.begin(&deed.kind);
            match ask(stream, &deed.kind) {
                Some(Ok(())) => kills.holds = deed.after,
                Some(Err(failed)) => panic!("a healthy service does it: {failed} {deed:?}"),
                None => in_flight = Some(deed),
            }
        }
        killer.join().unwrap();
        postroad.kill();
        kills.reopen(&postroad, in_flight.as_ref());
    }
    kills.end(&postroad);
}

#[test]
fn a_verb_on_a_store_at_rest_is_killed() {
    let postroad = Postroad::prepare_stored(&Config::default());
    let mut kills = Loop::new(&postroad, 0x1234_5678_9ABC_DEF1);
    while kills.goes_on(AT_REST) {
        let deed = kills.next(1);
        kills.begin(&deed.kind);
        let mut child = Command::new(program())
            .args(["--data", &postroad.data().display().to_string()])
            .args(deeds::verb(&postroad, &deed.kind))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(kills.numbers.below(80_000)));
        let _ = child.kill();
        let status = child.wait().unwrap();
        if status.success() {
            kills.holds = deed.after;
            kills.reopen(&postroad, None);
        } else {
            assert_eq!(status.code(), None, "it does it, or is killed: {deed:?}");
            kills.reopen(&postroad, Some(&deed));
        }
    }
    kills.end(&postroad);
}

/// Kills in the time between the commit of a restore and the answer, in which the service's health is looked at, and in that
/// of putting back: a tree that is not known to be well never stays for good.
#[test]
fn a_restore_is_killed_before_it_is_known_to_be_well() {
    let mut postroad = Postroad::prepare_stored(&Config::default());
    let saved = |postroad: &Postroad, name: &str| {
        done(postroad, &["backup", name]);
        open(&postroad.data()).tree().clone()
    };
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "44"]);
    let well = saved(&postroad, "well");
    // What the check calls an error: that restore is rolled back.
    changed(&postroad, &["set", "smtpsvc/1", "RelayIpList", "0x0102030405"]);
    let unwell = saved(&postroad, "unwell");
    changed(&postroad, &["unset", "smtpsvc/1", "RelayIpList"]);
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "33"]);
    let before = open(&postroad.data()).tree().clone();
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let (mut rounds, mut waiting) = (0, [0; 2]);
    while waiting.contains(&0) || rounds < 20 {
        rounds += 1;
        assert!(rounds < 200, "no kill came between commit and answer: {waiting:?}");
        let is_well = rounds % 2 == 0;
        let (name, after) = if is_well { ("well", &well) } else { ("unwell", &unwell) };
        postroad.restart();
        let (pid, data) = (postroad.process().id(), postroad.data());
        // A machine that is busy takes longer.
        let moment = Duration::from_micros(numbers.below(AFTER_WRITE * (1 + rounds / 20)));
        let stream = wait::within(AT_ONCE, "the control socket", || ear(&data));
        let log = data.join("metabase.db-wal");
        let written = || std::fs::metadata(&log).and_then(|log| log.modified()).ok();
        let last = written();
        let asker = std::thread::spawn(move || ask(stream, &Kind::Restore(name.into())));
        // However fast the machine is: from the first octet that the restore writes into the log on.
        let begun = Instant::now();
        while written() == last && begun.elapsed() < AT_ONCE {
            std::thread::yield_now();
        }
        std::thread::sleep(moment);
        kill(pid);
        let answer = asker.join().unwrap();
        postroad.kill();
        let mut metabase = open(&postroad.data());
        let tree = metabase.tree().clone();
        if answer.is_some() || metabase.pending().is_none() {
            let is_restored = tree.diff(after).is_empty();
            let expected = if is_well && (answer.is_some() || is_restored) { after } else { &before };
            assert_eq!(tree.diff(expected), [], "{name}: {answer:?}");
        } else {
            assert_eq!(tree.diff(after), [], "{name}: between before and after");
            waiting[usize::from(is_well)] += 1;
        }
        // What waits undoes itself: as the next start does when its time is over.
        let undone = metabase.undone().unwrap_or_else(|| before.clone());
        assert_eq!(undone.diff(&before), [], "{name}");
        metabase.commit(&undone, &Default::default(), postroad_metabase::store::Act::Undo).unwrap();
    }
    println!("{rounds} kills; between commit and answer of [unwell, well]: {waiting:?}");
}
