"""How the kinds of web page that are held out can be solved: so that each is known to be solvable.

Nothing outside the tests has these: no page of these kinds is trained on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from agentlm.environments.web.experts import EXPERTS, Deed

Turn = Callable[[str, list[str], int], Deed]
"""What is asked, the lines of the page without their numbers, how many steps were taken."""

_SUBMIT = Deed("click", 'button "Submit"')


def _quoted(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text)


def _as_taught(kind: str) -> Turn:
    return lambda asked, page, turn: EXPERTS[kind](asked)[turn]


def _typed(*values: str) -> list[Deed]:
    fields = [Deed("type", "text field", value, place) for place, value in enumerate(values)]
    return [*fields, _SUBMIT]


def _place(page: list[str], before: str, wanted: str) -> int:
    """How many lines that begin as wanted stand before a certain one."""
    return sum(line.startswith(wanted) for line in page[: page.index(before)])


def _dialog(asked: str, page: list[str], turn: int) -> Deed:
    return Deed("click", f'button "{_quoted(asked)[0].replace("x", "Close")}"')


def _tabs(asked: str, page: list[str], turn: int) -> Deed:
    link = f'span "{_quoted(asked)[0]}"'
    return Deed("click", link if link in page else f'a "Tab #{turn + 1}"')


def _email(asked: str, page: list[str], turn: int) -> Deed:
    name = asked.partition(" by ")[2].partition(" and ")[0]
    return Deed("click", "span (trash)", place=_place(page, f'div "{name}"', "span (trash)"))


def _date(asked: str, page: list[str], turn: int) -> Deed:
    month, day, year = asked.split()[1].split("/")
    return [Deed("type", "date field", f"{year}-{month}-{day}"), _SUBMIT][turn]


def _word(asked: str, page: list[str], turn: int) -> Deed:
    number = int(re.findall(r"\d+", asked)[0])
    word = " ".join(_quoted(" ".join(line for line in page if line.startswith("p ")))).split()
    return _typed(word[number - 1].strip(",."))[turn]


def _sequence(asked: str, page: list[str], turn: int) -> Deed:
    height = asked.partition("Choose ")[2].partition(" from")[0]
    return [Deed("select", "select", height), Deed("click", f'button "{_quoted(asked)[0]}"')][turn]


def _log_in(asked: str, page: list[str], turn: int) -> Deed:
    user, password = _quoted(asked)
    if 'button "Cancel"' in page:
        return Deed("click", 'button "Cancel"')
    if f'text field "{user}"' not in page:
        return Deed("type", "text field", user)
    if f'password field "{password}"' not in page:
        return Deed("type", "password field", password)
    return Deed("click", 'button "OK"')


def _film(asked: str, page: list[str], turn: int) -> Deed:
    found = re.fullmatch(r"Search for (.+) movies directed by (.+) from year (\d+)\.", asked)
    assert found
    values = dict(zip(("Genre", "Director", "Year"), found.groups(), strict=True))
    if turn == len(values):
        return Deed("click", 'div "Submit"' if 'div "Submit"' in page else 'button "Submit"')
    label = list(values)[turn]
    before = next(line for line in page if f'"{label}' in line)
    return Deed("type", "text field", values[label], _place(page, before, "text field"))


def _tree(asked: str, page: list[str], turn: int) -> Deed:
    name = f'span "{_quoted(asked)[0]}"'
    folded = "div (hitarea expandable-hitarea"
    return Deed("click", name if name in page or turn > 12 else folded)


def _food(asked: str, page: list[str], turn: int) -> Deed:
    names = asked.partition(": ")[2].split(", ")
    if turn == len(names):
        return Deed("click", 'button "Order!"')
    return Deed("click", 'span "+"', place=_place(page, f'div "{names[turn]}"', 'span "+"'))


def _contact(asked: str, page: list[str], turn: int) -> Deed:
    name = asked.partition("Find ")[2].partition(" in the")[0]
    if f'h2 "{name}"' not in page:
        return Deed("click", 'a ">"')
    label = asked.rstrip(".").rpartition("their ")[2].replace(" number", "").capitalize()
    return Deed("click", "a ", place=_place(page, f'span "{label}:"', "a "))


def _cell(page: list[str], label: str) -> str:
    return _quoted(page[page.index(f'td "{label}"') + 1])[0]


def _table(asked: str, page: list[str], turn: int) -> Deed:
    label = asked.partition("value of ")[2].partition(" into")[0]
    return _typed(_cell(page, label))[turn]


def _form(asked: str, page: list[str], turn: int) -> Deed:
    labels = [_quoted(line)[0].rstrip(":") for line in page if line.startswith("label")]
    return _typed(*(_cell(page, label) for label in labels))[turn]


def _search(asked: str, page: list[str], turn: int) -> Deed:
    number = int(re.findall(r"(\d+)\w\w search", asked)[0]) - 1
    opening = [Deed("type", "text field", _quoted(asked)[0]), Deed("click", 'button "Search"')]
    if turn < 2:
        return opening[turn]
    if turn == 2 and number >= 3:
        return Deed("click", f'a "{number // 3 + 1}"')
    return Deed("click", "a ", place=number % 3)


def _algebra(asked: str, page: list[str], turn: int) -> Deed:
    left, sign, right, result = re.findall(r'"(\S+) ([-+]) (\S+) = (\S+)"', page[0])[0]
    if right == "x":
        value = int(left) - int(result) if sign == "-" else int(result) - int(left)
    else:
        value = int(result) + int(right) if sign == "-" else int(result) - int(right)
    return _typed(str(value))[turn]


def _arithmetic(asked: str, page: list[str], turn: int) -> Deed:
    left, sign, right = re.findall(r'"(\S+) (\S) (\S+) ="', page[0])[0]
    one, other = int(left), int(right)
    value = {"+": one + other, "-": one - other}.get(sign, one * other)
    return _typed(str(value))[turn]


def _media(asked: str, page: list[str], turn: int) -> Deed:
    user = re.findall(r"user (@\S+),", asked)[0]
    action = _quoted(asked)[0]
    icon = f"span ({action.lower()})"
    if icon in page:
        return Deed("click", icon, place=_place(page, f'span "{user}"', icon))
    more = Deed("click", "span (more)", place=_place(page, f'span "{user}"', "span (more)"))
    return [more, Deed("click", f'li "{action}')][turn]


def _game(asked: str, page: list[str], turn: int) -> Deed:
    return Deed("click", ["span (ttt-4)", "span (ttt-"][turn > 0], place=0)


def _item(asked: str, page: list[str], turn: int) -> Deed:
    ends = _quoted(asked)
    fits = (
        line
        for line in page
        if line.startswith(("div", "li", "a"))
        and (text := "".join(_quoted(line))).startswith(ends[0])
        and text.endswith(ends[-1] if len(ends) > 1 else "")
    )
    return [Deed("type", "text field", ends[0]), Deed("click", next(fits, "-")), _SUBMIT][turn]


SOLUTIONS: Mapping[str, Turn] = {
    "click-checkboxes-large": _as_taught("click-checkboxes"),
    "click-dialog-2": _dialog,
    "click-tab-2": _tabs,
    "email-inbox-delete": _email,
    "enter-date": _date,
    "find-word": _word,
    "form-sequence-3": _sequence,
    "login-user-popup": _log_in,
    "multi-orderings": _film,
    "navigate-tree": _tree,
    "order-food": _food,
    "phone-book": _contact,
    "read-table": _table,
    "read-table-2": _form,
    "search-engine": _search,
    "simple-algebra": _algebra,
    "simple-arithmetic": _arithmetic,
    "social-media": _media,
    "tic-tac-toe": _game,
    "use-autocomplete-nodelay": _item,
}
"""Kind → its next step."""
