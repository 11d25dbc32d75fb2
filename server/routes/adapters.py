"""`/v1/load_lora_adapter` and `/v1/unload_lora_adapter`, as in vLLM.

They serve adapters that are not in the registry. What `agentlm-finetune` made is published by `POST
/v1/models`.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from agentlm.errors import RequestError
from agentlm.server.http.body import read_model
from agentlm.server.http.openapi import reads
from agentlm.server.models.served import AGENT_SUFFIX
from agentlm.server.state import Admin, State

router = APIRouter(prefix="/v1")


class LoadAdapterRequest(BaseModel):
    """A name and a directory in PEFT's format on the server's machine."""

    model_config = ConfigDict(extra="ignore")

    lora_name: str = Field(min_length=1, max_length=128)
    lora_path: str = Field(min_length=1, max_length=4096)


class UnloadAdapterRequest(BaseModel):
    """A served adapter's name."""

    model_config = ConfigDict(extra="ignore")

    lora_name: str


@router.post(
    "/load_lora_adapter", response_class=PlainTextResponse, openapi_extra=reads(LoadAdapterRequest)
)
async def load_adapter(request: Request, state: State, _admin: Admin) -> PlainTextResponse:
    """Serve an adapter under a new name."""
    body = await read_model(LoadAdapterRequest, request, 64 * 1024)
    if body.lora_name.endswith(AGENT_SUFFIX):
        raise RequestError(
            f"{AGENT_SUFFIX!r} ends the name of a model with tools", param="lora_name"
        )
    await state.publisher.add_adapter(body.lora_name, body.lora_path)
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")


@router.post(
    "/unload_lora_adapter",
    response_class=PlainTextResponse,
    openapi_extra=reads(UnloadAdapterRequest),
)
async def unload_adapter(request: Request, state: State, _admin: Admin) -> PlainTextResponse:
    """Stop serving an adapter."""
    body = await read_model(UnloadAdapterRequest, request, 64 * 1024)
    await state.publisher.remove(body.lora_name)
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")
