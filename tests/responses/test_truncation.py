"""What is said before the last may be left out, where a conversation does not fit."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from support.serving import Serve

LONG = "7" * 180
"""As many tokens."""
AUTO: Any = {"model": "tiny", "truncation": "auto"}


def turns(count: int) -> list[Any]:
    """A conversation whose messages can be told apart."""
    roles = ("user", "assistant")
    items = [{"role": roles[at % 2], "content": f"[{at}] {LONG}"} for at in range(count)]
    return [*items, {"role": "user", "content": f"[{count}] last"}]


@pytest.mark.parametrize("by", ["items", "id"])
async def test_the_oldest_is_left_out_in_a_new_trajectory_that_names_its_parent(
    serve: Serve, by: str
) -> None:
    async with serve("One.", "Two.", "Three.", context=800) as running:
        first = await running.client.responses.create(
            input=turns(2), instructions="Be brief.", **AUTO
        )
        more: Any = [{"role": "user", "content": "more " + "7" * 500}]
        if by == "id":
            ask: Any = {"previous_response_id": first.id, "input": more}
        else:
            ask = {"input": [*turns(2), *first.output, *more]}
        second = await running.client.responses.create(instructions="Be brief.", **ask, **AUTO)
        asked: Any = {"previous_response_id": second.id, "instructions": "Be brief."}
        await running.client.responses.create(input="Hi", **asked, **AUTO)
        before, after = running.trajectories()
        prompt = running.served.renderer.decode_verbatim(running.engine.requests[1].prompt_ids)

    assert second.truncation == "auto"
    assert ("Be brief." in prompt, "more" in prompt) == (True, True)
    assert ("[0]" in prompt, "[2] last" in prompt) == (False, True)
    assert (after.parent_id, after.parent_step) == (before.id, 0)
    assert running.engine.requests[2].prompt_ids[: len(after.steps[0].token_ids or ())] == (
        after.steps[0].token_ids
    )
    assert len(after.interactions) == 2
    assert after.interactions[0].messages[1].content.startswith("[0]")


async def test_what_fits_is_left_whole_and_what_can_not_fit_is_refused(serve: Serve) -> None:
    async with serve("One.", context=800) as running:
        await running.client.responses.create(input=turns(2), **AUTO)
        prompt = running.served.renderer.decode_verbatim(running.engine.requests[0].prompt_ids)
        assert "[0]" in prompt
        for fields in ({"truncation": "auto", "input": LONG * 50}, {"input": turns(9)}):
            with pytest.raises(openai.BadRequestError) as caught:
                await running.client.responses.create(model="tiny", **fields)
            assert caught.value.code == "context_length_exceeded"
