"""The settings of `agentlm-serve`. The docstring under a field is the help of its flag."""

from __future__ import annotations

from ipaddress import ip_address

from pydantic import Field

from agentlm.tools.settings import ToolSettings


class ServeSettings(ToolSettings):
    """Serve an agent model over the OpenAI API.

    Flags that are not listed here are passed to vLLM unchanged (`--tensor-parallel-size 2`).
    """

    model: str = "smollm2-135m"
    """Name of a model card, hub id (`org/name`) or local directory."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port; 0 picks a free one."""
    served_model_name: str | None = None
    """Name that clients use for it; by default the card's own."""
    host: str = "127.0.0.1"
    """Address to listen on. Any other than this machine's own needs --api-key."""
    api_key: str | None = None
    """Key that clients must send as a bearer token."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Context in tokens, if less than the model allows."""
    seed: int = 0
    """Seed of the engine."""
    max_turns: int = Field(default=10, ge=1)
    """Turns of one agent run. The last one has to be an answer."""
    max_turn_tokens: int = Field(default=2048, ge=64)
    """Tokens that one turn of an agent run may sample. Strings in calls may have at most 3/4 as
    many characters."""
    observation_tokens: int = Field(default=1024, ge=32)
    """Tokens of a tool's result that the model reads at most."""
    upstream_timeout_s: float = Field(default=300.0, gt=0)
    """Seconds of silence after which an upstream's answer is abandoned."""
    drain_s: int = Field(default=30, ge=0)
    """Seconds for running requests to finish when the server is stopped."""
    keep_alive_s: float = Field(default=15.0, gt=0)
    """Seconds of silence after which a stream gets a comment, so that no proxy closes it."""
    request_wait_s: float = Field(default=60.0, gt=0)
    """Seconds within which the head of a request, each next piece of its body, and each reading of
    the answer have to come."""
    max_request_mb: int = Field(default=16, ge=1)
    """Size of one request, in MiB."""
    max_file_mb: int = Field(default=512, ge=1)
    """Size of one uploaded file, in MiB."""

    cors_origins: tuple[str, ...] = ()
    """Origins whose web pages may call this server (`https://app.example.org`); `*` for any, if the
    server has keys."""

    @property
    def max_request_bytes(self) -> int:
        return self.max_request_mb * 1024 * 1024

    @property
    def max_file_bytes(self) -> int:
        return self.max_file_mb * 1024 * 1024

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
