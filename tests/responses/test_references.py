"""Items that a client names by their ids, as Vercel's AI SDK does, in place of sending them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from support.serving import Running, Serve

ASKED = {"role": "user", "content": "Look it up"}
LOOKUP = {"type": "function", "name": "lookup", "parameters": {}, "strict": False}
CALL = 'Thought: I ask.\nAction: lookup\nAction Input: {"key": "a"}'
FINAL = "Thought: I know.\nFinal Answer: Done."


async def post(running: Running, items: list[Any]) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        body = {"model": "tiny", "tools": [LOOKUP], "input": items}
        return await client.post(f"{running.url}/v1/responses", json=body)


async def test_named_items_are_those_of_the_log(serve: Serve) -> None:
    async with serve(CALL, FINAL) as running:
        asked = (await post(running, [ASKED])).json()
        named = [{"type": "item_reference", "id": item["id"]} for item in asked["output"]]
        assert [item["type"] for item in asked["output"]] == ["reasoning", "function_call"]
        call_id = asked["output"][-1]["call_id"]
        result = {"type": "function_call_output", "call_id": call_id, "output": "42"}

        got = await post(running, [ASKED, *named, result])

        assert got.json()["output"][-1]["content"][0]["text"] == "Done.", got.text
        assert len(running.trajectories()) == 1


@pytest.mark.parametrize("identity", ["msg_1", f"fc_{'0' * 32}_0", "", None, 7])
@pytest.mark.parametrize("kind", [{"type": "item_reference"}, {}])
async def test_an_item_that_is_not_there(serve: Serve, kind: dict[str, str], identity: Any) -> None:
    async with serve(FINAL) as running:
        got = await post(running, [ASKED, {**kind, "id": identity}])
        error = got.json()["error"]
        assert (got.status_code, error["param"]) == (404, "input[1].id")
        assert running.engine.requests == []
