"""What can happen in a story, as strategies: policies, edits, gaps of time, endings."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from tests.policies.records import HANDLERS, Ending
from tests.schedules.moments import utc

SCHEDULES = [
    "every 1 minute",
    "every 7 seconds",
    "every 45 seconds",
    "every 1 hour",
    "* * * * *",
    "*/20 2 * * *",
    "30 2 * * *",
    "15 * * * *",
    "at 2026-03-29 02:30",
    "at 2026-03-29 03:01",
    "",
]
MOMENTS = [utc(f"2026-03-29 {time}") for time in ("00:01:00", "00:10:30", "01:00:00", "01:02:00")]

#: From one event to the next: nothing, around the threshold of a misfire, minutes, an outage.
gaps = st.sampled_from([0, 1, 7, 30, 59, 60, 61, 62, 120, 300, 1_800, 4_000]).map(
    lambda seconds: timedelta(seconds=seconds)
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "schedule": st.sampled_from(SCHEDULES),
    "timezone": st.sampled_from(["UTC", "Europe/Berlin"]),
    "anchor": st.none() | st.sampled_from(MOMENTS),
    "enabled": st.sampled_from([True, True, True, False]),
    "misfire_policy": st.sampled_from(["once", "skip", "all"]),
    "misfire_grace": st.sampled_from([None, None, 0, 30, 60, 90, 600]),
    "catch_up_limit": st.sampled_from([1, 2, 5]),
    "overlap_policy": st.sampled_from(
        ["skip", "buffer_one", "buffer_all", "cancel_other", "allow"]
    ),
    "max_retries": st.integers(0, 3),
    "retry_delay": st.sampled_from([0, 1, 30]),
    "retry_backoff": st.sampled_from([1.0, 2.0, 7.5]),
    "retry_max_delay": st.sampled_from([0, 45, 3600]),
    "on_lost": st.sampled_from(["retry", "retry", "fail"]),
    "max_losses": st.integers(0, 2),
    "queue": st.sampled_from(["default", "slow"]),
    "priority": st.sampled_from([-1, 0, 5]),
    "jitter": st.sampled_from([0, 0, 5, 100]),
    "starts_at": st.none() | st.sampled_from(MOMENTS[:2]),
    "ends_at": st.none() | st.sampled_from(MOMENTS[2:]),
    "handler": st.sampled_from(HANDLERS),
    "pause_reason": st.sampled_from(["", "Stocktaking"]),
}
ALWAYS = ("schedule", "overlap_policy", "max_retries")
#: What the code of a deploy may lack.
DEPLOYS = [(), (), HANDLERS[1:2], HANDLERS[1:]]
policies = st.fixed_dictionaries(
    {name: VALUES[name] for name in ALWAYS},
    optional={name: it for name, it in VALUES.items() if name not in (*ALWAYS, "enabled")},
)
changes = st.one_of(
    [values.map(lambda value, name=name: {name: value}) for name, values in VALUES.items()]
) | st.fixed_dictionaries({}, optional=VALUES).filter(bool)

failures = st.builds(
    Ending,
    kind=st.just("failed"),
    category=st.sampled_from(["logic", "logic", "timeout", "network", "payload", "permanent"]),
    retryable=st.sampled_from([True, True, True, False]),
)
ENDINGS = st.one_of(
    st.just(Ending(kind="success")),
    failures,
    failures,
    st.builds(Ending, kind=st.just("later"), delay=st.sampled_from([0, 5, 90])),
    st.builds(Ending, kind=st.just("lost"), category=st.just("lost"), charged=st.booleans()),
    st.just(Ending(kind="cancelled")),
)
