//! Tasks: one question each, from those who ask it to the answer they get. Equal questions under one policy are one task.

use crate::answer::{Answer, Cause, CauseKind, Provenance, Question, TRAIL_MAX, Verdict};
use crate::exchange::{Exchange, rtype_name};
use crate::fact::Fact;
use crate::lookup::{First, LookupKey};
use crate::name::Name;
use crate::nexthop::{Conclusion, Decision, Found, Need, decide, exchangers};
use crate::policy::Policy;
use crate::resolved::{Resolved, Said, busy, failed};
use crate::resolver::{LookupId, Output, QUESTIONS_MAX, Resolver};
use crate::timers::Timer;
use crate::wire::MX_TYPE;
use postroad_mail::time::Mono;
use rand_chacha::rand_core::Rng;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Once some host has an address, the others are waited for this long: one slow zone must not hold up the mail.
const OTHERS_WAIT: Duration = Duration::from_secs(2);

/// A question being worked on.
#[derive(Debug)]
pub(crate) struct Task {
    question: Question,
    policy: Policy,
    waiters: Vec<LookupId>,
    found: Found,
    open: BTreeSet<Need>,
    trail: Vec<Exchange>,
    /// The others are being waited for.
    hurried: bool,
}

impl Resolver {
    /// Takes a question.
    pub(crate) fn find(&mut self, id: LookupId, question: Question, policy: Policy) {
        if self.asked_by.len() >= QUESTIONS_MAX {
            let cause = busy();
            let expires = self.now.mono;
            let answer = self.answer(question, policy, Conclusion::unresolved(cause), expires);
            self.emit(Output::Found { id, answer: Arc::new(answer) });
            return;
        }
        let key = (question, policy);
        if let Some((number, task)) =
            self.by_question.get(&key).and_then(|n| Some((*n, self.tasks.get_mut(n)?)))
        {
            task.waiters.push(id);
            self.asked_by.insert(id, number);
            return;
        }
        let number = self.number();
        let (question, policy) = key.clone();
        self.by_question.insert(key, number);
        self.asked_by.insert(id, number);
        let task = Task {
            question,
            policy,
            waiters: vec![id],
            found: Found::default(),
            open: BTreeSet::new(),
            trail: Vec::new(),
            hurried: false,
        };
        self.tasks.insert(number, task);
        self.timers.set(Timer::Task(number), self.now.mono + self.settings.timeouts.lookup);
        self.decide_task(number);
    }

    /// Nobody of this number waits any more. What was begun goes on and fills the cache.
    pub(crate) fn cancel(&mut self, id: LookupId) {
        let Some(number) = self.asked_by.remove(&id) else {
            return;
        };
        if let Some(task) = self.tasks.get_mut(&number) {
            task.waiters.retain(|waiter| *waiter != id);
            if task.waiters.is_empty() {
                self.drop_task(number);
            }
        }
    }

    fn drop_task(&mut self, number: u64) -> Option<Task> {
        let task = self.tasks.remove(&number)?;
        self.timers.clear(Timer::Task(number));
        self.by_question.remove(&(task.question.clone(), task.policy));
        for id in &task.waiters {
            self.asked_by.remove(id);
        }
        Some(task)
    }

    /// Hands what lookups came to over to the tasks that need it, until all is handed over.
    pub(crate) fn settle(&mut self) {
        while let Some((number, need, resolved)) = self.ready.pop_front() {
            let Some(task) = self.tasks.get_mut(&number) else {
                continue;
            };
            if !task.open.remove(&need) {
                continue;
            }
            task.take(need, resolved, &mut self.rng);
            if task.open.is_empty() {
                self.decide_task(number);
            } else {
                self.hurry(number);
            }
        }
    }

    /// Decides a task, or starts what it needs first.
    fn decide_task(&mut self, number: u64) {
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        match decide(&task.question, &task.found, &self.settings) {
            Decision::Is(conclusion) => self.conclude(number, conclusion),
            Decision::Needs(needs) => {
                task.open.extend(needs.iter().cloned());
                for need in needs {
                    if let Some(key) = self.lookup_key(number, &need) {
                        self.look_up(key, number, need);
                    }
                }
            }
        }
    }

    fn lookup_key(&self, number: u64, need: &Need) -> Option<LookupKey> {
        let task = self.tasks.get(&number)?;
        let first = match task.found.got.get(&Need { confirm: false, ..need.clone() }) {
            Some(Resolved { said: Said::Absent(absent), .. }) if need.confirm => {
                Some(First { witness: absent.witness, proof: absent.proof, no_name: absent.no_name })
            }
            _ => None,
        };
        let mail = !matches!(task.question, Question::Records(..));
        Some(LookupKey {
            name: need.name.clone(),
            rtype: need.rtype,
            policy: task.policy,
            mail,
            confirm: first,
        })
    }

    /// Once a host has an address, the others' time is short.
    fn hurry(&mut self, number: u64) {
        let Some(task) = self.tasks.get_mut(&number).filter(|task| !task.hurried && task.found.has_address())
        else {
            return;
        };
        task.hurried = true;
        let soon = self.now.mono + OTHERS_WAIT;
        if self.timers.at(Timer::Task(number)).is_some_and(|at| at > soon) {
            self.timers.set(Timer::Task(number), soon);
        }
    }

    /// A task's time is over: what is open counts as failed, and the verdict is by what there is.
    pub(crate) fn task_expired(&mut self, number: u64) {
        while let Some(task) = self.tasks.get_mut(&number) {
            let open = std::mem::take(&mut task.open);
            for need in open {
                let resolved = self.out_of_time(number, &need);
                if let Some(task) = self.tasks.get_mut(&number) {
                    task.take(need, resolved, &mut self.rng);
                }
            }
            let Some(task) = self.tasks.get_mut(&number) else {
                return;
            };
            match decide(&task.question, &task.found, &self.settings) {
                Decision::Is(conclusion) => return self.conclude(number, conclusion),
                Decision::Needs(needs) => task.open.extend(needs),
            }
        }
    }

    /// What an open need comes to at the end of the task's time: by what its lookup has heard so far.
    fn out_of_time(&self, number: u64, need: &Need) -> Resolved {
        let key = self.lookup_key(number, need);
        let lookup = key.as_ref().and_then(|key| self.lookups.get(self.by_key.get(key)?));
        let (kind, text, trail) = match lookup.filter(|lookup| !lookup.trail.is_empty()) {
            Some(lookup) => (lookup.kind(), lookup.tell(lookup.kind()), lookup.trail.as_slice()),
            None => {
                let asked = format!("{} {}", rtype_name(need.rtype), need.name);
                (CauseKind::Unreachable, format!("no answer for {asked} in time"), &[][..])
            }
        };
        let resolved = failed(self.now.mono, Cause { text, dns_fault: true, kind });
        let instead = key.filter(|key| key.confirm.is_none()).and_then(|key| self.instead(&key, kind));
        Resolved { trail: trail.into(), ..instead.unwrap_or(resolved) }
    }

    fn conclude(&mut self, number: u64, conclusion: Conclusion) {
        let Some(task) = self.drop_task(number) else {
            return;
        };
        let mail = !matches!(task.question, Question::Records(..));
        if mail && matches!(&conclusion.verdict, Verdict::Unresolved(cause) if cause.dns_fault) {
            self.tell_mail_waits(&task.trail);
        }
        self.tell_stale(&task.found);
        let got = task.found.got.values();
        let expires = got.clone().map(|resolved| resolved.expires).min().unwrap_or(self.now.mono);
        let provenance =
            got.clone().map(|resolved| resolved.provenance).max().unwrap_or(Provenance::Complete);
        let from_cache = got.clone().all(|resolved| resolved.cached) && got.len() > 0;
        let answer = self.answer(task.question, task.policy, conclusion, expires);
        let answer = Arc::new(Answer { provenance, from_cache, trail: task.trail, ..answer });
        for id in task.waiters {
            self.emit(Output::Found { id, answer: answer.clone() });
        }
    }

    /// Tells of the stale record sets among those by which a question was answered, however they came there.
    fn tell_stale(&mut self, found: &Found) {
        for (need, resolved) in &found.got {
            if let Some((domain, expired)) = need.name.domain().zip(resolved.expired) {
                self.emit(Output::Fact(Fact::StaleUsed { domain, expired }));
            }
        }
    }

    fn answer(
        &mut self,
        question: Question,
        policy: Policy,
        conclusion: Conclusion,
        expires: Mono,
    ) -> Answer {
        let Conclusion { mut verdict, in_part, implicit, records } = conclusion;
        if let Verdict::Hosts(hosts) = &mut verdict {
            for host in hosts {
                self.mix(&mut host.addresses);
            }
        }
        Answer {
            serial: self.number(),
            question,
            policy,
            verdict,
            provenance: Provenance::Complete,
            in_part,
            implicit,
            expires,
            from_cache: false,
            trail: Vec::new(),
            records,
        }
    }

    /// Addresses in random order, IPv4 first: where IPv6 does not work, trying it first costs a time-out for each message.
    fn mix(&mut self, addresses: &mut [IpAddr]) {
        addresses.sort_by_cached_key(|ip| (ip.is_ipv6(), self.rng.next_u32()));
    }
}

impl Task {
    fn take(&mut self, need: Need, resolved: Resolved, rng: &mut impl Rng) {
        let room = TRAIL_MAX.saturating_sub(self.trail.len());
        self.trail.extend(resolved.trail.iter().take(room).cloned());
        if let (Question::NextHop(domain), MX_TYPE, Said::Set(set)) =
            (&self.question, need.rtype, &resolved.said)
            && need.name == Name::from_domain(domain)
        {
            self.found.order = Some(exchangers(set, || rng.next_u32()));
        }
        self.found.got.insert(need, resolved);
    }
}

impl Found {
    fn has_address(&self) -> bool {
        self.got.iter().any(|(need, resolved)| need.rtype != MX_TYPE && matches!(resolved.said, Said::Set(_)))
    }
}

impl Conclusion {
    fn unresolved(cause: Cause) -> Self {
        Self { verdict: Verdict::Unresolved(cause), in_part: false, implicit: false, records: Vec::new() }
    }
}
