from __future__ import annotations

import time
from datetime import UTC, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules import Cron, Schedule, parse, zone

REFUSED = [
    ("0 0 * * * *", "this has 6, seconds are not supported, write '0 * * * *'"),
    ("*/10 * * * *  MON", "this has 6, seconds and years are not supported"),
    ("* * * * * *", "for seconds write 'every second'"),
    ("*/10 * * * * *", "for seconds write 'every 10 seconds'"),
    ("0 0 0 * * * 2026", "write '0 0 * * *', and starts_at and ends_at for the year 2026"),
    ("0 9 * * 1-5 *", "write '9 * * 1-5 *', or '0 9 * * 1-5' if the last field is a year"),
    ("cron(0 9 ? * 2-6 *)", "write '0 9 * * MON-FRI'"),
    ("cron(0 9 * * ? 2027)", "write '0 9 * * *', and starts_at and ends_at for the year 2027"),
    ("rate(5 minutes)", "write 'every 5 minutes'"),
    ("0 9 * * * America/New York", "timezone='America/New_York'"),
    ("0 0 12 ? * 2-6 *", "write '0 12 * * MON-FRI'"),
    ("0 9 * * * 2026", "write '0 9 * * *', and starts_at"),
    ("0 9 * * * /usr/bin/backup --all", "this has 7, write '0 9 * * *' alone: "),
    ("*/5 * * * * root", "this has 6, write '*/5 * * * *' alone: "),
    ("0 9 * * * php artisan", "this has 7, write '0 9 * * *' alone: "),
    ("0 9 * * * bin/backup", "this has 6, write '0 9 * * *' alone: "),
    ("0 9 * * * && ls", "this has 7, write '0 9 * * *' alone: "),
    ("0 9 * * * # nightly", "this has 7, write '0 9 * * *' alone: "),
    ("0 0 9 * * FRI-MON", "this has 6, seconds and years are not supported: "),
    ("0 0/5 * * * ?", "write '*/5 * * * *'"),
    ("0 0/30 8-10 * * ?", "write '*/30 8-10 * * *'"),
    ("0 5/15 * * * *", "write '5-59/15 * * * *'"),
    ("0 0 12 1/1 * ? *", "write '0 12 * * *'"),
    ("0 0 12 1/5 * ?", "write '0 12 */5 * *'"),
    ("0 0 12 ? * 2/2 2027", "write '0 12 * * 1-6/2', and starts_at and ends_at for the year 2027"),
    ("0 0 12 ? * L", "write '0 12 * * SAT'"),
    ("0 0 12 ? * 6L", "write '0 12 * * FRIL'"),
    ("0 0 12 L-3 * ?", "not supported, and the day-of-month field cannot be 'L-3': "),
    ("cron(0/15 * * * ? *)", "write '*/15 * * * *'"),
    ("*/7 * * * * *", "seconds and years are not supported"),
    ("0 9 * * MON - FRI", "a field contains no blank, write '0 9 * * MON-FRI'"),
    ("0 9 * * mon, fri", "a field contains no blank, write '0 9 * * mon,fri'"),
    ("0, 30 9 * * *", "a field contains no blank, write '0,30 9 * * *'"),
    ("*/ 5 * * * *", "a field contains no blank, write '*/5 * * * *'"),
    ("0 9 * * FRI L", "a field contains no blank, write '0 9 * * FRIL'"),
    ("0 9 * * FRI - MON", "a field contains no blank: "),
    ("0 9 * * * root /usr/bin/backup --all", "write '0 9 * * *' alone"),
    ("CRON_TZ=Europe/Berlin 0 9 * * *", "write '0 9 * * *' with timezone='Europe/Berlin'"),
    ("TZ=europe/berlin @daily", "write '@daily' with timezone='Europe/Berlin'"),
    ("CRON_TZ=UTC 0 22-6 * * *", "timezone='UTC'. The hour field cannot be '22-6': "),
    ("CRON_TZ=UTC */10 * * * * *", "timezone='UTC'. A cron expression has five fields"),
    ("daily UTC", "timezone='UTC'. A cron expression has five fields"),
    (", UTC", "timezone='UTC'. A cron expression is not empty"),
    ("0 9 * * * UTC UTC", "give it with timezone='UTC'."),
    ("0 9 * * * [Europe/Berlin]", "write '0 9 * * *' with timezone='Europe/Berlin'"),
    ("0 9 * * *, Europe/Berlin", "write '0 9 * * *' with timezone='Europe/Berlin'"),
    ("0 9 * * * in Europe/Berlin", "write '0 9 * * *' with timezone='Europe/Berlin'"),
    ("0 9 * * * Z", "write '0 9 * * *' with timezone='UTC'"),
    ("0 9 * * * Mars/Base", "write '0 9 * * *' with timezone= and the name of a zone"),
    ("TZ=Mars/Base 0 9 * * *", "timezone= and the name of a zone"),
    ("CRON_TZ= 0 9 * * *", "timezone= and the name of a zone"),
    ("TZ=:berlin 0 9 * * *", "timezone='Europe/Berlin'"),
    ("0 9 * * * Berlin", "timezone='Europe/Berlin'"),
    ("0 9 * * * (Europe/Berln)", "timezone='Europe/Berlin'"),
    ("0 9 * * * New York", "timezone='America/New_York'"),
    ("at 2030-01-01 09:00 Berlin", "with timezone='Europe/Berlin'"),
    ("0/10 * * * * *", "write 'every 10 seconds'"),
    ("0,30 * * * * *", "this has 6, seconds and years are not supported: "),
    ("0 9 * * MON-FRI *", "this has 6, write '0 9 * * MON-FRI' alone: "),
    ("0 9 * * * Europe/Berlin", "with timezone='Europe/Berlin'"),
    ("UTC 0 9 * * *", "write '0 9 * * *' with timezone='UTC'"),
    ("* * * *", "this has 4: "),
    (
        "daily",
        "five fields (minute hour day-of-month month day-of-week), this has 1, write '@daily'",
    ),
    ("noon", "this has 1, write '0 12 * * *'"),
    ("09:30", "write '30 9 * * *'"),
    ("15 minutes", "write 'every 15 minutes'"),
    ("2026-12-01", "write 'at 2026-12-01 00:00' for one moment"),
    ("2030-01-01T09:00", "write 'at 2030-01-01 09:00' for one moment"),
    ("@reboot", "'@reboot' is not a time"),
    ("@fortnightly", "known are @hourly"),
    ("@daily 5", "five fields"),
    ("R * * * *", "The minute field cannot be 'R': hashed (H) and random (R)"),
    ("0 H(0-7) * * *", "The hour field cannot be 'H(0-7)'"),
    ("0 0 15W * *", "W, the nearest working day"),
    ("0 0 LW * *", "W, the nearest working day"),
    ("0 0 ? * MON", "'?' is not supported, write *."),
    ("0 0 15W * *", "on which it can fall, 14-16, and check the date in the handler"),
    ("0 0 45W * *", "W, the nearest working day, is not supported."),
    ("0 0 L-3 * *", "on which it can fall, 25-28, and check the date in the handler"),
    ("0 0 * * MON#0", "write MON#1 for the first Monday"),
    ("0 0 * * MON#6", "write MON#1 for the first Monday"),
    ("0 0 * * MON#1/2", "write MON#1 for the first Monday"),
    ("0 0 * * FRI-SUN#2", "write FRI#2,SAT#2,SUN#2"),
    ("0 0 * * FRI#L", "write FRIL for the last one of the month"),
    ("0 0 * * L5", "write 5L for the last one of the month"),
    ("0 0 * * L", "write SATL for the last Saturday"),
    ("0 0 * * 8L", "its numbers go from 0 to 7"),
    ("0 9 FRIL * *", "FRIL belongs in the day-of-week field, as in '0 9 * * FRIL'"),
    ("0 0 * * XYZ#1", "'XYZ' is not a number or one of SUN"),
    ("0 0 MON#1 * *", "only the day-of-week field counts weekdays"),
    ("0 0 */31 * MON#2", "never reached: both must match, and no 'MON#2'"),
    ("0 0 L/2 * *", "L means the last day"),
    ("L 0 * * *", "The minute field cannot be 'L'"),
    ("0 17-9 * * *", "The hour field cannot be '17-9': the range runs backwards, write 17-23,0-9"),
    ("0 0 * NOV-FEB *", "write NOV-DEC,JAN-FEB"),
    ("0 0 * * FRI-MON", "write FRI-SAT,SUN-MON"),
    ("50-10/5 * * * *", "write 50-59/5,0-10/5"),
    ("0 0 * * 7-2", "write 0-2"),
    ("*/0 * * * *", "a step goes from 1 to 60"),
    ("0 */25 * * *", "a step goes from 1 to 24"),
    ("0 0 * * */8", "a step goes from 1 to 7"),
    ("*/x * * * *", "the step 'X' is not a number"),
    ("5/15 * * * *", "write 5-59/15"),
    ("5/0 * * * *", "a step goes from 1 to 60"),
    ("5/x * * * *", "the step 'X' is not a number"),
    ("0 0 * * MON/FRI", "the step 'FRI' is not a number"),
    ("0 0 * * 7/2", "write 0-6/2"),
    ("0 0 * * FRIDAYL", "write FRIL."),
    ("0 0 * * MONFRI", "'MONFRI' is not a number or one of SUN"),
    ("0 0 * * monday-friday", "write MON-FRI."),
    ("0 0 * * tues,thursdays", "write TUE,THU."),
    (
        "0 0 * * FRIDAY-MONDAY",
        "cannot be 'FRI-MON': the range runs backwards, write FRI-SAT,SUN-MON",
    ),
    ("0 0 * april *", "write APR."),
    ("0 0 * * april", "'APRIL' is not a number"),
    ("22-6,,3 * * * *", "cannot be '22-6': the range runs backwards"),
    ("0 0 * * XYZ#L", "write MON#1 for the first Monday"),
    ("0 0 * * MON/2", "write MON-SAT/2"),
    ("60 * * * *", "its numbers go from 0 to 59"),
    ("0 0 0 * *", "The day-of-month field cannot be '0': its numbers go from 1 to 31"),
    ("0 0 * * 8", "its numbers go from 0 to 7"),
    ("0 0 * JANUARY *", "write JAN."),
    ("0 MON * * *", "MON belongs in the day-of-week field"),
    ("0 0 * * LUNDI", "'LUNDI' is not a number or one of SUN MON TUE WED THU FRI SAT"),
    ("0 24 * * *", "its numbers go from 0 to 23, midnight is 0"),
    ("*/70 * * * *", "a step goes from 1 to 60"),
    ("1,,2 * * * *", "a comma has nothing on one side, write 1,2"),
    (", * * * *", "a comma has nothing on one side."),
    ("-5 * * * *", "the range has no start"),
    ("0 0 * * MON-", "the range has no end"),
    ("1.5 * * * *", "write *, a number"),
    ("*5 * * * *", "write *, a number"),
    ("1-2-3 * * * *", "write *, a number"),
    ("0 0 30 2 *", "The day-of-month field is never reached: no month in '2' has a day '30'"),
    ("0 0 31 4,6,9,11 *", "never reached"),
    ("0 0 31 FEB */2", "never reached"),
    ("\u0663 * * * *", "a character outside ASCII (U+0663)"),
    ("0 0 * *\u00a0*", "a character outside ASCII (U+00A0)"),
    ("0 0 * * \ud800", "a character outside ASCII (U+D800)"),
    ("0 0 * * *\n", "a control character (U+000A)"),
    ("0\t0 * * *", "a control character (U+0009): write '0 0 * * *'"),
    ("0 0 * * MON\u2013FRI", "write '0 0 * * MON-FRI'"),
    ("0 22\u20136 * * *", "(U+2013): '0 22\u20136 * * *'. The hour field cannot be '22-6': "),
    ("every\u00a01 hour 30 minutes", "write 'every 90 minutes'"),
    ("\uff15 0 * * *", "write '5 0 * * *'"),
    ("\0", "a control character (U+0000)"),
    ("0" + ",0" * 127 + " * * * *", "at most 255 characters, this has 263"),
    ("every", "An interval reads"),
    ("every minutes", "An interval reads 'every 15 minutes'"),
    ("every 1.5 hours", "An interval cannot be 'every 1.5 hours', write 'every 90 minutes'"),
    ("every 15 mins", "write 'every 15 minutes'"),
    ("every 0.0001 seconds", "An interval reads"),
    ("every 0.5 seconds", "An interval reads"),
    ("every month", "write '@monthly'"),
    ("every 3 months", "write '0 0 1 */3 *'"),
    ("every day at 9", "write '0 9 * * *'"),
    ("every weekday at 9:30pm", "write '30 21 * * MON-FRI'"),
    ("every day at 25", "An interval reads"),
    ("every day at 13am", "An interval reads"),
    ("every fortnight", "An interval reads"),
    ("@every", "An interval reads"),
    ("@every 30m1h", "write 'every 90 minutes'"),
    ("@every 1h 30m", "write 'every 90 minutes'"),
    ("every 1 day, 2 hours and 3 mins", "write 'every 1563 minutes'"),
    ("each 15 minutes", "write 'every 15 minutes'"),
    ("every two hours", "write 'every 2 hours'"),
    ("every half hour", "write 'every 30 minutes'"),
    ("half an hour", "write 'every 30 minutes'"),
    ("every day at noon", "write '0 12 * * *'"),
    ("every day at midnight", "write '0 0 * * *'"),
    ("every day 9:00", "write '0 9 * * *'"),
    ("every sat", "write '0 0 * * SAT'"),
    ("daily at 9", "write '0 9 * * *'"),
    ("weekly at 9", "write '0 9 * * SUN'"),
    ("every tues, thursday and fri at 9:00", "write '0 9 * * TUE,THU,FRI'"),
    ("sunday 9", "this has 2: "),
    ("500 days", "this has 2: "),
    ("@every -5m", "An interval reads"),
    ("every 99999999999 days", "from 1 second to 366 days"),
    ("every 0 seconds", "from 1 second to 366 days"),
    ("every 99999999 weeks", "from 1 second to 366 days"),
    ("@every 367d", "from 1 second to 366 days"),
    ("at", "A moment reads 'at 2026-12-01 09:00', not 'at'"),
    ("at noon", "write '0 12 * * *'"),
    ("at noon Berlin", "write '0 12 * * *' with timezone='Europe/Berlin'"),
    ("at 2030-01-01T09:00+02:00 Berlin", "write 'at 2030-01-01 07:00' with timezone='UTC'."),
    ("at some time Berlin", "not 'at some time Berlin'."),
    ("at 2030-1-1 9:00", "write 'at 2030-01-01 09:00'"),
    ("at 2026-12-01", "write 'at 2026-12-01 00:00'"),
    ("at 2026-12-01 9:00", "write 'at 2026-12-01 09:00'"),
    ("at 2026-12-01 09:00 +02:00", "write 'at 2026-12-01 07:00' with timezone='UTC'"),
    ("at 2026-12-01T09:00:30Z", "write 'at 2026-12-01 09:00:30' with timezone='UTC'"),
    ("at 2026-12-01 09:00 Europe/Berlin", "with timezone='Europe/Berlin'"),
    ("at 9999-12-31T23:00-05:00", "not 'at 9999-12-31T23:00-05:00'."),
    ("at 09:00", "write '0 9 * * *'"),
    ("at 2026-12-01 24:00", "A moment reads"),
    ("at 2026-02-30 09:00", "There is no moment 'at 2026-02-30 09:00'"),
    ("at 1969-12-31 23:59", "outside the years 1970 to 9999"),
    ("at 0000-01-01 00:00", "There is no moment"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_text_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidSchedule) as refusal:
        parse(text)
    sentence = str(refusal.value)
    assert reason in sentence
    assert sentence.isprintable()
    assert len(sentence) < 320


@pytest.mark.parametrize(
    "text",
    [
        "0," * 50_000,
        "* * * * " + "1," * 50_000,
        "a" * 100_000,
        " " * 100_000,
        "every " + "9" * 100_000,
        "at " + "2" * 100_000,
        "\n" * 100_000,
        "9" * 245 + " * * * *",
        "0-" * 120 + " * * * *",
        "L" * 120 + "#" * 120 + " * * * *",
    ],
)
def test_hostile_text_is_refused_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidSchedule) as refusal:
        parse(text)
    assert time.process_time() - began < 0.05
    assert len(str(refusal.value)) < 350


@pytest.mark.parametrize("value", [None, 5, b"* * * * *", ["* * * * *"], 1.5])
def test_what_is_not_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidSchedule, match="A schedule is a text, not "):
        parse(value)  # type: ignore[arg-type]
    with pytest.raises(InvalidSchedule, match="A schedule is a text, not "):
        Cron(value)  # type: ignore[arg-type]


tokens = st.sampled_from(
    [*"*/-,#?LWHR@ 0157 ", "MON", "jan", "every", "at", "@daily", "2026-01-01", " UTC", "PST "]
)


@settings(derandomize=True, max_examples=150)
@given(text=st.text(max_size=40) | st.lists(tokens, max_size=15).map("".join))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        schedule = parse(text)
    except InvalidSchedule:
        return
    assert schedule is None or isinstance(schedule, Schedule)
    assert schedule is None or parse(schedule.text, schedule.timezone) == schedule


@pytest.mark.parametrize("blank", ["", " ", "    "])
def test_blank_text_means_by_hand_only(blank: str) -> None:
    assert parse(blank) is None


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("europe/berlin", "did you mean 'Europe/Berlin'?"),
        ("Berlin", "did you mean 'Europe/Berlin'?"),
        ("Europe/Berln", "did you mean 'Europe/Berlin'?"),
        ("america/new york", "did you mean 'America/New_York'?"),
        ("utc", "did you mean 'UTC'?"),
        ("localtime", "There is no time zone 'localtime'"),
        ("GMT+2", "There is no time zone 'GMT+2': write a name such as 'Europe/Berlin'."),
        ("utc-05:00", "There is no time zone 'utc-05:00': write a name such as 'Europe/Berlin'."),
        ("Europe", "There is no time zone 'Europe': write a name such as 'Europe/Berlin'."),
        ("CEST", "There is no time zone 'CEST': write a name such as 'Europe/Berlin'."),
        ('ZoneInfo("Europe/Berlin")', "did you mean 'Europe/Berlin'?"),
        ("zoneinfo.ZoneInfo(key='Europe/Berlin')", "did you mean 'Europe/Berlin'?"),
        ("Factory", "There is no time zone 'Factory'"),
        ("../../etc/passwd", "write a name such as 'Europe/Berlin'"),
        ("", "There is no time zone ''"),
        ("x" * 100_000, "xxx...'"),
        ("\ud800", "There is no time zone '\\ud800'"),
        (ZoneInfo("Europe/Berlin"), "by its name, not by ZoneInfo: write 'Europe/Berlin'."),
        (UTC, "by its name, not by timezone: write 'UTC'."),
        (timezone(timedelta(hours=2)), "by its name, not by timezone."),
        (None, "A time zone is given by its name, not by NoneType"),
        (["UTC"], "A time zone is given by its name, not by list"),
    ],
)
def test_zone_is_refused_with_advice(name: str, advice: str) -> None:
    with pytest.raises(InvalidSchedule) as refusal:
        zone(name)
    assert advice in str(refusal.value)
    with pytest.raises(InvalidSchedule):
        parse("every 5 minutes", name)


def test_zone_is_returned() -> None:
    assert zone("Europe/Berlin").key == "Europe/Berlin"
