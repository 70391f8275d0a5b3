//! Every knob of a run, with its unit.

use std::ops::Range;
use std::time::Duration;

/// What a run is like. [`Options::default`] is what the tests run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Hosts that exist, 1 to 99.
    pub hosts: usize,
    /// How many of them belong to the fabric when the story begins; the others may join in its course.
    pub members: usize,
    /// Steps of the story, without those that start it.
    pub steps: usize,
    /// Simulated time between two steps.
    pub pause: Range<Duration>,
    /// How packets travel.
    pub network: NetworkOptions,
    /// How fast container engines work.
    pub engine: EngineOptions,
    /// Simulated time, after everything was healed, within which all hosts must agree. The longest pause between two
    /// tries of any part of the agent is 30 s, and an answer counts as lost after 20 s.
    pub settle: Duration,
    /// Simulated time after that in which nothing happens and traffic is counted; zero: not counted.
    pub quiet: Duration,
}

/// How packets travel. Each directed link draws its own delay once, between the two ends of `delay`; `jitter` is
/// drawn anew for each packet, so packets overtake each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkOptions {
    /// One-way delay of a link.
    pub delay: Range<Duration>,
    /// What a packet may take longer than its link's delay.
    pub jitter: Duration,
    /// Datagrams that are lost, in thousandths. A lost packet of a message is sent again and only delays it.
    pub loss_per_mille: u32,
    /// Datagrams that arrive twice, in thousandths.
    pub duplication_per_mille: u32,
    /// Packets that are held up by `held_up`, in thousandths: everything sent meanwhile overtakes them.
    pub reordering_per_mille: u32,
    /// How long those are held up.
    pub held_up: Duration,
    /// What a message takes longer when one of its packets was lost.
    pub resend: Duration,
}

/// How fast a container engine works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Pause before each call of the driver.
    pub call: Range<Duration>,
    /// From a change in the engine until the agent looks at it.
    pub look: Range<Duration>,
    /// From the engine's answer until the agent decides on it.
    pub answer: Range<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hosts: 4,
            members: 2,
            steps: 60,
            pause: Duration::from_millis(20)..Duration::from_millis(4_000),
            network: NetworkOptions::default(),
            engine: EngineOptions::default(),
            settle: Duration::from_secs(90),
            quiet: Duration::ZERO,
        }
    }
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(200)..Duration::from_millis(15),
            jitter: Duration::from_millis(2),
            loss_per_mille: 10,
            duplication_per_mille: 10,
            reordering_per_mille: 20,
            held_up: Duration::from_millis(120),
            resend: Duration::from_millis(60),
        }
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            call: Duration::from_micros(300)..Duration::from_millis(30),
            look: Duration::from_millis(30)..Duration::from_millis(60),
            answer: Duration::from_micros(500)..Duration::from_millis(40),
        }
    }
}
