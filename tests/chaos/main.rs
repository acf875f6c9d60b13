//! What is promised, tried: real processes are killed, frozen, cut off and stopped, the database and the object store
//! misbehave, and every row of every export is compared with the warehouse afterwards.
//!
//! Without arguments the short form runs, part of `make test`: a little of everything, asserting what holds on any
//! machine. `long` is what `make chaos` runs: so often as docs/reliability.md says, with bars on times too.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed unwrap is a failed experiment, and the table is printed"
)]

mod clock;
mod line;
mod options;
mod oracle;
mod rows;
mod stage;
mod store;
mod table;
mod worker;

#[path = "../it/support"]
#[allow(dead_code, reason = "shared with the integration tests, which use the rest")]
mod support {
    pub(crate) mod cluster;
    pub(crate) mod platform;
    pub(crate) mod python;
    pub(crate) mod s3;
    pub(crate) mod sns;
}

use std::process::ExitCode;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::options::Options;
use crate::oracle::Oracle;
use crate::stage::Stage;
use crate::table::Row;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, folder] = &arguments[..]
        && role == store::ROLE
    {
        store::serve(folder.as_ref()).await;
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(&arguments) {
        Ok(Some(options)) => options,
        // Somebody runs single tests by their names.
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let begun = Instant::now();
    println!("seed {}; run it again with: make chaos ARGS=\"seed={}\"", options.seed, options.seed);
    let mut stage = Stage::new().await;
    let oracle = Oracle::of(&stage).await;
    table::print_head();
    let (mut missed, mut rows) = (Vec::new(), 0);
    for experiment in &options.experiments {
        let row = run(&mut stage, &oracle, &options, experiment).await;
        row.print();
        missed.extend(row.missed(options.long));
        rows += 1;
    }
    println!("\n{rows} experiments in {:.0} s", begun.elapsed().as_secs_f64());
    for problem in &missed {
        println!("bar missed (seed {}): {problem}", options.seed);
    }
    // As test programs close, for whoever adds them up.
    let (verdict, failed) = if missed.is_empty() { ("ok", 0) } else { ("FAILED", 1) };
    println!("test result: {verdict}. {} passed; {failed} failed; 0 ignored", rows - failed.min(rows));
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("what the processes wrote is kept in {}", stage.keep_logs().display());
    ExitCode::FAILURE
}

/// Carries out one experiment. Its choices follow from the seed and its name alone.
async fn run(stage: &mut Stage, oracle: &Oracle, options: &Options, experiment: &str) -> Row {
    let name = experiment.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    let random = &mut StdRng::seed_from_u64(options.seed ^ name);
    match experiment {
        "kills" => rows::kills::run(stage, oracle, random, options.kills).await,
        "freezes" => rows::freezes::run(stage, oracle, random, options.freezes).await,
        "restarts" => rows::restarts::run(stage, oracle, random, options.restarts).await,
        "cuts" => rows::cuts::run(stage, oracle, random, &options.cuts).await,
        "storms" => rows::storms::run(stage, oracle, options.storm).await,
        "stops" => rows::stops::run(stage, oracle, random, options.stops).await,
        "poison" => rows::poison::run(stage, oracle, options.crashes).await,
        "submissions" => rows::submissions::run(stage, oracle).await,
        "cancels" => rows::cancels::run(stage, oracle, random, options.cancels).await,
        "schedulers" => rows::schedulers::run(stage, random, options.days, options.seconds).await,
        "notifications" => rows::notifications::run(stage, random, options.away, options.messages).await,
        other => unreachable!("no experiment is called {other}"),
    }
}
