"""Random expressions of the grammar, and moments near odd changes of clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from tests.schedules.simulator import MONTHS, WEEKDAYS

#: Instants at which clocks were put forward or back, or nothing happened.
CHANGES = {
    "UTC": ["2024-02-29 00:00"],
    "Europe/Berlin": ["2026-03-29 01:00", "2026-10-25 01:00", "1947-05-11 01:00"],
    "America/New_York": ["2026-03-08 07:00", "2026-11-01 06:00"],
    "Australia/Lord_Howe": ["2026-10-03 15:30", "2026-04-04 15:00"],
    "Antarctica/Troll": ["2026-03-29 01:00", "2026-10-25 01:00"],
    "America/Havana": ["2026-03-08 05:00", "2026-11-01 05:00"],
    "Asia/Beirut": ["2026-03-28 22:00", "2026-10-24 21:00"],
    "Africa/Cairo": ["2026-04-23 22:00", "2026-10-29 21:00", "2010-09-09 22:00"],
    "Africa/Casablanca": ["2026-02-15 02:00", "2026-03-22 02:00"],
    "America/Sao_Paulo": ["2018-11-04 03:00", "2018-02-18 02:00"],
    "Pacific/Apia": ["2011-12-30 10:00", "2012-03-31 14:00"],
    "Pacific/Kwajalein": ["1969-09-30 13:00", "1993-08-21 12:00"],
    "America/Juneau": ["1867-10-19 00:31:13"],
    "Asia/Manila": ["1844-12-31 15:56:08"],
    "Europe/Dublin": ["1916-05-21 02:25:21", "1916-10-01 02:25:21"],
    "Africa/Freetown": ["1939-09-01 01:00", "1939-09-05 00:40"],
    "Africa/Monrovia": ["1972-01-07 00:44:30"],
    "Asia/Pyongyang": ["2018-05-04 15:00"],
}


@st.composite
def places(draw: st.DrawFn) -> tuple[str, datetime]:
    """Draw a zone and an instant at which its clocks change."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    change = draw(st.sampled_from(CHANGES[zone]))
    return zone, datetime.fromisoformat(change).replace(tzinfo=UTC)


def seconds(span: timedelta) -> st.SearchStrategy[timedelta]:
    """Draw a time from minus to plus a span, full minutes more often than not."""
    most = int(span.total_seconds())
    minutes = st.integers(-most // 60, most // 60).map(lambda n: timedelta(minutes=n))
    return minutes | st.integers(-most, most).map(lambda n: timedelta(seconds=n))


@st.composite
def items(draw: st.DrawFn, low: int, high: int, words: list[str]) -> str:
    numbers = st.integers(low, high)

    def spelled(number: int) -> str:
        if words and number < len(words) + low and draw(st.booleans()):
            return draw(st.sampled_from([words[number - low], words[number - low].lower()]))
        return draw(st.sampled_from([f"{number}", f"{number:02}"]))

    size = 7 if words == WEEKDAYS else high - low + 1
    match draw(st.sampled_from(["star", "step", "number", "number", "range", "range step"])):
        case "star":
            return "*"
        case "step":
            return f"*/{draw(st.integers(1, size))}"
        case "number":
            return spelled(draw(numbers))
        case kind:
            first, last = sorted((draw(numbers), draw(numbers)))
            if words == WEEKDAYS and last == 7:
                # SUN is 7 at the end of a range that starts later than on a Sunday.
                end = draw(st.sampled_from(["7", "SUN"])) if first else "7"
            else:
                end = spelled(last)
                end = f"{last}" if end.upper() == "SUN" else end
            step = f"/{draw(st.integers(1, size))}" if kind == "range step" else ""
            return f"{spelled(first)}-{end}{step}"


def fields(low: int, high: int, words: list[str] | None = None) -> st.SearchStrategy[str]:
    one = items(low, high, words or [])
    return one | st.lists(one, min_size=1, max_size=3).map(",".join)


times = st.tuples(fields(0, 59), fields(0, 23)).map(" ".join)
days_of_month = st.just("*") | fields(1, 31) | st.just("L") | fields(1, 31).map(lambda f: f"{f},L")
months = st.just("*") | st.just("*") | fields(1, 12, MONTHS)
weekday_names = st.sampled_from([*"01234567", *WEEKDAYS, *(name.lower() for name in WEEKDAYS)])
nth_weekdays = st.tuples(weekday_names, st.sampled_from(["#1", "#2", "#3", "#4", "#5", "L", "l"]))
weekdays = (
    st.just("*")
    | fields(0, 7, WEEKDAYS)
    | st.lists(nth_weekdays.map("".join), min_size=1, max_size=3).map(",".join)
    | st.tuples(fields(0, 7, WEEKDAYS), nth_weekdays.map("".join)).map(",".join)
)
macros = st.sampled_from(
    ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"]
)
#: Of these a few name dates that never come.
expressions = st.tuples(times, days_of_month, months, weekdays).map(" ".join)
