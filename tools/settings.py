"""What an operator can say about tools. Each docstring under a field is that flag's help."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from agentlm.settings import Settings
from agentlm.tools.graph.place import graph_dir

MEBIBYTE = 1024 * 1024


class ToolSettings(Settings):
    """The server's own tools: their limits and sources."""

    tools: tuple[str, ...] | None = None
    """Families of tools to offer; then each has to work. By default, all that work here."""
    tool_timeout_s: float = Field(default=30.0, gt=0)
    """Seconds one tool call may take; then it is stopped with all of its processes."""
    tool_output_chars: int = Field(default=16_000, ge=200)
    """Characters of one observation; a longer one loses its middle, and a note says so."""

    run_tool_s: float = Field(default=600.0, gt=0)
    """Seconds that the tools of one agent run may take together."""
    tool_policy: Path | None = None
    """YAML file that allows, denies or asks for approval, by tool and by key."""
    approval_wait_s: float = Field(default=600.0, gt=0)
    """Seconds that a call waits for approval; then it is denied."""
    tool_files: tuple[Path, ...] = ()
    """Python files of own tools: each public function with a docstring is one."""
    mcp_config: Path | None = None
    """JSON file with `mcpServers`, whose tools are offered as `server__tool`."""

    mcp_hosts: tuple[str, ...] = ()
    """Hosts (and what is below them) whose MCP servers requests may bring; `*` means any that the
    web tools could reach. By default none."""

    bash_sandbox: Literal["bubblewrap", "unsafe"] = "bubblewrap"
    """`unsafe` runs commands without a sandbox, as the server's own user: never for strangers."""
    bash_uid: int = Field(default=65533, gt=0)
    """If the server runs as root: the user id that commands run under instead."""
    bash_shells: int = Field(default=64, ge=1)
    """Shells kept alive at once; the one unused for longest is ended, its files stay."""
    bash_spares: int = Field(default=2, ge=0)
    """Shells started ahead of need: a conversation's first command then does not wait for one."""
    bash_idle_s: float = Field(default=600.0, gt=0)
    """Seconds without a command after which a shell and its background jobs are ended."""
    bash_memory_mb: int = Field(default=512, ge=32)
    """Memory of one trajectory's processes together, in MiB."""
    bash_processes: int = Field(default=64, ge=4)
    """Processes and threads that one trajectory may have at once."""
    bash_cpu_s: int = Field(default=60, ge=1)
    """Processor seconds that the processes of one command may use together."""
    bash_file_mb: int = Field(default=16, ge=1)
    """Size of one file, in MiB."""
    bash_disk_mb: int = Field(default=256, ge=1)
    """Size of one trajectory's work directory, in MiB; what was written beyond it is removed."""
    bash_files: int = Field(default=20_000, ge=1)
    """Files and directories in one trajectory's work directory."""
    bash_keep_h: float = Field(default=168.0, gt=0)
    """Hours that a trajectory's work directory is kept after its last command or upload."""

    bash_writable: tuple[str, ...] = ()
    """Further directories that commands may write: empty at first, kept and bounded with the work
    directory. `/root` is the work directory itself."""

    sql_url: str | None = None
    """SQLAlchemy URL of the database that the sql tools read; the default is a sample database."""
    sql_rows: int = Field(default=100, ge=1)
    """Rows that one statement may return; more are cut, and a note says so."""
    sql_trust_role: bool = False
    """State that the database role can only read, and that on Postgres the functions that it may
    call harm nobody: needed where AgentLM can't verify that."""

    web_allow: tuple[str, ...] = ()
    """If given, the only hosts (and what is below them) that pages are fetched from."""
    web_deny: tuple[str, ...] = ()
    """Hosts (and what is below them) that no page is fetched from."""
    web_ports: tuple[int, ...] = (80, 443, 8000, 8080, 8443)
    """Ports that pages are fetched from."""
    web_private: tuple[str, ...] = ()
    """Private networks that may be reached nevertheless, such as `10.1.0.0/16`; consider who may
    use this server."""
    web_robots: bool = True
    """Honour robots.txt."""
    web_page_mb: int = Field(default=4, ge=1)
    """How much of one page is read, unpacked, in MiB."""
    web_page_chars: int = Field(default=6_000, ge=200)
    """Characters of a page's text in one observation; the model can ask for the next."""
    web_cache_s: float = Field(default=900.0, ge=0)
    """Seconds that a page's text is kept for further requests."""
    web_search: str | None = None
    """Where `web_search` looks: URL of a SearXNG server, or path of an offline index."""

    graph: Path | None = None
    """Directory of the knowledge graph (`python -m agentlm.tools.graph.build`); the default is
    `graph` in the data directory, or else in the usual data directory, or else in the user's cache,
    where `make install` builds one of WordNet and GeoNames."""
    graph_names: int = Field(default=5, ge=0)
    """How many entities of a variable its observation names; 0 shows types only, as AgentBench."""
    graph_rows: int = Field(default=50, ge=1)
    """Rows that a SPARQL query may return; more are cut, and a note says so."""

    def graph_dir(self) -> Path:
        """Where the knowledge graph is."""
        return self.graph or graph_dir(self.data_dir)
