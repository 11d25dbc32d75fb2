"""Which kinds of page are trained on, each with an expert, and which never are.

An expert reads what is asked and says what to do with which line of the page. Its steps are played
when a task is drawn; a task whose steps do not solve it comes without them. Held out are kinds that
clicking, typing and choosing by text can do; left out of both are pages of pictures, dragging,
scrolling and waiting, and kinds that say what a kind that is trained on says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Deed:
    """One thing to do."""

    verb: Literal["click", "type", "select"]
    wanted: str
    """How the element's line begins, after its number."""
    value: str = ""
    place: int = 0
    """Among the lines that begin so."""


Expert = Callable[[str], list[Deed]]

_SUBMIT = Deed("click", 'button "Submit"')
_ORDINALS = {"1st": 0, "2nd": 1, "3rd": 2}


def _quoted(asked: str) -> list[str]:
    return re.findall(r'"([^"]*)"', asked)


def _last_word(asked: str) -> str:
    return asked.rstrip(".").split()[-1]


def _between(asked: str, before: str, after: str) -> str:
    return asked.partition(before)[2].partition(after)[0]


def _enter_text(asked: str) -> list[Deed]:
    return [Deed("type", "text field", _quoted(asked)[0]), _SUBMIT]


def _enter_cased(asked: str) -> list[Deed]:
    text = _quoted(asked)[0]
    return [Deed("type", "text field", text.upper() if "upper" in asked else text.lower()), _SUBMIT]


def _enter_password(asked: str) -> list[Deed]:
    [password] = _quoted(asked)
    return [*(Deed("type", "password field", password, place) for place in range(2)), _SUBMIT]


def _log_in(asked: str) -> list[Deed]:
    user, password = _quoted(asked)
    typed = [Deed("type", "text field", user), Deed("type", "password field", password)]
    return [*typed, Deed("click", 'button "Login"')]


def _check(asked: str) -> list[Deed]:
    names = _between(asked, "Select ", " and click").split(", ")
    return [*(Deed("click", f'label "{name}"') for name in names if name != "nothing"), _SUBMIT]


def _choose(asked: str) -> list[Deed]:
    return [Deed("select", "select", _between(asked, "Select ", " from the list")), _SUBMIT]


EXPERTS: Mapping[str, Expert] = {
    "click-test": lambda asked: [Deed("click", "button")],
    "click-test-2": lambda asked: [Deed("click", f'button "{_last_word(asked)}"')],
    "click-button": lambda asked: [Deed("click", f'button "{_quoted(asked)[0]}"')],
    "click-link": lambda asked: [Deed("click", f'span "{_quoted(asked)[0]}"')],
    "click-tab": lambda asked: [Deed("click", f'a "Tab {_last_word(asked)}"')],
    "click-option": _check,
    "click-checkboxes": _check,
    "click-button-sequence": lambda asked: [
        Deed("click", 'button "ONE"'),
        Deed("click", 'button "TWO"'),
    ],
    "click-collapsible-nodelay": lambda asked: [Deed("click", "h3"), _SUBMIT],
    "choose-list": _choose,
    "enter-text": _enter_text,
    "enter-text-2": _enter_cased,
    "enter-password": _enter_password,
    "focus-text": lambda asked: [Deed("click", "text field")],
    "focus-text-2": lambda asked: [
        Deed("click", "text field", place=_ORDINALS[_between(asked, "the ", " input")])
    ],
    "login-user": _log_in,
}
"""Kind of page → what an expert does on it. A kind's name is that of its file."""

HELD_OUT = (
    "click-checkboxes-large",
    "click-dialog-2",
    "click-tab-2",
    "email-inbox-delete",
    "enter-date",
    "find-word",
    "form-sequence-3",
    "login-user-popup",
    "multi-orderings",
    "navigate-tree",
    "order-food",
    "phone-book",
    "read-table",
    "read-table-2",
    "search-engine",
    "simple-algebra",
    "simple-arithmetic",
    "social-media",
    "tic-tac-toe",
    "use-autocomplete-nodelay",
)
"""Kinds that nothing here is trained on: the split `test-kinds`."""
