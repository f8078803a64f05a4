//! How long a parser was tried already, in CPU time of its own thread: other work on the machine takes nothing from it.
//! What is kept between runs is in `target/tmp/soak`, one file each, so that a long soak can be done in portions.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

/// What a parser has had so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) cpu: Duration,
    pub(super) inputs: u64,
    pub(super) read: u64,
    pub(super) findings: u64,
}

impl Tally {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self {
            cpu: Duration::from_millis(next()?),
            inputs: next()?,
            read: next()?,
            findings: next()?,
        })
    }

    fn line(self) -> String {
        let Self {
            cpu,
            inputs,
            read,
            findings,
        } = self;
        format!("{} {inputs} {read} {findings}\n", cpu.as_millis())
    }
}

/// One parser's soak: what it had before, and until when it goes on.
pub(super) struct Soak {
    name: &'static str,
    before: Tally,
    /// CPU time in all, and in this run.
    most: (Duration, Duration),
    told: u64,
    begun: (Duration, Instant),
}

impl Soak {
    /// None in an ordinary run. `GRANTLOG_SOAK_SECONDS` says how long each parser is tried in all, and
    /// `GRANTLOG_SOAK_PORTION` how long in one run.
    pub(super) fn wanted(name: &'static str) -> Option<Self> {
        let seconds = |variable: &str| {
            let text = std::env::var(variable).ok()?;
            Some(Duration::from_secs(
                text.parse().unwrap_or_else(|_| panic!("{variable} is a number")),
            ))
        };
        let all = seconds("GRANTLOG_SOAK_SECONDS")?;
        let kept = std::fs::read_to_string(place(name)).ok();
        Some(Self {
            name,
            before: kept.and_then(|text| Tally::parse(&text)).unwrap_or_default(),
            most: (all, seconds("GRANTLOG_SOAK_PORTION").unwrap_or(all)),
            told: 0,
            begun: (thread_cpu().unwrap_or_default(), Instant::now()),
        })
    }

    /// The CPU time of this run; where the system tells none, the time that has passed.
    fn cpu(&self) -> Duration {
        let (cpu, begun) = self.begun;
        thread_cpu().map_or_else(|| begun.elapsed(), |now| now.saturating_sub(cpu))
    }

    /// Whether it goes on.
    pub(super) fn goes_on(&mut self, now: Tally) -> bool {
        let cpu = self.cpu();
        let total = self.total(now);
        if cpu.as_secs() >= self.told + 30 {
            self.told = cpu.as_secs();
            self.keep(now);
            println!("{}: {} so far", self.name, words(total));
        }
        total.cpu < self.most.0 && cpu < self.most.1
    }

    fn total(&self, now: Tally) -> Tally {
        Tally {
            cpu: self.before.cpu + self.cpu(),
            inputs: self.before.inputs + now.inputs,
            read: self.before.read + now.read,
            findings: self.before.findings + now.findings,
        }
    }

    fn keep(&self, now: Tally) {
        let place = place(self.name);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, self.total(now).line()).unwrap();
    }

    /// Keeps the tally, and says it.
    pub(super) fn end(&self, now: Tally) {
        self.keep(now);
        let total = self.total(now);
        let rest = self.most.0.saturating_sub(total.cpu).as_secs();
        let end = if rest == 0 {
            "done".to_owned()
        } else {
            format!("{rest} s to go")
        };
        println!("{}: {}; {end}", self.name, words(total));
    }
}

fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("soak").join(name)
}

fn words(tally: Tally) -> String {
    let Tally {
        cpu,
        inputs,
        read,
        findings,
    } = tally;
    format!(
        "{:.0} CPU seconds, {inputs} inputs, {read} read, {findings} findings",
        cpu.as_secs_f64()
    )
}

/// What the calling thread has used so far, by Linux's scheduler.
fn thread_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split_whitespace().next()?.parse().ok()?;
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

#[test]
fn a_soak_goes_on_where_it_stopped() {
    let name = "a_soak_of_the_tests";
    let _ = std::fs::remove_file(place(name));
    let soak = |most| Soak {
        name,
        before: std::fs::read_to_string(place(name))
            .ok()
            .and_then(|text| Tally::parse(&text))
            .unwrap_or_default(),
        most,
        told: 0,
        begun: (thread_cpu().unwrap_or_default(), Instant::now()),
    };
    let now = Tally {
        inputs: 10,
        read: 3,
        findings: 1,
        ..Tally::default()
    };
    for run in 1..=3 {
        let mut soak = soak((Duration::from_secs(9), Duration::from_secs(9)));
        assert!(soak.goes_on(now));
        soak.end(now);
        let kept = Tally::parse(&std::fs::read_to_string(place(name)).unwrap()).unwrap();
        assert_eq!((kept.inputs, kept.read, kept.findings), (10 * run, 3 * run, run));
    }
    assert!(
        !soak((Duration::ZERO, Duration::from_secs(9))).goes_on(now),
        "it has had enough"
    );
    assert!(
        !soak((Duration::from_secs(9), Duration::ZERO)).goes_on(now),
        "the portion is over"
    );
    std::fs::remove_file(place(name)).unwrap();
    assert_eq!(Tally::parse("1 2 3"), None);
}
