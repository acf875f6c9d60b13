//! How far a standby is, and whether a scan of it would miss rows.
//!
//! A standby that has replayed all it was sent is not behind, however long ago the last commit was. Its answer is about
//! one server: a name may lead to several, so each scan asks over its own connection, before its snapshot is taken.
//! Nothing is written down, and no clock counts but the servers'.
//!
//! The functions are those of PostgreSQL's chapter "Recovery Information Functions".

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::sleep;

use super::super::{Lag, WarehouseError};
use super::wire::{Connection, WireError};

/// The clock comes first and what was received before what was replayed: each answer is true of the moment of the one
/// before it. Whether the receiver streams is only shown to some roles; that there is one, to all.
pub(super) const ASK: &str = "
SELECT pg_catalog.pg_is_in_recovery(),
       (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::int8,
       (pg_catalog.pg_last_wal_receive_lsn() - '0/0'::pg_catalog.pg_lsn)::int8,
       (pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_catalog.pg_lsn)::int8,
       (extract(epoch FROM pg_catalog.pg_last_xact_replay_timestamp()) * 1000000)::int8,
       EXISTS (SELECT 1 FROM pg_catalog.pg_stat_wal_receiver WHERE status IS NULL OR status = 'streaming'),
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END";

/// How often a standby that seems to be behind is looked at again at once: while a long transaction is replayed there is
/// no commit by which it could be told from one that is behind.
const LOOKS: usize = 10;
/// How long in between.
const BETWEEN: Duration = Duration::from_millis(100);

/// What was seen of a server at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sight {
    standby: bool,
    /// Its clock.
    at: DateTime<Utc>,
    /// How much of the primary's log it has, and how much of that it has replayed.
    received: Option<i64>,
    replayed: Option<i64>,
    /// When the last transaction that it has replayed was committed on the primary.
    committed: Option<DateTime<Utc>>,
    /// Whether it is connected to what it follows.
    streaming: bool,
    /// Whether somebody has paused replay.
    paused: bool,
}

impl Sight {
    /// Reads the answer to [`ASK`].
    pub(super) fn read(row: &[Option<String>]) -> Result<Self, WireError> {
        const ODD: WireError = WireError::Protocol("an answer about replication that cannot be read");
        let [standby, at, received, replayed, committed, streaming, paused] = row else { return Err(ODD) };
        let flag = |text: &Option<String>| text.as_deref() == Some("t");
        let number = |text: &Option<String>| text.as_deref().map(str::parse::<i64>).transpose().map_err(|_| ODD);
        let instant = |text| number(text).map(|micros| micros.and_then(DateTime::from_timestamp_micros));
        Ok(Self {
            standby: flag(standby),
            at: instant(at)?.ok_or(ODD)?,
            received: number(received)?,
            replayed: number(replayed)?,
            committed: instant(committed)?,
            streaming: flag(streaming),
            paused: flag(paused),
        })
    }

    /// Whether all has been replayed that had come when `earlier` was seen.
    fn has_all_of(&self, earlier: &Self) -> bool {
        earlier.received.is_some() && self.replayed >= earlier.received
    }

    /// How far behind it is at most; `None` where that cannot be told. `earlier` is the same server, seen shortly before.
    fn lag(&self, earlier: &Self) -> Option<TimeDelta> {
        if self.has_all_of(self) {
            Some(TimeDelta::zero())
        } else if self.has_all_of(earlier) {
            Some(self.at - earlier.at)
        } else {
            self.committed.map(|committed| (self.at - committed).max(TimeDelta::zero()))
        }
    }

    /// Whether it has replayed all that was committed before `until`: a later commit, or everything that had come at a
    /// later moment. What it was not sent it cannot know of, so the second holds only while it is connected.
    fn has_passed(&self, earlier: &Self, until: DateTime<Utc>) -> bool {
        let all_by = if self.has_all_of(self) { Some(self.at) } else { self.has_all_of(earlier).then_some(earlier.at) };
        self.committed.is_some_and(|committed| committed >= until)
            || (self.streaming && all_by.is_some_and(|all_by| all_by >= until))
    }

    /// Why it must not be read yet, if it must not.
    fn objection(&self, earlier: &Self, until: Option<DateTime<Utc>>, most: Duration) -> Option<String> {
        if !self.standby {
            return None;
        }
        let so_far = match self.committed {
            Some(committed) => format!("has replayed what was committed by {}", written(committed)),
            None => "has not replayed a commit since it was started".to_owned(),
        };
        let why = if self.paused {
            "; its replay is paused"
        } else if !self.streaming {
            "; it is not connected to its primary"
        } else {
            ""
        };
        if let Some(until) = until
            && !self.has_passed(earlier, until)
        {
            return Some(format!("the range ends at {} and the standby {so_far}{why}", written(until)));
        }
        match self.lag(earlier) {
            Some(lag) if lag.to_std().is_ok_and(|lag| lag <= most) => None,
            Some(lag) => Some(format!(
                "the standby is {} s behind and EXPORTER_MAX_REPLICA_LAG_SECONDS is {}{why}",
                lag.num_seconds(),
                most.as_secs()
            )),
            None => Some(format!("the standby {so_far}{why}")),
        }
    }
}

fn written(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Asks the server of this connection, after running `before`, until nothing speaks against reading it or it has been
/// looked at often enough. The connection is in no transaction.
pub(super) async fn ready(
    connection: &mut Connection,
    before: &str,
    until: Option<DateTime<Utc>>,
    most: Duration,
) -> Result<Result<(), WarehouseError>, WireError> {
    let first = Sight::read(&connection.ask(&format!("{before}; {ASK}")).await?)?;
    let mut objection = first.objection(&first, until, most);
    for _ in 0..LOOKS {
        if objection.is_none() || first.paused {
            break;
        }
        sleep(BETWEEN).await;
        let now = Sight::read(&connection.ask(ASK).await?)?;
        objection = now.objection(&first, until, most);
    }
    Ok(objection.map_or(Ok(()), |reason| Err(WarehouseError::Behind { reason })))
}

/// How far behind the server of this connection is, told as [`ready`] tells it.
pub(super) async fn lag(connection: &mut Connection) -> Result<Lag, WireError> {
    let first = Sight::read(&connection.ask(ASK).await?)?;
    let mut now = first;
    for _ in 0..LOOKS {
        if !now.standby || now.lag(&first) == Some(TimeDelta::zero()) || (now != first && now.has_all_of(&first)) {
            break;
        }
        sleep(BETWEEN).await;
        now = Sight::read(&connection.ask(ASK).await?)?;
    }
    Ok(match now.lag(&first) {
        _ if !now.standby => Lag::None,
        Some(lag) => Lag::Behind(lag.to_std().unwrap_or_default()),
        None => Lag::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(5);

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_772_409_600 + second, 0).unwrap()
    }

    /// A standby at a second: its positions, the second of its last commit, and whether it is connected.
    fn seen(second: i64, received: Option<i64>, replayed: i64, committed: Option<i64>, streaming: bool) -> Sight {
        let (replayed, committed) = (Some(replayed), committed.map(at));
        Sight { standby: true, at: at(second), received, replayed, committed, streaming, paused: false }
    }

    /// What is objected to a range that ends at a second, in one word.
    fn word(earlier: Sight, now: Sight, until: i64) -> &'static str {
        match now.objection(&earlier, Some(at(until)), MOST) {
            None => "ready",
            Some(why) if why.contains("s behind") => "lag",
            Some(why) if why.contains("the range ends at") => "range",
            Some(_) => "unknown",
        }
    }

    #[test]
    fn a_standby_is_read_when_it_misses_nothing_and_is_not_behind() {
        for (what, sight, until, expected) in [
            ("an idle primary is no lag", seen(9_000, Some(10), 10, Some(0), true), 8_000, "ready"),
            ("nor one without any commit", seen(9_000, Some(10), 10, None, true), 8_000, "ready"),
            ("a later commit is proof", seen(101, Some(20), 10, Some(100), true), 100, "ready"),
            ("an earlier one is none", seen(101, Some(20), 10, Some(99), true), 100, "range"),
            (
                "more is replayed than is received after a reconnect",
                seen(101, Some(5), 10, Some(0), true),
                100,
                "ready",
            ),
            ("its clock has not come to the end", seen(99, Some(10), 10, Some(0), true), 100, "range"),
            ("nobody knows what a cut-off standby was not sent", seen(200, Some(10), 10, Some(0), false), 100, "range"),
            (
                "though what it has is enough, when a commit proves it",
                seen(900, Some(10), 10, Some(100), false),
                100,
                "ready",
            ),
            ("a backlog", seen(106, Some(20), 10, Some(100), true), 100, "lag"),
            ("one that is short", seen(105, Some(20), 10, Some(100), true), 100, "ready"),
            ("files alone, and nothing about positions", seen(104, None, 10, Some(100), false), 100, "ready"),
            ("files alone, and too old", seen(110, None, 10, Some(100), false), 100, "lag"),
            ("nothing to go by", seen(110, None, 10, None, false), 100, "range"),
        ] {
            assert_eq!(word(sight, sight, until), expected, "{what}");
        }
        // A long transaction is replayed: no commit for an hour, and there is always more to replay.
        let first = seen(4_000, Some(20), 10, Some(400), true);
        assert_eq!(word(first, first, 300), "lag");
        assert_eq!(word(first, seen(4_001, Some(40), 30, Some(400), true), 300), "ready");
        assert_eq!(word(first, seen(4_001, Some(40), 30, Some(400), true), 3_999), "ready");
        assert_eq!(word(first, seen(4_001, Some(40), 19, Some(400), true), 3_999), "range");
        // What had come at 4,000 says nothing of 4,001.
        assert_eq!(word(first, seen(4_002, Some(40), 30, Some(400), true), 4_001), "range");
        let primary = Sight { standby: false, received: None, replayed: None, committed: None, ..first };
        assert_eq!(word(primary, primary, 9_000), "ready");
    }

    #[test]
    fn who_waits_is_told_why() {
        let paused = Sight { paused: true, ..seen(200, Some(20), 10, Some(90), true) };
        let why = paused.objection(&paused, Some(at(100)), MOST).unwrap();
        assert_eq!(
            why,
            "the range ends at 2026-03-02T00:01:40Z and the standby has replayed what was committed by \
             2026-03-02T00:01:30Z; its replay is paused"
        );
        let cut_off = seen(200, None, 10, Some(100), false);
        let why = cut_off.objection(&cut_off, None, MOST).unwrap();
        assert!(why.contains("100 s behind") && why.ends_with("it is not connected to its primary"), "{why}");
    }

    #[test]
    fn an_answer_of_another_shape_is_refused() {
        let row = |texts: [Option<&str>; 7]| texts.map(|text| text.map(str::to_owned)).to_vec();
        let good = [Some("t"), Some("1"), None, Some("7"), None, Some("f"), Some("t")];
        let sight = Sight::read(&row(good)).unwrap();
        assert!(sight.standby && sight.paused && sight.received.is_none() && sight.replayed == Some(7));
        let mut bad = good;
        bad[3] = Some("7.5");
        assert!(Sight::read(&row(bad)).is_err());
        bad = good;
        bad[1] = None;
        assert!(Sight::read(&row(bad)).is_err());
        assert!(Sight::read(&row(good)[1..]).is_err());
    }
}
