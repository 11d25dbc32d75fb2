"""What stands in the work directory when a task begins, and the slots that templates may use of it.

A scene is made so that every question about it has one answer (sizes, ages and counts that are
compared all differ) and that no answer is the same in most scenes. Names of files, directories,
users and columns are drawn anew, and so are the forms of logs, tables and settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from shlex import quote

from agentlm.environments.names import pool, words
from agentlm.environments.os.logs import log_form
from agentlm.environments.task import Split

Slot = str | int

_EXTENSIONS = (
    *(
        "txt",
        "log",
        "md",
        "dat",
        "cfg",
        "json",
        "csv",
        "py",
        "html",
        "xml",
        "yaml",
        "ini",
        "sh",
        "sql",
        "tmp",
    ),
    *(
        "rst",
        "toml",
        "tex",
        "tsv",
        "js",
        "css",
        "c",
        "rs",
        "go",
        "out",
        "old",
        "jpg",
        "png",
        "pdf",
        "doc",
    ),
)
_TEXT_EXTENSIONS = ("txt", "md", "text", "rst", "notes", "tex", "doc")
_MODES = ("600", "640", "644", "700", "750", "755", "400", "440", "660", "664", "770", "711")
_DELIMITERS = (",", ",", ";", "|", ":")
_SEPARATORS = ("=", "=", " = ", ": ", ":")
_MARKS = ("#", "#", ";", "//")
_NAME_JOINTS = ("_", "-", "", ".", "_")


@dataclass(frozen=True)
class Scene:
    """A shell script that makes it, and what is known of it."""

    script: str
    slots: dict[str, Slot]


@dataclass
class _File:
    path: str
    words: list[str]
    days_old: int
    executable: bool = False

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class _Draw:
    """Chance for one scene, and its words: none is drawn twice."""

    def __init__(self, random: Random, split: Split) -> None:
        self.random = random
        self.split = split
        self._words = [*words("thing", split), *words("noun", split)]
        random.shuffle(self._words)
        self._joint = random.choice(_NAME_JOINTS)
        self._style: Callable[[str], str] = random.choice((str, str, str, str.title, str.upper))

    def word(self) -> str:
        return self._words.pop()

    def words(self, count: int) -> list[str]:
        return [self.word() for _ in range(count)]

    def name(self) -> str:
        """A file's or directory's name in this scene's style: one or two words, maybe a number."""
        parts = self.words(self.random.choice((1, 2, 2)))
        if self.random.random() < 0.2:
            parts.append(
                str(
                    self.random.choice(
                        (self.random.randint(1, 30), 2000 + self.random.randint(1, 26))
                    )
                )
            )
        return self._style(self._joint.join(parts))

    def key(self) -> str:
        """The name of a setting or of a file's column."""
        return self._style("_".join(self.words(self.random.choice((1, 1, 2)))))

    def counts(self, things: int, low: int, high: int) -> list[int]:
        """Numbers that all differ."""
        return self.random.sample(range(low, high + 1), things)

    def shares(self, things: int, low: int, high: int) -> list[int]:
        """Things by number, in random order: `[0, 1, 0, 0]`; no two of them come equally often."""
        listed = [i for i, n in enumerate(self.counts(things, low, high)) for _ in range(n)]
        self.random.shuffle(listed)
        return listed


def make(name: str, split: Split, random: Random) -> Scene:
    """One scene of a kind."""
    draw = _Draw(random, split)
    scene = SCENES[name](draw)
    fresh: dict[str, Slot] = {
        "new": draw.name(),
        "new2": draw.name(),
        "new3": draw.name(),
        "fresh": draw.word(),
        "line": " ".join(draw.words(random.randint(3, 6))),
        "value": draw.word(),
        "mode": random.choice(_MODES),
        "k": random.randint(3, 12),
    }
    return Scene(scene.script, {**fresh, **scene.slots})


def _tree(draw: _Draw) -> Scene:
    random = draw.random
    top = "/".join(draw.name() for _ in range(random.choice((1, 1, 2))))
    subs = [f"{top}/{draw.name()}" for _ in range(random.randint(3, 7))]
    # All in the fullest one, so that it is the fullest whether they count or not.
    deep = [f"{subs[0]}/{draw.name()}" for _ in range(random.randint(1, 5))]
    files = _files(draw, top, subs, deep)
    full = [file for file in files if file.words]
    word, token = draw.word(), f"{draw.word()}-{random.randint(100, 999)}"
    for file in random.sample(full, random.randint(2, min(9, len(full)))):
        file.words.insert(random.randrange(len(file.words)), word)
    marked = random.choice(full)
    marked.words.append(token)
    plain = [file for file in full if not file.name.startswith(".") and file is not marked]
    target, linked = random.sample(plain, 2)
    extension = target.name.rpartition(".")[2]
    with_it = sum(file.name.endswith(f".{extension}") for file in files)
    link = f"{draw.name()}.lnk"
    sizes = sorted(len(" ".join(file.words)) + 1 for file in full)
    ages = sorted(file.days_old for file in files)
    parent = target.path.rpartition("/")[0]
    slots: dict[str, Slot] = {"dir": top, "ext": extension, "word": word, "token": token}
    slots |= {"path": target.path, "parent": parent, "base": target.name, "link": link}
    slots |= {"bytes": sizes[random.randrange(2, len(sizes) - 2)] + 1}
    slots |= {"days": ages[random.randrange(3, len(ages) - 2)]}
    slots |= {"ext_count": with_it, "other_count": len(files) - with_it}
    slots |= {"full_count": len(full), "all_but_one": len(files) - 1}
    lines = [f"mkdir -p {' '.join([*subs, *deep])}", *map(_write, files)]
    lines.append(f"ln -s {linked.path} {link}")
    return Scene("\n".join(lines), slots)


def _files(draw: _Draw, top: str, subs: Sequence[str], deep: Sequence[str]) -> list[_File]:
    """Files of different sizes and ages; some hidden, some empty, some executable."""
    random = draw.random
    extensions = random.sample(_EXTENSIONS, random.randint(2, 6))
    counts = sorted(draw.counts(len(subs), 1, len(subs) + 1), reverse=True)
    places = [sub for sub, n in zip(subs, counts, strict=True) for _ in range(n)]
    places += [top] * random.randint(1, 4)
    places += [place for place in deep if random.random() < 0.5]
    ages = draw.counts(len(places), 1, 90)
    lengths = draw.counts(len(places), 12, 120)
    filler = draw.words(12)
    empty = set(random.sample(range(len(places)), random.randint(1, len(places) // 3)))
    hidden = set(random.sample(range(len(places)), random.randint(1, len(places) // 3)))
    files = []
    for index, place in enumerate(places):
        name = f"{'.' if index in hidden else ''}{draw.name()}.{random.choice(extensions)}"
        content = [] if index in empty else random.choices(filler, k=lengths[index])
        files.append(_File(f"{place}/{name}", content, ages[index], random.random() < 0.3))
    return files


def _write(file: _File) -> str:
    """Text of distinct sizes in lines of ten words, then mode and age."""
    rows = [" ".join(file.words[i : i + 10]) for i in range(0, len(file.words), 10)]
    content = "".join(f"{row}\n" for row in rows)
    made = f"printf %s {quote(content)} > {file.path}" if content else f": > {file.path}"
    mode = f"chmod {'755' if file.executable else '644'} {file.path}"
    # Six hours off the full day: whole days are what tasks ask for.
    return f"{made}; {mode}; touch -d '-{file.days_old * 24 + 6} hours' {file.path}"


def _log(draw: _Draw) -> Scene:
    random = draw.random
    form = log_form(random)
    name = f"{draw.name()}.{random.choice(('log', 'log', 'txt', 'out'))}"
    users = _users(draw, random.randint(3, 9))
    owners = [users[index] for index in draw.shares(len(users), 2, 14)]
    durations = draw.counts(len(owners), 5, 4000)
    day, clock = random.randint(1, 20), random.randint(0, 20_000)
    steps = accumulate((random.randint(1, 900) for _ in owners), initial=clock)
    level_of = [random.choice(form.levels) for _ in owners]
    rows = [
        form.line(day, second % 86_400, level, user, amount)
        for second, level, user, amount in zip(steps, level_of, owners, durations, strict=False)
    ]
    chosen = random.randrange(len(owners))
    slots = form.slots(owners[chosen], level_of[chosen])
    return Scene(_print(rows, name), {"file": name, **slots})


def _users(draw: _Draw, count: int) -> list[str]:
    """Accounts as they are named in one place: after a person or after a thing."""
    random = draw.random
    people = random.sample(pool("person", draw.split), 3 * count)
    pairs = [person.lower().replace("'", "").split() for person in people]
    forms: tuple[Callable[[str, str], str], ...] = (
        lambda first, last: f"{first[0]}{last}",
        lambda first, last: f"{last}{first[0]}",
        lambda first, last: f"{first}{last}",
        lambda _first, last: f"{last}{random.randint(1, 99)}",
        lambda _first, _last: f"{draw.word()}{random.randint(1, 99)}",
        lambda _first, _last: draw.word(),
    )
    form = random.choice(forms)
    return list(dict.fromkeys(form(first, last) for first, last in pairs))[:count]


def _table(draw: _Draw) -> Scene:
    random, delimiter = draw.random, draw.random.choice(_DELIMITERS)
    name = f"{draw.name()}.{random.choice(('csv', 'csv', 'txt', 'dat'))}"
    groups = _groups(draw, random.randint(3, 9))
    rows = [groups[index] for index in draw.shares(len(groups), 1, 11)]
    kind = random.choice(("person", "place", "title", "vessel", "product", "code"))
    names = random.sample(pool(kind, draw.split), len(rows))
    numbers = draw.counts(len(rows), 10, random.choice((200, 990, 9000)))
    columns: list[tuple[str, Sequence[Slot]]] = [
        ("name", names),
        ("group", rows),
        ("number", numbers),
    ]
    columns += [("other", random.choices(draw.words(4), k=len(rows)))] * random.choice((0, 1))
    random.shuffle(columns)
    headers = {column: draw.key() for column, _ in columns}
    lines = [delimiter.join(headers[column] for column, _ in columns)]
    cells = zip(*(values for _, values in columns), strict=True)
    lines += [delimiter.join(map(str, row)) for row in cells]
    ranked = sorted(numbers)
    slots: dict[str, Slot] = {f"h_{column}": header for column, header in headers.items()}
    slots |= {f"c_{column}": place for place, (column, _) in enumerate(columns, 1)}
    slots |= {"file": name, "d": delimiter, "group": random.choice(groups)}
    slots |= {"name": random.choice(names), "n": ranked[random.randrange(2, len(ranked) - 2)]}
    return Scene(_print(lines, name), slots)


def _groups(draw: _Draw, count: int) -> list[str]:
    """Values of one word, which many rows share."""
    random = draw.random
    if random.random() < 0.5:
        return random.sample(pool("place", draw.split), count)
    style = random.choice((str, str.title, str.upper))
    return [style(word) for word in draw.words(count)]


def _text(draw: _Draw) -> Scene:
    random = draw.random
    name = f"{draw.name()}.{random.choice(_TEXT_EXTENSIONS)}"
    vocabulary = draw.words(random.randint(8, 24))
    most = random.randint(6, 19)
    frequencies = [most, *(random.randint(1, most - 1) for _ in vocabulary[1:])]
    listed = [w for w, n in zip(vocabulary, frequencies, strict=True) for _ in range(n)]
    random.shuffle(listed)
    lines: list[list[str]] = []
    while listed:
        count = random.randint(3, 9)
        lines.append(listed[:count])
        listed = listed[count:]
    lines[random.randrange(len(lines))] += draw.words(12)  # one line is the longest
    place = random.choice((0, random.randrange(len(vocabulary))))
    word = vocabulary[place]
    with_word = sum(word in row for row in lines)
    slots: dict[str, Slot] = {"file": name, "word": word, "n": random.randint(2, len(lines) - 1)}
    slots |= {"word_count": sum(row.count(word) for row in lines)}
    slots |= {"lines_plus_one": len(lines) + 1, "lines_without": len(lines) - with_word}
    return Scene(_print([" ".join(row) for row in lines], name), slots)


def _config(draw: _Draw) -> Scene:
    random = draw.random
    name = f"{draw.name()}.{random.choice(('conf', 'cfg', 'ini', 'properties', 'env', 'settings'))}"
    separator, mark = random.choice(_SEPARATORS), random.choice(_MARKS)
    keys = [draw.key() for _ in range(random.randint(6, 18))]
    values = [random.choice((draw.word(), str(random.randint(2, 900)))) for _ in keys]
    rows = [f"{key}{separator}{value}" for key, value in zip(keys, values, strict=True)]
    for _ in range(random.randint(2, 12)):
        rows.insert(random.randrange(len(rows)), f"{mark} {' '.join(draw.words(2))}")
    slots: dict[str, Slot] = {"file": name, "key": random.choice(keys), "sep": separator}
    slots |= {"mark": mark, "line_count": len(rows), "line_count_plus_one": len(rows) + 1}
    return Scene(_print(rows, name), slots)


def _print(rows: Sequence[str], name: str) -> str:
    content = "".join(f"{row}\n" for row in rows)
    return f"printf %s {quote(content)} > {name}"


SCENES: dict[str, Callable[[_Draw], Scene]] = {
    "tree": _tree,
    "log": _log,
    "table": _table,
    "text": _text,
    "config": _config,
}
