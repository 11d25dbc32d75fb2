"""MySQL's functions of dates and times. A date is text: 2024-03-09, or with a time after it."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from agentlm.environments.db.mysql.values import Value, as_number, as_text, rounded

_DATE = re.compile(
    r"\s*(\d{4}|\d{2})[-/.:](\d{1,2})[-/.:](\d{1,2})"
    r"(?:[ T]+(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6}))?)?)?"
)
_COMPACT = re.compile(r"\s*(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2}))?\s*$")
_TIME = re.compile(r"\s*(-?)(\d{1,3}):(\d{1,2})(?::(\d{1,2}))?")
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
_SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400, "WEEK": 604_800}
_MICROSECONDS = 1_000_000


def moment(value: Value) -> datetime | None:
    """The date and time in a value; None if there is none."""
    text = as_text(value) or ""
    match = _COMPACT.match(text) or _DATE.match(text)
    if not match:
        return None
    year, month, day, hour, minute, second, *fraction = match.groups(default="0")
    full = int(year) + (0 if len(year) == 4 else 2000 if int(year) < 70 else 1900)
    micro = int((fraction[0] if fraction else "0").ljust(6, "0"))
    try:
        return datetime(full, int(month), int(day), int(hour), int(minute), int(second), micro)
    except ValueError:
        return None


def written(when: datetime | None, *, with_time: bool = True) -> str | None:
    """As MySQL prints it."""
    if when is None:
        return None
    if not with_time:
        return when.date().isoformat()
    return when.isoformat(" ", "microseconds" if when.microsecond else "seconds")


def _has_time(value: Value) -> bool:
    return ":" in (as_text(value) or "")


def _part(read: Callable[[datetime], Any]) -> Callable[[Value], Any]:
    def part(value: Value) -> Any:
        when = moment(value)
        return None if when is None else read(when)

    return part


def _clock(read: Callable[[int, int, int], Any]) -> Callable[[Value], Any]:
    """A function of one part of a time; the value may be a time without a date."""

    def part(value: Value) -> Any:
        clock = _TIME.fullmatch((as_text(value) or "").strip())
        if clock:
            return read(int(clock[2]), int(clock[3]), int(clock[4] or 0))
        when = moment(value)
        return None if when is None else read(when.hour, when.minute, when.second)

    return part


def added(value: Value, amount: Value, unit: str) -> str | None:
    """A date some units later."""
    when = moment(value)
    if when is None or amount is None:
        return None
    unit = unit.upper()
    try:
        if unit in _MONTHS:
            later = _months_later(when, int(rounded(amount) or 0) * _MONTHS[unit])
        elif unit in _SECONDS:
            later = when + timedelta(seconds=(as_number(amount) or 0) * _SECONDS[unit])
        else:
            return None
    except (ValueError, OverflowError):
        return None
    with_time = _has_time(value) or unit in ("SECOND", "MINUTE", "HOUR")
    return written(later, with_time=with_time)


def _months_later(when: datetime, months: int) -> datetime:
    year, month = divmod(when.year * 12 + when.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return when.replace(year=year, month=month + 1, day=min(when.day, last))


def _subtracted(value: Value, amount: Value, unit: str) -> str | None:
    number = as_number(amount)
    return None if number is None else added(value, -number, unit)


def _days_between(a: Value, b: Value) -> int | None:
    first, second = moment(a), moment(b)
    if first is None or second is None:
        return None
    return (first.date() - second.date()).days


def _units_between(unit: str, a: Value, b: Value) -> int | None:
    """Whole units from `a` to `b`."""
    first, second = moment(a), moment(b)
    if first is None or second is None:
        return None
    sign = 1 if second >= first else -1
    low, high = sorted((first, second))
    if unit.upper() in _MONTHS:
        months = (high.year - low.year) * 12 + high.month - low.month
        months -= (high.day, high.time()) < (low.day, low.time())
        return sign * (months // _MONTHS[unit.upper()])
    seconds = _SECONDS.get(unit.upper())
    return None if seconds is None else sign * int((high - low).total_seconds() // seconds)


def _week(when: datetime, mode: int = 0) -> int:
    """Weeks that begin on Sunday, counted from 0 (mode 0), or ISO weeks (modes 1 and 3)."""
    if mode in (1, 3):
        return when.isocalendar().week
    return int(when.strftime("%U"))


def _ordinal(day: int) -> str:
    ending = "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"


_FORMATS: dict[str, Callable[[datetime], str]] = {
    "Y": lambda w: f"{w.year:04}",
    "y": lambda w: f"{w.year % 100:02}",
    "m": lambda w: f"{w.month:02}",
    "c": lambda w: str(w.month),
    "d": lambda w: f"{w.day:02}",
    "e": lambda w: str(w.day),
    "D": lambda w: _ordinal(w.day),
    "M": lambda w: calendar.month_name[w.month],
    "b": lambda w: calendar.month_abbr[w.month],
    "W": lambda w: calendar.day_name[w.weekday()],
    "a": lambda w: calendar.day_abbr[w.weekday()],
    "w": lambda w: str(w.isoweekday() % 7),
    "j": lambda w: f"{w.timetuple().tm_yday:03}",
    "H": lambda w: f"{w.hour:02}",
    "k": lambda w: str(w.hour),
    "h": lambda w: f"{w.hour % 12 or 12:02}",
    "I": lambda w: f"{w.hour % 12 or 12:02}",
    "l": lambda w: str(w.hour % 12 or 12),
    "i": lambda w: f"{w.minute:02}",
    "s": lambda w: f"{w.second:02}",
    "S": lambda w: f"{w.second:02}",
    "f": lambda w: f"{w.microsecond:06}",
    "p": lambda w: "AM" if w.hour < 12 else "PM",
    "T": lambda w: f"{w:%H:%M:%S}",
    "r": lambda w: f"{w.hour % 12 or 12:02}{w:%:M:%S} {'AM' if w.hour < 12 else 'PM'}",
    "U": lambda w: f"{_week(w):02}",
    "u": lambda w: f"{_week(w, 1):02}",
    "v": lambda w: f"{w.isocalendar().week:02}",
    "x": lambda w: f"{w.isocalendar().year:04}",
}


def _formatted(value: Value, form: Value) -> str | None:
    when, text = moment(value), as_text(form)
    if when is None or text is None:
        return None
    date = when

    def part(sign: re.Match[str]) -> str:
        form = _FORMATS.get(sign[1])
        return sign[1] if form is None else form(date)

    return re.sub(r"%(.)", part, text, flags=re.DOTALL)


_NAMES = {
    "M": [name.lower() for name in calendar.month_name],
    "b": [name.lower() for name in calendar.month_abbr],
    "W": [name.lower() for name in calendar.day_name],
    "a": [name.lower() for name in calendar.day_abbr],
}
_DIGITS = {"Y": 4, "f": 6, "j": 3}
_NUMBERS = "YymcdeHkhIlisSfj"


def _parsed(value: Value, form: Value) -> str | None:
    """STR_TO_DATE: the text read by the format; None if it does not fit."""
    text, pattern = as_text(value), as_text(form)
    if text is None or pattern is None:
        return None
    parts = _read_parts(text, pattern.replace("%T", "%H:%i:%s").replace("%r", "%h:%i:%s %p"))
    if parts is None:
        return None
    year = parts.get("Y", _full_year(parts["y"]) if "y" in parts else 0)
    month = next((parts[k] for k in "mcMb" if k in parts), 0)
    day = next((parts[k] for k in "deD" if k in parts), 0)
    hour = next((parts[k] for k in "HkhIl" if k in parts), 0)
    if "p" in parts:
        hour = hour % 12 + 12 * parts["p"]
    clock = (hour, parts.get("i", 0), parts.get("s", parts.get("S", 0)))
    try:
        at = time(*clock)
        when = date(year, month, day).isoformat() if year or month or day else ""
    except ValueError:
        return None
    timed = any(key in parts for key in "HkhIlisS")
    return " ".join(filter(None, (when, at.isoformat() if timed else "")))


def _full_year(short: int) -> int:
    return short + (2000 if short < 70 else 1900)


def _read_parts(text: str, pattern: str) -> dict[str, int] | None:
    parts: dict[str, int] = {}
    rest, index = text.lstrip(), 0
    while index < len(pattern):
        char = pattern[index]
        index += 1
        if char == "%" and index < len(pattern):
            key = pattern[index]
            index += 1
            read = _read_part(key, rest.lstrip())
            if read is None:
                return None
            parts[key], rest = read
        elif char.isspace():
            rest = rest.lstrip()
        elif rest.startswith(char):
            rest = rest[1:]
        else:
            return None
    return parts


def _read_part(key: str, text: str) -> tuple[int, str] | None:
    if key in _NAMES:
        word = re.match(r"[A-Za-z]+", text)
        if word and word[0].lower() in _NAMES[key]:
            return _NAMES[key].index(word[0].lower()), text[word.end() :]
        return None
    if key == "p":
        half = text[:2].upper()
        return (int(half == "PM"), text[2:]) if half in ("AM", "PM") else None
    if key == "D":
        match = re.match(r"(\d{1,2})(?:st|nd|rd|th)", text, re.I)
    elif key in _NUMBERS:
        match = re.match(rf"(\d{{1,{_DIGITS.get(key, 2)}}})", text)
    else:
        return None
    return (int(match[1]), text[match.end() :]) if match else None


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def _made(year: Value, day_of_year: Value) -> str | None:
    first, day = as_number(year), as_number(day_of_year)
    if first is None or day is None or day < 1:
        return None
    return (date(int(first), 1, 1) + timedelta(days=int(day) - 1)).isoformat()


def _seconds_text(value: Value) -> str | None:
    seconds = as_number(value)
    if seconds is None:
        return None
    minutes, second = divmod(int(abs(seconds)), 60)
    return f"{'-' if seconds < 0 else ''}{minutes // 60:02}:{minutes % 60:02}:{second:02}"


def _unix(value: Value = None) -> int | None:
    when = _now() if value is None else moment(value)
    return None if when is None else int(when.replace(tzinfo=UTC).timestamp())


def _from_unix(value: Value, form: Value = None) -> str | None:
    seconds = as_number(value)
    if seconds is None or seconds < 0:
        return None
    text = written(datetime.fromtimestamp(int(seconds), UTC).replace(tzinfo=None))
    return text if form is None else _formatted(text, form)


PARTS: dict[str, Callable[[Value], Any]] = {
    "YEAR": _part(lambda w: w.year),
    "QUARTER": _part(lambda w: (w.month + 2) // 3),
    "MONTH": _part(lambda w: w.month),
    "WEEK": _part(_week),
    "DAY": _part(lambda w: w.day),
    "HOUR": _clock(lambda hour, minute, second: hour),
    "MINUTE": _clock(lambda hour, minute, second: minute),
    "SECOND": _clock(lambda hour, minute, second: second),
    "YEAR_MONTH": _part(lambda w: w.year * 100 + w.month),
}


def _extracted(unit: str, value: Value) -> Any:
    return PARTS[unit.upper()](value) if unit.upper() in PARTS else None


NUMBERS: dict[str, Callable[..., Any]] = {
    **{name: PARTS[name] for name in ("YEAR", "QUARTER", "MONTH", "DAY", "HOUR", "MINUTE")},
    "SECOND": PARTS["SECOND"],
    "DAYOFMONTH": PARTS["DAY"],
    "DAYOFWEEK": _part(lambda w: w.isoweekday() % 7 + 1),
    "DAYOFYEAR": _part(lambda w: w.timetuple().tm_yday),
    "WEEKDAY": _part(lambda w: w.weekday()),
    "WEEK": lambda value, mode=0: _part(lambda w: _week(w, int(mode)))(value),
    "WEEKOFYEAR": _part(lambda w: w.isocalendar().week),
    "YEARWEEK": _part(lambda w: w.year * 100 + (_week(w) or 52)),
    "TO_DAYS": _part(lambda w: w.toordinal() + 365),
    "DATEDIFF": _days_between,
    "TIMESTAMPDIFF": _units_between,
    "UNIX_TIMESTAMP": _unix,
    "TIME_TO_SEC": _clock(lambda hour, minute, second: hour * 3600 + minute * 60 + second),
    "EXTRACT": _extracted,
}
"""Functions that give a number."""

TEXTS: dict[str, Callable[..., Any]] = {
    "DATE": _part(lambda w: w.date().isoformat()),
    "TIME": _clock(lambda hour, minute, second: f"{hour:02}:{minute:02}:{second:02}"),
    "TIMESTAMP": _part(written),
    "DAYNAME": _part(lambda w: calendar.day_name[w.weekday()]),
    "MONTHNAME": _part(lambda w: calendar.month_name[w.month]),
    "LAST_DAY": _part(
        lambda w: w.date().replace(day=calendar.monthrange(w.year, w.month)[1]).isoformat()
    ),
    "DATE_ADD": added,
    "DATE_SUB": _subtracted,
    "TIMESTAMPADD": lambda unit, amount, value: added(value, amount, unit),
    "DATE_FORMAT": _formatted,
    "STR_TO_DATE": _parsed,
    "MAKEDATE": _made,
    "SEC_TO_TIME": _seconds_text,
    "FROM_UNIXTIME": _from_unix,
    "NOW": lambda *_: written(_now()),
    "CURDATE": lambda: _now().date().isoformat(),
    "CURTIME": lambda *_: f"{_now():%H:%M:%S}",
}
"""Functions that give text."""
_SAME = {
    "NOW": ("SYSDATE", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "UTC_TIMESTAMP"),
    "CURDATE": ("CURRENT_DATE", "UTC_DATE"),
    "CURTIME": ("CURRENT_TIME", "UTC_TIME"),
    "DATE_ADD": ("ADDDATE",),
    "DATE_SUB": ("SUBDATE",),
}
TEXTS |= {other: TEXTS[name] for name, others in _SAME.items() for other in others}
