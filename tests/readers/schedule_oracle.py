"""When a daily schedule fires and which window each fire exports, found by watching a clock.

Walks minute by minute through UTC and asks what the zone's clocks show: a time of day has come at the first minute at
which they show it or more. Knows nothing of gaps and of hours that come twice.

usage: schedule_oracle.py ZONE HH:MM FIRST_DAY DAYS   prints a JSON list of [fire, day, window start, window end]
"""

import json
import sys
from datetime import date, datetime, timedelta, timezone

import pytz

zone, time, first, days = pytz.timezone(sys.argv[1]), sys.argv[2], date.fromisoformat(sys.argv[3]), int(sys.argv[4])
hour, minute = map(int, time.split(":"))


def reached(day, hour, minute):
    wanted = datetime(day.year, day.month, day.day, hour, minute)
    at = datetime(day.year, day.month, day.day, tzinfo=timezone.utc) - timedelta(hours=27)
    while at.astimezone(zone).replace(tzinfo=None) < wanted:
        at += timedelta(minutes=1)
    return at


found = []
for number in range(days):
    day = first + timedelta(days=number)
    fire = reached(day + timedelta(days=1), hour, minute)
    window = (reached(day, 0, 0), reached(day + timedelta(days=1), 0, 0))
    found.append([fire.isoformat(), day.isoformat(), *(at.isoformat() for at in window)])
print(json.dumps(found))
