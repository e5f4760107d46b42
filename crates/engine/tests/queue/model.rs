//! Random stories: however they go, every recipient is settled once.

use super::*;
use postroad_metabase::settings::Settings;

/// What may happen, by a byte each: the argument of a step is the rest of it.
fn step(world: &mut World, what: u8, which: u8) {
    let hops = ["a", "b", "c", "drop"];
    let word = |n: u8| hops[usize::from(n) % hops.len()];
    let moods = [Mood::Up, Mood::Up, Mood::Down, Mood::NoDns, Mood::Slow, Mood::Hang, Mood::Drop];
    // At c, which may become a domain of ours, nobody is refused: a folder takes everything.
    let local = |n: u8, at: u8| match ["ok", "later2", "no", "later1"][usize::from(n) % 4] {
        "no" if word(at) == "c" => "later1",
        local => local,
    };
    match what % 19 {
        0..=4 => {
            let from = if which & 1 == 0 { "s@x" } else { "" };
            let one = |n: u8| format!("{}@{}", local(n / 3, n), word(n));
            let to: Vec<String> = (0..=which % 4).map(|n| one(which.wrapping_add(n * 37))).collect();
            if which.is_multiple_of(7) {
                let content = world.large();
                world.submit_content(from, &to.join(" "), content);
            } else {
                world.submit(from, &to.join(" "));
            }
        }
        5..=7 => world.mood(
            if which & 3 == 3 { "relay" } else { word(which) },
            moods[usize::from(which / 4) % moods.len()],
        ),
        8 => world.run(Duration::from_millis(u64::from(which))),
        9 => world.run(secs(u64::from(which))),
        10 => world.minutes(u64::from(which)),
        11 => world.tell(QueueInput::DnsReleased),
        12 => {
            world.disk = if which & 1 == 0 { Disk::Held } else { Disk::Fails { full: which & 2 == 0 } };
            world.keeps = which & 8 == 0;
            world.run(secs(u64::from(which / 4)));
            let failed = matches!(world.disk, Disk::Fails { .. });
            if failed { world.store_up() } else { world.disk = Disk::Works }
        }
        13 => world.restart(which & 1 == 0),
        14 => world.admin(AdminRequest::Retry(if which & 1 == 0 {
            Selection::All
        } else {
            ids(world, &[1, 3, 5])
        })),
        16 => world.new_settings(|settings| route(settings, which)),
        17 => {
            route(&mut world.settings, which);
            world.restart(which & 4 == 0);
        }
        18 => {
            world.disk = Disk::Held;
            world.submit("s@x", "ok@a later1@c ok@drop");
            world.new_settings(|settings| route(settings, which));
            if which & 8 == 0 { world.restart(which & 4 == 0) } else { world.disk = Disk::Works }
        }
        _ => {
            world.disk = Disk::Held;
            world.mood(word(which), Mood::Up);
            world.run(Duration::from_millis(u64::from(which / 4)));
            world.restart(which & 4 == 0);
        }
    }
}

/// A route by a number: with a smart host or none, c one of our domains or not.
fn route(settings: &mut Settings, which: u8) {
    settings.smart_host = (which & 1 == 0).then(|| ("relay.example".parse().unwrap(), 25));
    settings.default_domain = (if which & 2 == 0 { "c.example" } else { "mail.example" }).parse().unwrap();
}

/// However things go, every recipient that was accepted is settled in the end, and once, unless we died over it.
fn check_steps(steps: &[(u8, u8)]) {
    let mut world = World::with(|settings| {
        settings.batch_max = 3;
        settings.out_connections_max = 4;
        settings.out_connections_per_domain_max = 2;
    });
    for (what, which) in steps {
        step(&mut world, *what, *which);
    }
    ["a", "b", "c", "drop", "x", "relay"].iter().for_each(|word| world.mood(word, Mood::Up));
    world.minutes(9 * 60);
    assert!(world.stored().is_empty() && world.rows().is_empty(), "{:?} {:?}", world.waiting(), world.rows());
    assert_eq!(world.queue.messages(), 0);
    assert_eq!((world.held(), world.queue.connections()), (0, 0), "nothing is kept of what is gone");
    for (place, fate) in &world.accepted {
        let times = |counts: &BTreeMap<(usize, u32), u32>| counts.get(place).copied().unwrap_or(0);
        let most = 1 + times(&world.died_over);
        let once = |times: u32| (1..=most).contains(&times);
        let (taken, failed) = (times(&world.taken), times(&world.failed));
        let good = match fate {
            Fate::Taken => once(taken) && failed == 0,
            Fate::Returned => once(failed) && taken == 0,
            Fate::Badmail => once(failed) && once(taken),
        };
        assert!(good, "{place:?} {fate:?}: taken {taken} times, failed {failed} times, at most {most}");
    }
}

/// As above, with an administrator who deletes, and a life of two hours: nobody knows beforehand what becomes of a recipient,
/// but it is not lost, and is delivered once.
fn check_short_lives(steps: &[(u8, u8)]) {
    let mut world = World::with(|settings| {
        settings.batch_max = 3;
        settings.out_connections_max = 4;
        settings.out_connections_per_domain_max = 2;
        settings.expire = secs(2 * 3600);
    });
    for (what, which) in steps {
        match what % 22 {
            19 => {
                let some = ids(&world, &[usize::from(which % 16), usize::from(which / 16), 2]);
                world.admin(AdminRequest::Delete(some));
                world.submit("s@x", "ok@a kills@a later1@b");
            }
            20 if which % 4 == 0 => world.admin(AdminRequest::Delete(Selection::All)),
            20 | 21 => {
                // The store is held while he asks.
                world.disk = Disk::Held;
                let some = ids(&world, &[usize::from(which % 16), usize::from(which / 16)]);
                world.admin(if which & 1 == 0 {
                    AdminRequest::Delete(some)
                } else {
                    AdminRequest::Retry(some)
                });
                world.submit("s@x", "ok@a later1@b no@a");
                world.run(secs(u64::from(*which)));
                world.disk = Disk::Works;
            }
            what => step(&mut world, what, *which),
        }
    }
    ["a", "b", "c", "drop", "x", "relay", "badmail"].iter().for_each(|word| world.mood(word, Mood::Up));
    // A wait for DNS does not count, and what is never taken is looked at every four hours.
    world.minutes(4 * 24 * 60);
    assert!(world.stored().is_empty() && world.rows().is_empty(), "{:?} {:?}", world.waiting(), world.rows());
    assert_eq!(world.queue.messages(), 0);
    assert_eq!((world.held(), world.queue.connections()), (0, 0), "nothing is kept of what is gone");
    assert_eq!(world.queue.content_held(), 0);
    for place in world.accepted.keys() {
        let times = |counts: &BTreeMap<(usize, u32), u32>| counts.get(place).copied().unwrap_or(0);
        let (taken, failed, died) = (times(&world.taken), times(&world.failed), times(&world.died_over));
        let settled = taken > 0 || failed > 0 || world.deleted.contains(place);
        assert!(
            settled && taken <= 1 + died,
            "{place:?}: taken {taken} times, failed {failed} times, died over {died}"
        );
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 50, failure_persistence: None, ..proptest::test_runner::Config::default()
    })]

    #[test]
    fn every_recipient_is_settled_once(
        steps in proptest::collection::vec((proptest::num::u8::ANY, proptest::num::u8::ANY), 1..60)
    ) {
        check_steps(&steps);
    }
}

proptest::proptest! {
    // Fewer: each plays days.
    #![proptest_config(proptest::test_runner::Config {
        cases: 20, failure_persistence: None, ..proptest::test_runner::Config::default()
    })]

    #[test]
    fn nothing_is_lost_or_delivered_twice(
        steps in proptest::collection::vec((proptest::num::u8::ANY, proptest::num::u8::ANY), 1..80)
    ) {
        check_short_lives(&steps);
    }
}
