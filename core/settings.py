"""Settings shared by every command: the data directory, and how flags, environment and file
combine.

A command's settings are one frozen class. Each field is a flag (`--data-dir`), an environment
variable (`AGENTLM_DATA_DIR`) and a key of the `--config` file (`data_dir`); its docstring is its
help. A flag overrides the environment, the environment overrides the file, and the file overrides
the default.
"""

from __future__ import annotations

import difflib
import inspect
import re
from argparse import Action, ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import AfterValidator, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    CliPositionalArg,
    CliSettingsSource,
    EnvSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from agentlm.errors import OperatorError

Directory = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class Settings(BaseSettings):
    """Of every command."""

    model_config = SettingsConfigDict(
        env_prefix="AGENTLM_",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_exit_on_error=False,
    )

    data_dir: Directory = Path("~/.local/share/agentlm")
    """Directory of the log, the models and the sandboxes."""
    store_url: str | None = None
    """SQLAlchemy URL of the log; the default is SQLite in the data directory."""

    @classmethod
    def usual_data_dir(cls) -> Path:
        """The data directory if none is configured."""
        default: Path = cls.model_fields["data_dir"].default
        return default.expanduser()

    def log_url(self) -> str:
        """The store's URL; by default SQLite in the data directory."""
        return self.store_url or f"sqlite:///{self.data_dir / 'agentlm.db'}"

    def sandboxes_dir(self) -> Path:
        """Where the work directories of trajectories are."""
        return self.data_dir / "sandboxes"

    def prepare_data_dir(self) -> Path:
        """Create the data directory. Raises OperatorError if it can't be written."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=self.data_dir).close()
        except OSError as error:
            raise OperatorError(
                f"the data directory {self.data_dir} can't be written: {error.strerror or error}"
            ) from error
        return self.data_dir


S = TypeVar("S", bound=BaseSettings)


def parse(settings: type[S], argv: Sequence[str], prog: str) -> S:
    """Build a command's settings. `prog` is the command as the user typed it (`agentlm serve`).

    `--help` prints and raises SystemExit. Raises OperatorError with one line per wrong setting.
    """
    chosen, unknown = parse_known(settings, argv, prog)
    if unknown:
        raise OperatorError(unknown_argument(unknown[0], _flags(settings)))
    return chosen


def parse_known(settings: type[S], argv: Sequence[str], prog: str) -> tuple[S, list[str]]:
    """Like `parse`, but also return the arguments that the command doesn't know."""
    page = _HelpPage(settings)
    source = CliSettingsSource[Any](settings, cli_prog_name=prog, add_argument_method=page.add)
    parser = source.root_parser
    names = [name.upper() for name in settings.model_fields if _is_positional(settings, name)]
    # Listing a server's flags would fill half a page before the first word about what it does.
    parser.usage = " ".join([prog, *names, "[OPTIONS]"])
    parser.description = inspect.cleandoc(settings.__doc__ or "")
    page.add(parser, "--config", metavar="FILE", help="YAML file of settings.")
    try:
        arguments, unknown = parser.parse_known_args(list(argv))
        config: str | None = vars(arguments).pop("config")
        layers = [
            _Layer("--", source(parsed_args=arguments)()),
            _Layer("AGENTLM_", EnvSettingsSource(settings)()),
            _Layer(f"{config}: ", _read_config(Path(config)) if config else {}),
        ]
    except SettingsError as error:
        raise OperatorError(_explain_syntax(error)) from error
    try:
        return settings(**_merged(layers)), unknown
    except ValidationError as error:
        lines = [_explain(detail, layers, settings) for detail in error.errors()]
        raise OperatorError("\n".join(lines)) from error


def unknown_argument(argument: str, known: Sequence[str]) -> str:
    """The message about an unknown argument, with the nearest known ones."""
    nearest = difflib.get_close_matches(argument.split("=")[0], known, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else "; --help lists what is known"
    return f"unknown argument {argument}{hint}"


@dataclass(frozen=True)
class _Layer:
    """The settings from one place, and that place's name for a setting."""

    prefix: str
    values: Mapping[str, Any]

    def name(self, field: str) -> str:
        match self.prefix:
            case "--":
                field = field.replace("_", "-")
            case "AGENTLM_":
                field = field.upper()
        return self.prefix + field


class _HelpPage:
    """Adds what pydantic-settings would add, in the words of a help page instead of Python's.

    The command's own flags come first, then those of each class it inherits, under that class's
    title, also if the command words them otherwise.
    """

    def __init__(self, settings: type[BaseSettings]) -> None:
        self._titles: dict[str, str] = {}
        """Title of the group that a flag is in, by field. Flags of the command alone have none."""
        for ancestor in settings.__mro__[1:]:
            names = [name for name in inspect.get_annotations(ancestor) if name not in self._titles]
            if ancestor.__module__.startswith("agentlm."):
                self._titles |= _titled(names, inspect.cleandoc(ancestor.__doc__ or ""))
        self._titles["config"] = self._titles.get("data_dir", "")
        self._groups: dict[str, Any] = {}

    def add(self, parser: ArgumentParser, *names: str, **options: Any) -> Action:
        """Like `parser.add_argument`."""
        metavar = options.get("metavar")
        if isinstance(metavar, str):
            words = {"str": "TEXT", "int": "N", "float": "X", "Path": "PATH"}
            several = {"tuple": "A,B", "dict[": "KEY=TEXT"}.get(metavar[:5], metavar)
            options["metavar"] = words.get(metavar, several)
        if options.get("help"):
            options["help"] = _in_words(options["help"])
        for title in dict.fromkeys(self._titles.values()):
            if title and title not in self._groups:
                self._groups[title] = parser.add_argument_group(title)
        fields = [name.lstrip("-").replace("-", "_") for name in names]
        title = next((self._titles[field] for field in fields if field in self._titles), "")
        added: Action = self._groups.get(title, parser).add_argument(*names, **options)
        return added


MANY_FLAGS = 30
"""With more flags in a class, those that begin with the same word are grouped."""


def _titled(names: Sequence[str], explanation: str) -> dict[str, str]:
    title = re.split(r"[.:;]\s", explanation + " ")[0].rstrip(".").lower()
    words = [name.partition("_")[0] for name in names]
    if len(names) < MANY_FLAGS:
        return dict.fromkeys(names, title)
    return {
        name: f"{title}, {word}" if words.count(word) > 2 and word not in title else title
        for name, word in zip(names, words, strict=True)
    }


def _in_words(text: str) -> str:
    """A help text whose default is written as one would type it."""
    explanation, match, default = text.rpartition("(default: ")
    if not match:
        return text
    default = re.sub(r"<[\w.]+: '([^']*)'>", r"\1", default.removesuffix(")"))
    if default in ("None", "False", "()", "{}", "[]", ""):
        return explanation.rstrip()
    default = re.sub(r"[()'\[\] ]|\.0$", "", default).rstrip(",")
    return f"{explanation}(default: {'yes' if default == 'True' else default})"


def _read_config(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise OperatorError(f"--config {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise OperatorError(f"--config {path} is not YAML: {error}".replace("\n", " ")) from error
    if not isinstance(values, dict):
        raise OperatorError(f"--config {path}: expected keys and values, got {values!r}")
    return {str(key).replace("-", "_"): value for key, value in values.items()}


def _merged(layers: Sequence[_Layer]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        merged = _updated(merged, layer.values)
    return merged


def _updated(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    nested = {
        key: _updated(old[key], value)
        for key, value in new.items()
        if isinstance(value, Mapping) and isinstance(old.get(key), Mapping)
    }
    return {**old, **new, **nested}


def _explain_syntax(error: SettingsError) -> str:
    message = str(error).removeprefix("error parsing CLI: ").removeprefix("argument ")
    field = re.match(r'error parsing value for field "(\w+)" from source "EnvSettings', message)
    return f"AGENTLM_{field[1].upper()}: expected JSON" if field else message


def _explain(detail: ErrorDetails, layers: Sequence[_Layer], settings: type[BaseSettings]) -> str:
    message = re.sub(r"^(Value|Assertion) error, ", "", detail["msg"])
    if not detail["loc"]:
        return message
    field = str(detail["loc"][0])
    origin = next((layer for layer in layers if field in layer.values), layers[0])
    name = field.upper() if _is_positional(settings, field) else origin.name(field)
    if detail["type"] == "extra_forbidden":
        return unknown_argument(name, [origin.name(known) for known in settings.model_fields])
    if detail["type"] == "missing":
        return f"{name} is required"
    within = "".join(f".{part}" for part in detail["loc"][1:])
    return f"{name}{within}: {message}, got {detail['input']!r}"


def _flags(settings: type[BaseSettings]) -> list[str]:
    fields = [name for name in settings.model_fields if not _is_positional(settings, name)]
    shortcuts = settings.model_config.get("cli_shortcuts") or {}
    names = [*fields, *(str(name) for name in shortcuts.values())]
    return ["--help", "--config", *(f"--{name.replace('_', '-')}" for name in names)]


def _is_positional(settings: type[BaseSettings], field: str) -> bool:
    info = settings.model_fields.get(field)
    return info is not None and _POSITIONAL in info.metadata


_POSITIONAL = get_args(CliPositionalArg[str])[1]
