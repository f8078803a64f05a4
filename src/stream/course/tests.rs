use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::stream::{StreamFilter, StreamTarget};

fn definition(batch: u32, attempts: u32, on_failure: OnFailure) -> StreamDefinition {
    StreamDefinition {
        target: StreamTarget::Webhook {
            url: "https://siem.example/".into(),
            batched: true,
        },
        filter: StreamFilter::default(),
        batch,
        attempts,
        on_failure,
        secrets: Vec::new(),
    }
}

/// What goes wrong with one delivery. Each count says how many events had reached the receiver by then.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The receiver takes some and says so.
    Part(usize),
    /// It takes some, says so, and chokes on the next.
    Choke(usize),
    /// It takes some, and its answer is lost.
    AnswerLost(usize),
    /// It takes some, and the node dies before it writes anything down.
    NodeDies(usize),
}

fn fault() -> impl Strategy<Value = Fault> {
    (0..4_u8, 0..9_usize).prop_map(|(kind, count)| match kind {
        0 => Fault::Part(count),
        1 => Fault::Choke(count),
        2 => Fault::AnswerLost(count),
        _ => Fault::NodeDies(count),
    })
}

/// A stream of a ledger to a receiver in memory.
struct Simulation {
    passing: Vec<i64>,
    poison: BTreeSet<i64>,
    head: i64,
    definition: StreamDefinition,
    progress: Progress,
    received: Vec<i64>,
    dead: BTreeSet<i64>,
    /// Events that were sent again, and the most that faults account for.
    repeats: (usize, usize),
}

impl Simulation {
    fn window(&self) -> Window {
        let limit = batch_size(self.progress, &self.definition) as usize;
        let after = self.passing.iter().filter(|at| **at > self.progress.position);
        let positions: Vec<i64> = after.take(limit).copied().collect();
        let full = positions.len() == limit;
        let upto = positions.last().copied().filter(|_| full).unwrap_or(self.head);
        Window { positions, upto }
    }

    fn receive(&mut self, positions: &[i64]) {
        for position in positions {
            self.repeats.0 += usize::from(self.received.contains(position));
            self.received.push(*position);
        }
    }

    /// One delivery, and what is written down of it.
    fn turn(&mut self, fault: Option<Fault>) {
        let window = self.window();
        let healthy = window.positions.iter().take_while(|at| !self.poison.contains(at));
        let healthy = healthy.count();
        let reach = |count: usize| count.min(healthy);
        let (reached, delivery) = match fault {
            None if healthy == window.positions.len() => (healthy, Delivery::of(healthy)),
            None => (healthy, Delivery::failed(healthy, Failure::new("poison"))),
            Some(Fault::Part(count)) => (reach(count), Delivery::of(reach(count))),
            Some(Fault::Choke(count)) => (
                reach(count),
                Delivery::failed(reach(count), Failure::new("choked")),
            ),
            Some(Fault::AnswerLost(count) | Fault::NodeDies(count)) => {
                (reach(count), Delivery::failed(0, Failure::new("timeout")))
            }
        };
        let positions = window.positions[..reached].to_vec();
        self.receive(&positions);
        if delivery.acknowledged < reached {
            self.repeats.1 += reached;
        }
        if matches!(fault, Some(Fault::NodeDies(_))) {
            return;
        }
        let before = self.progress;
        let (position, attempts) = match settle(before, &window, delivery, &self.definition, 0.5) {
            Step::Advance { to } => (to, if to > before.position { 0 } else { before.attempts }),
            Step::Retry { to, attempts, .. } => (to, attempts),
            Step::GiveUp {
                position, attempts, ..
            } => {
                assert!(attempts >= self.definition.attempts);
                assert_eq!(self.definition.on_failure, OnFailure::DeadLetter);
                self.dead.insert(position);
                (position, 0)
            }
            Step::Pause { .. } => unreachable!("nobody said that it is gone"),
        };
        assert!(position >= before.position, "a cursor never goes back");
        self.progress = Progress { position, attempts };
    }
}

proptest! {
    #[test]
    fn whatever_fails_nothing_is_lost_order_is_kept_and_only_unacknowledged_events_repeat(
        passes in prop::collection::vec(any::<bool>(), 1..40),
        bad in prop::collection::btree_set(1..40_i64, 0..4),
        faults in prop::collection::vec(prop::option::of(fault()), 0..40),
        batch in 1..9_u32,
        attempts in 1..6_u32,
        holds: bool,
    ) {
        let positions = (1_i64..).zip(&passes);
        let passing: Vec<i64> = positions.filter(|(_, passes)| **passes).map(|(at, _)| at).collect();
        let on_failure = if holds { OnFailure::Hold } else { OnFailure::DeadLetter };
        let mut stream = Simulation {
            head: i64::try_from(passes.len()).unwrap(),
            poison: if holds { BTreeSet::new() } else { bad },
            passing: passing.clone(),
            definition: definition(batch, attempts, on_failure),
            progress: Progress { position: 0, attempts: 0 },
            received: Vec::new(),
            dead: BTreeSet::new(),
            repeats: (0, 0),
        };
        for fault in faults {
            stream.turn(fault);
        }
        for _ in 0..2_000 {
            if stream.progress.position >= stream.head {
                break;
            }
            stream.turn(None);
        }
        prop_assert_eq!(stream.progress.position, stream.head, "it comes to the end");
        for position in &passing {
            let arrived = stream.received.contains(position);
            prop_assert!(arrived || stream.dead.contains(position), "{} is lost", position);
            if stream.poison.contains(position) {
                prop_assert!(!arrived && stream.dead.contains(position));
            }
        }
        let mut first = Vec::new();
        for position in &stream.received {
            if !first.contains(position) {
                first.push(*position);
            }
        }
        prop_assert!(first.is_sorted(), "{:?}", stream.received);
        prop_assert!(first.iter().all(|position| passing.contains(position)));
        prop_assert!(stream.repeats.0 <= stream.repeats.1, "{:?}", stream.repeats);
    }

    #[test]
    fn pauses_grow_to_five_minutes_and_never_outlast_what_may_be_asked(
        attempts in 0..200_u32, asked in prop::option::of(0..100_000_u64), jitter in -1.0..2.0_f64,
    ) {
        let found = pause(attempts, asked.map(Duration::from_secs), jitter);
        prop_assert!(found >= FIRST_PAUSE / 2 && found <= LONGEST_ASKED);
        if asked.is_none() {
            prop_assert!(found <= LONGEST_PAUSE);
        }
    }
}

#[test]
fn a_batch_that_fails_is_halved_and_the_last_attempt_has_one_event() {
    let sizes = |most: u32| -> Vec<u32> {
        let definition = definition(100, most, OnFailure::DeadLetter);
        let size = |attempts| {
            let position = 0;
            batch_size(Progress { position, attempts }, &definition)
        };
        (0..most).map(size).collect()
    };
    assert_eq!(sizes(12), [100, 50, 25, 12, 6, 3, 1, 1, 1, 1, 1, 1]);
    assert_eq!(sizes(3), [100, 50, 1]);
    assert_eq!(sizes(1), [1]);
    let seconds: Vec<u64> = [1, 2, 3, 9, 10, 99]
        .map(|attempts| pause(attempts, None, 0.0).as_secs())
        .into();
    assert_eq!(seconds, [1, 2, 4, 256, 300, 300]);
}

#[test]
fn a_receiver_that_is_gone_pauses_the_stream_after_what_it_took() {
    let gone = Failure {
        gone: true,
        ..Failure::new("status_410")
    };
    let window = Window {
        positions: vec![3, 5, 8],
        upto: 9,
    };
    let progress = Progress {
        position: 2,
        attempts: 0,
    };
    let definition = definition(3, 1, OnFailure::DeadLetter);
    let step = settle(
        progress,
        &window,
        Delivery::failed(2, gone.clone()),
        &definition,
        0.0,
    );
    assert_eq!(step, Step::Pause { to: 5, failure: gone });
}
