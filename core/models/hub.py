"""Models from the hub, by huggingface_hub with its cache (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE)."""

from __future__ import annotations

import re
from pathlib import Path

from agentlm.errors import OperatorError

TEXT = ["*.json", "*.jinja", "*.model", "*.txt"]


def download(model: str, revision: str | None) -> Path:
    """The snapshot of a model in the local cache, downloaded first if necessary, with progress.

    Takes safetensors if the hub has them, else PyTorch's own files. A commit whose files are cached
    needs no network. Raises OperatorError, in one sentence, if the model can't be had.
    """
    directory = _snapshot(model, revision, [*TEXT, "*.safetensors"])
    if not any(directory.glob("*.safetensors")):
        directory = _snapshot(model, revision, [*TEXT, "pytorch_model*.bin"])
    return directory


def upload(directory: Path, model: str) -> str:
    """Upload a folder to the hub, private at first. Returns its address.

    Raises OperatorError, in one sentence, if that fails.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api = HfApi()
        address = str(api.create_repo(model, private=True, exist_ok=True))
        api.upload_folder(folder_path=str(directory), repo_id=model)
    except (OSError, ValueError, HfHubHTTPError, httpx2.HTTPError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise OperatorError(
            f"{model} can't be put on the hub ({reason}); the folder {directory} is whole"
        ) from error
    return address


def _snapshot(model: str, revision: str | None, patterns: list[str]) -> Path:
    import httpx2
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError, HfHubHTTPError, httpx2.HTTPError) as error:
        raise OperatorError(_explain(model, revision, error)) from error


def _explain(model: str, revision: str | None, error: Exception) -> str:
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return f"{model} is gated: accept its terms on the hub and set HF_TOKEN"
        case errors.RepositoryNotFoundError():
            return f"the hub has no model {model} (or it is private: set HF_TOKEN)"
        case errors.RevisionNotFoundError():
            return f"{model} has no revision {revision or 'main'} on the hub"
        case errors.HFValidationError():
            return f"{model!r} is not a hub id; they look like org/name"
    match error.__cause__:
        case errors.OfflineModeIsEnabled():
            return (
                f"{model} is not in the hub's local cache, and HF_HUB_OFFLINE forbids fetching it"
            )
    reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error.__cause__ or error).splitlines()[0])
    return (
        f"the model hub can't be reached to get {model} ({reason}), and no complete copy of it is "
        "in the local cache"
    )
