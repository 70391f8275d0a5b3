//! The checks, one after the other on one driver.

mod crowd;
mod noise;
mod order;
mod recorded;
mod repeats;

use std::fmt;
use std::pin::Pin;

use anyhow::Result;

use crate::{Dockerd, Engine, Options, Times};

type Running<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// A check: what must hold, as a sentence, and the calls that show it.
struct Check {
    name: &'static str,
    run: for<'a> fn(&'a Dockerd) -> Running<'a>,
}

/// Writes the table: the function's name is the sentence.
macro_rules! checks {
    ($($module:ident :: $name:ident),* $(,)?) => {
        const CHECKS: &[Check] =
            &[$(Check { name: stringify!($name), run: |dockerd| Box::pin($module::$name(dockerd)) }),*];
    };
}

checks! {
    order::it_says_what_it_can,
    order::a_network_and_a_container_come_and_go,
    recorded::what_a_dockerd_once_asked_is_answered_as_it_was,
    repeats::a_repeated_call_changes_nothing,
    repeats::a_retry_that_lost_its_body_is_refused,
    order::what_nobody_knows_is_let_go_and_not_joined,
    order::calls_out_of_order_leave_the_driver_usable,
    order::a_network_goes_with_what_is_on_it,
    order::a_creation_that_broke_off_holds_up_no_other,
    crowd::fifty_containers_at_once_get_fifty_addresses,
    crowd::one_call_fifty_times_at_once_is_one_call,
    noise::garbage_in_a_body_is_refused,
    noise::what_is_no_call_is_refused,
    noise::a_huge_body_is_refused,
    noise::half_a_request_holds_nobody_up,
}

/// What one check came to.
#[derive(Debug)]
pub struct Outcome {
    /// The sentence that should hold, with `_` for spaces.
    pub check: &'static str,
    /// Whether it does; the error names the call.
    pub result: Result<()>,
    /// How long each call took.
    pub times: Times,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = self.check.replace('_', " ");
        match &self.result {
            Ok(()) => write!(f, "ok      {sentence}"),
            Err(error) => write!(f, "FAILED  {sentence}\n        {error:#}"),
        }
    }
}

/// Runs every check, each on networks of its own.
///
/// # Errors
/// The driver cannot be activated, so that no check could run.
pub async fn run(options: Options, engine: Option<Engine>) -> Result<Vec<Outcome>> {
    let dockerd = Dockerd::start(options, engine).await?;
    let mut outcomes = Vec::new();
    for check in CHECKS {
        let result = (check.run)(&dockerd).await;
        outcomes.push(Outcome { check: check.name, result, times: dockerd.driver().take_times() });
    }
    Ok(outcomes)
}
