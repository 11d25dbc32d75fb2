"""What stands in the work directory when a task begins, and the slots that templates may use of it.

A scene is made so that every question about it has one answer: sizes, ages and counts that are
compared all differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from shlex import quote

from agentlm.environments.names import pool
from agentlm.environments.task import Split

Slot = str | int

_EXTENSIONS = ("txt", "log", "md", "dat", "cfg", "json", "csv", "py")
_MODES = ("600", "640", "644", "700", "750", "755")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


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


@dataclass
class _Draw:
    """Chance for one scene, and its words: none is drawn twice."""

    random: Random
    split: Split
    _words: list[str] = field(init=False)
    _slugs: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._words = self.random.sample(pool("word", self.split), 60)
        self._slugs = self.random.sample(pool("slug", self.split), 60)

    def word(self) -> str:
        return self._words.pop()

    def slug(self) -> str:
        return self._slugs.pop()

    def text(self, words: Sequence[str], count: int) -> list[str]:
        return self.random.choices(words, k=count)

    def counts(self, things: int, low: int, high: int) -> list[int]:
        """Numbers that all differ."""
        return self.random.sample(range(low, high + 1), things)


def make(name: str, split: Split, random: Random) -> Scene:
    """One scene of a kind."""
    draw = _Draw(random, split)
    scene = SCENES[name](draw)
    fresh: dict[str, Slot] = {
        "new": draw.slug(),
        "new2": draw.slug(),
        "new3": draw.slug(),
        "fresh": draw.word(),
        "line": " ".join(draw.word() for _ in range(4)),
        "value": draw.word(),
        "mode": random.choice(_MODES),
        "k": random.randint(3, 7),
    }
    return Scene(scene.script, {**fresh, **scene.slots})


def _tree(draw: _Draw) -> Scene:
    random, top = draw.random, draw.slug()
    subs = [f"{top}/{draw.word()}" for _ in range(random.randint(3, 4))]
    deep = f"{subs[0]}/{draw.word()}"
    files = _files(draw, top, subs, deep)
    full = [file for file in files if file.words]
    word, token = draw.word(), f"{draw.word()}-{random.randint(100, 999)}"
    for file in random.sample(full, random.randint(2, 4)):
        file.words.insert(random.randrange(len(file.words)), word)
    marked = random.choice(full)
    marked.words.append(token)
    plain = [file for file in full if not file.name.startswith(".") and file is not marked]
    target, linked = random.sample(plain, 2)
    extension = target.name.rpartition(".")[2]
    with_it = sum(file.name.endswith(f".{extension}") for file in files)
    link = f"{draw.word()}.lnk"
    sizes = sorted(len(" ".join(file.words)) + 1 for file in full)
    parent = target.path.rpartition("/")[0]
    slots: dict[str, Slot] = {"dir": top, "ext": extension, "word": word, "token": token}
    slots |= {"path": target.path, "parent": parent, "link": link}
    slots |= {"bytes": sizes[len(sizes) // 2] + 1, "days": sorted(f.days_old for f in files)[4]}
    slots |= {"ext_count": with_it, "other_count": len(files) - with_it}
    slots |= {"full_count": len(full), "all_but_one": len(files) - 1}
    lines = [f"mkdir -p {' '.join([*subs, deep])}", *map(_write, files)]
    lines.append(f"ln -s {linked.path} {link}")
    return Scene("\n".join(lines), slots)


def _files(draw: _Draw, top: str, subs: Sequence[str], deep: str) -> list[_File]:
    """Files of different sizes and ages; some hidden, some empty, some executable."""
    random = draw.random
    extensions = random.sample(_EXTENSIONS, 3)
    counts = draw.counts(len(subs), 1, 6)
    places = [sub for sub, n in zip(subs, counts, strict=True) for _ in range(n)]
    places += [top, top, deep]
    ages = draw.counts(len(places), 1, 60)
    lengths = draw.counts(len(places), 12, 90)
    filler = random.sample(pool("word", draw.split), 12)
    empty = set(random.sample(range(len(places)), random.randint(1, 2)))
    hidden = set(random.sample(range(len(places)), random.randint(1, 3)))
    files = []
    for index, place in enumerate(places):
        name = f"{'.' if index in hidden else ''}{draw.slug()}.{random.choice(extensions)}"
        words = [] if index in empty else draw.text(filler, lengths[index])
        files.append(_File(f"{place}/{name}", words, ages[index], random.random() < 0.25))
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
    random, name = draw.random, f"{draw.slug()}.log"
    people = random.sample(pool("person", draw.split), 12)
    users = sorted({person.split()[0].lower() for person in people})[:4]
    owners = [
        u for u, n in zip(users, draw.counts(len(users), 3, 14), strict=True) for _ in range(n)
    ]
    random.shuffle(owners)
    durations = draw.counts(len(owners), 5, 4000)
    second, rows = random.randint(0, 20_000), []
    level_of = [random.choice(_LEVELS) for _ in owners]
    for user, level, duration in zip(owners, level_of, durations, strict=True):
        second += random.randint(1, 900)
        clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
        rows.append(f"2024-03-{random.randint(1, 9):02} {clock} {level} user={user} ms={duration}")
    chosen = random.randrange(len(owners))
    slots: dict[str, Slot] = {"file": name, "user": owners[chosen], "level": level_of[chosen]}
    return Scene(_print(rows, name), slots)


def _csv(draw: _Draw) -> Scene:
    random, name = draw.random, f"{draw.slug()}.csv"
    cities = random.sample(pool("place", draw.split), 4)
    counts = draw.counts(len(cities), 2, 9)
    rows = [city for city, n in zip(cities, counts, strict=True) for _ in range(n)]
    random.shuffle(rows)
    people = random.sample(pool("person", draw.split), len(rows))
    amounts = draw.counts(len(rows), 10, 990)
    lines = [f"{p},{c},{a}" for p, c, a in zip(people, rows, amounts, strict=True)]
    ranked = sorted(amounts)
    slots: dict[str, Slot] = {
        "file": name,
        "city": random.choice(cities),
        "n": ranked[len(ranked) // 2],
    }
    return Scene(_print(["name,city,amount", *lines], name), slots)


def _text(draw: _Draw) -> Scene:
    random, name = draw.random, f"{draw.slug()}.txt"
    vocabulary = [draw.word() for _ in range(12)]
    word = vocabulary[0]
    frequencies = [9, *(random.randint(1, 5) for _ in vocabulary[1:])]
    words = [w for w, n in zip(vocabulary, frequencies, strict=True) for _ in range(n)]
    random.shuffle(words)
    lines: list[list[str]] = []
    while words:
        count = random.randint(3, 7)
        lines.append(words[:count])
        words = words[count:]
    lines[random.randrange(len(lines))] += [vocabulary[-1]] * 5  # one line is the longest
    slots: dict[str, Slot] = {"file": name, "word": word, "n": random.randint(2, len(lines) - 1)}
    slots |= {"word_count": sum(row.count(word) for row in lines)}
    slots |= {"lines_plus_one": len(lines) + 1}
    return Scene(_print([" ".join(row) for row in lines], name), slots)


def _config(draw: _Draw) -> Scene:
    random, name = draw.random, f"{draw.slug()}.conf"
    keys = [draw.slug() for _ in range(random.randint(6, 12))]
    rows = [f"{key}={random.choice([draw.word(), str(random.randint(2, 900))])}" for key in keys]
    for _ in range(random.randint(2, 5)):
        rows.insert(random.randrange(len(rows)), f"# {draw.word()} {draw.word()}")
    slots: dict[str, Slot] = {"file": name, "key": random.choice(keys), "line_count": len(rows)}
    return Scene(_print(rows, name), slots)


def _print(rows: Sequence[str], name: str) -> str:
    content = "".join(f"{row}\n" for row in rows)
    return f"printf %s {quote(content)} > {name}"


SCENES: dict[str, Callable[[_Draw], Scene]] = {
    "tree": _tree,
    "log": _log,
    "csv": _csv,
    "text": _text,
    "config": _config,
}
