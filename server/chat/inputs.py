"""Files that a request gives to bash: `{"type": "bash", "file_ids": ["file-…"]}`.

They are put into the conversation's work directory, under their own names, before the run begins.
An existing file of the same name stays, so a client can send the same tools with each request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from agentlm.errors import NotFoundError, RequestError
from agentlm.jobs.kept_files import KeptFile, KeptFiles
from agentlm.server.openai.tools import WireTool
from agentlm.tools.shell.files import WorkspaceFiles

_PART_BYTES = 1024 * 1024


def inputs_of(
    tools: Sequence[WireTool] | None, files: KeptFiles, owner: str | None
) -> dict[str, Path]:
    """Contents by name. Raises RequestError for a file that can't be used."""
    inputs: dict[str, Path] = {}
    for index, tool in enumerate(tools or ()):
        param = f"{tool.place(index)}.file_ids"
        if tool.file_ids and tool.type != "bash":
            raise RequestError(f"bash takes files, {tool.written_type} does not", param=param)
        for file_id in dict.fromkeys(tool.file_ids or ()):
            file = _file(file_id, files, owner, param)
            if file.filename in inputs:
                raise RequestError(f"two files are called {file.filename!r}", param=param)
            inputs[file.filename] = files.content(file)
    return inputs


def _file(file_id: str, files: KeptFiles, owner: str | None, param: str) -> KeptFile:
    try:
        return files.get(file_id, owner)
    except NotFoundError as error:
        error.param = param
        raise


def hand_in(inputs: Mapping[str, Path], workspace: WorkspaceFiles) -> None:
    """Copy the files that don't exist yet. Raises RequestError if there is no room."""
    present = {entry.path for entry in workspace.list()}
    for name in inputs.keys() - present:
        receiving = closing(workspace.receive(name))
        with inputs[name].open("rb") as source, receiving as incoming:
            while part := source.read(_PART_BYTES):
                incoming.write(part)
            incoming.keep()
