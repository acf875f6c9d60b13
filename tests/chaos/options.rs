//! How much of everything: `long` or `short`, and single numbers by name.

use std::time::Duration;

/// All experiments, in the order in which they run.
const EXPERIMENTS: [&str; 11] = [
    "submissions",
    "poison",
    "kills",
    "freezes",
    "restarts",
    "cuts",
    "storms",
    "stops",
    "cancels",
    "schedulers",
    "notifications",
];

/// How often each thing is done.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) long: bool,
    pub(crate) seed: u64,
    pub(crate) crashes: usize,
    pub(crate) kills: usize,
    pub(crate) freezes: usize,
    pub(crate) restarts: usize,
    pub(crate) cuts: Vec<u64>,
    pub(crate) storm: Duration,
    pub(crate) stops: usize,
    pub(crate) cancels: usize,
    /// Simulated ones, of each time zone.
    pub(crate) days: i64,
    /// Real ones, with a fire in each.
    pub(crate) seconds: u64,
    /// Minutes that SNS is away, by the database's clock.
    pub(crate) away: i64,
    pub(crate) messages: usize,
    pub(crate) experiments: Vec<String>,
}

impl Options {
    /// `None` when the arguments are not meant for this program but for test programs at large.
    ///
    /// # Errors
    /// What is wrong with an argument.
    pub(crate) fn parse(arguments: &[String]) -> Result<Option<Self>, String> {
        let said = |word: &str| arguments.iter().any(|argument| argument == word);
        let long = said("long") && !said("short");
        let mut options = if long { Self::long() } else { Self::short() };
        for argument in arguments.iter().filter(|argument| !["long", "short"].contains(&argument.as_str())) {
            let Some((name, value)) = argument.split_once('=').filter(|_| !argument.starts_with('-')) else {
                return Ok(None);
            };
            options.set(name, value).ok_or_else(|| format!("'{argument}' is not understood: {USAGE}"))?;
        }
        Ok(Some(options))
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "seed" => self.seed = value.parse().ok()?,
            "crashes" => self.crashes = value.parse().ok()?,
            "kills" => self.kills = value.parse().ok()?,
            "freezes" => self.freezes = value.parse().ok()?,
            "restarts" => self.restarts = value.parse().ok()?,
            "cuts" => self.cuts = value.split(',').map(|part| part.parse().ok()).collect::<Option<_>>()?,
            "storm" => self.storm = Duration::from_secs(value.parse().ok()?),
            "stops" => self.stops = value.parse().ok()?,
            "cancels" => self.cancels = value.parse().ok()?,
            "days" => self.days = value.parse().ok().filter(|days| *days > 1)?,
            "seconds" => self.seconds = value.parse().ok()?,
            "away" => self.away = value.parse().ok()?,
            "messages" => self.messages = value.parse().ok()?,
            "only" => {
                self.experiments = value.split(',').map(str::to_owned).collect();
                let known = |name: &String| EXPERIMENTS.contains(&name.as_str());
                self.experiments.iter().all(known).then_some(())?;
            }
            _ => return None,
        }
        Some(())
    }

    fn long() -> Self {
        Self {
            long: true,
            seed: rand::random_range(0..1_000_000),
            crashes: 3,
            kills: 200,
            freezes: 60,
            restarts: 20,
            cuts: vec![5, 10, 60],
            storm: Duration::from_secs(60),
            stops: 100,
            cancels: 20,
            days: 400,
            seconds: 60,
            away: 60,
            messages: 600,
            experiments: EXPERIMENTS.map(str::to_owned).to_vec(),
        }
    }

    fn short() -> Self {
        Self {
            long: false,
            crashes: 1,
            kills: 3,
            freezes: 3,
            restarts: 1,
            cuts: vec![7],
            storm: Duration::from_secs(2),
            stops: 3,
            cancels: 2,
            days: 25,
            seconds: 3,
            away: 10,
            messages: 60,
            ..Self::long()
        }
    }
}

const USAGE: &str = "long or short, then any of seed=N crashes=N kills=N freezes=N restarts=N cuts=SECONDS,SECONDS storm=SECONDS \
                     stops=N cancels=N days=N seconds=N away=MINUTES messages=N only=EXPERIMENT,EXPERIMENT";
