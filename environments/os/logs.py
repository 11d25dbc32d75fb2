"""Forms of log files: how a line is written, and the commands that take it apart."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

_LEVELS = (
    ("DEBUG", "INFO", "WARNING", "ERROR"),
    ("debug", "info", "warn", "error"),
    ("OK", "RETRY", "FAILED"),
    ("LOW", "MEDIUM", "HIGH", "CRITICAL"),
    ("TRACE", "NOTE", "ALERT"),
    ("started", "finished", "aborted"),
)
_WHO = (
    "user",
    "account",
    "member",
    "client",
    "owner",
    "login",
    "operator",
    "sender",
    "customer",
    "player",
)
_UNITS = (
    "ms",
    "bytes",
    "points",
    "seconds",
    "items",
    "requests",
    "hits",
    "pages",
    "tokens",
    "steps",
)
_DATES = (
    "2024-03-{:02}",
    "2023/11/{:02}",
    "{:02}.07.2025",
    "Mar {:02}",
    "202502{:02}",
    "{:02}-Oct-2022",
)

_LINES = (
    "{date} {time} {level} {who}={user} {unit}={amount}",
    "[{date} {time}] {level}: {who} {user}, {unit} {amount}",
    "{date}|{time}|{level}|{who}:{user}|{unit}:{amount}",
    '{{"date": "{date}", "time": "{time}", '
    '"level": "{level}", "{who}": "{user}", "{unit}": {amount}}}',
    "{date} {time} <{level}> {who} {user} - {amount} {unit}",
    "{level} {date} {time} ({who} {user}) {unit}={amount};",
    "{date};{time};level={level};{who}={user};{unit}={amount};",
    "{time} {date} [{level}] [{who} {user}] {unit}: {amount}",
)
_EDGES = {
    "level": (
        (" ", " "),
        ("] ", ":"),
        ("|", "|"),
        ('"level": "', '"'),
        ("<", ">"),
        ("^", " "),
        ("level=", ";"),
        ("[", "]"),
    ),
    "user": (
        ("{who}=", " "),
        (": {who} ", ","),
        ("{who}:", "|"),
        ('"{who}": "', '"'),
        ("> {who} ", " "),
        ("({who} ", ")"),
        ("{who}=", ";"),
        ("[{who} ", "]"),
    ),
    "amount": (
        ("{unit}=", ""),
        ("{unit} ", ""),
        ("{unit}:", ""),
        ('"{unit}": ', ""),
        (" - ", " "),
        ("{unit}=", ""),
        ("{unit}=", ""),
        ("{unit}: ", ""),
    ),
}
"""What stands right before and after a part of a line, in each form."""


@dataclass(frozen=True)
class LogForm:
    """One form with its words."""

    number: int
    who: str
    unit: str
    date: str
    levels: tuple[str, ...]

    def line(self, day: int, second: int, level: str, user: str, amount: int) -> str:
        """One line of such a log."""
        clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
        return _LINES[self.number].format(
            date=self.date.format(day),
            time=clock,
            level=level,
            who=self.who,
            user=user,
            unit=self.unit,
            amount=amount,
        )

    def slots(self, user: str, level: str) -> dict[str, str | int]:
        """What is asked about, and how a shell finds it."""
        return {
            "who": self.who,
            "unit": self.unit,
            "user": user,
            "level": level,
            "user_pattern": self._pattern("user", user),
            "level_pattern": self._pattern("level", level),
            "users": self._cut("user", "[a-z0-9]*"),
            "amounts": self._cut("amount", "[0-9]*"),
        }

    def _edges(self, part: str) -> tuple[str, str]:
        before, after = _EDGES[part][self.number]
        return before.format(who=self.who, unit=self.unit), after

    def _pattern(self, part: str, value: str) -> str:
        before, after = self._edges(part)
        return f"'{_escaped(before)}{value}{_escaped(after)}'"

    def _cut(self, part: str, what: str) -> str:
        before, after = map(_escaped, self._edges(part))
        return f"sed 's/.*{before}\\({what}\\){after}.*/\\1/'"


def log_form(random: Random) -> LogForm:
    """A form that is drawn with its words."""
    return LogForm(
        number=random.randrange(len(_LINES)),
        who=random.choice(_WHO),
        unit=random.choice(_UNITS),
        date=random.choice(_DATES),
        levels=random.choice(_LEVELS),
    )


def _escaped(text: str) -> str:
    """For a basic regular expression between slashes."""
    return text.replace("[", "\\[").replace("]", "\\]").replace("/", "\\/")
