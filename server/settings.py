"""What `agentlm-serve` can be told. Each docstring under a field is that flag's help."""

from __future__ import annotations

from ipaddress import ip_address

from pydantic import Field

from agentlm.tools.settings import ToolSettings


class ServeSettings(ToolSettings):
    """Serve an agent model over the OpenAI API.

    Flags that are not listed here go to vLLM as they are (`--tensor-parallel-size 2`).
    """

    model: str = "smollm2-135m"
    """Name of a model card, hub id (`org/name`) or local directory."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port; 0 picks a free one."""
    served_model_name: str | None = None
    """Name that clients use for it; the card's own if not given."""
    host: str = "127.0.0.1"
    """Address to listen on. Any other than this machine's own needs --api-key."""
    api_key: str | None = None
    """Key that clients must send as a bearer token."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Context in tokens, if less than the model allows."""
    seed: int = 0
    """Seed of the engine."""
    max_turns: int = Field(default=10, ge=1)
    """Turns of one agent run; the last one is made an answer."""
    max_turn_tokens: int = Field(default=2048, ge=64)
    """Tokens that one turn of an agent run may sample; strings in calls have 3/4 as many
    characters at most."""
    observation_tokens: int = Field(default=1024, ge=32)
    """Tokens of one tool's result that the model is shown."""
    upstream_timeout_s: float = Field(default=300.0, gt=0)
    """Seconds of silence after which an upstream model's answer is given up."""
    drain_s: int = Field(default=30, ge=0)
    """Seconds that running requests get to finish when the server is told to stop."""
    keep_alive_s: float = Field(default=15.0, gt=0)
    """Seconds of silence after which a stream gets a comment, so that no proxy closes it."""
    request_wait_s: float = Field(default=60.0, gt=0)
    """Seconds in which a request's head has to come, each piece of its body after the last, and
    something of the answer has to be taken."""
    max_request_mb: int = Field(default=16, ge=1)
    """Size of one request, in MiB."""
    max_file_mb: int = Field(default=512, ge=1)
    """Size of one uploaded file, in MiB."""

    cors_origins: tuple[str, ...] = ()
    """Origins whose web pages may call this server (`https://app.example.org`); `*` for any, on a
    server with keys."""

    @property
    def max_request_bytes(self) -> int:
        """`max_request_mb` in bytes."""
        return self.max_request_mb * 1024 * 1024

    @property
    def max_file_bytes(self) -> int:
        """`max_file_mb` in bytes."""
        return self.max_file_mb * 1024 * 1024

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
