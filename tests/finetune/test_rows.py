"""Loss stands where the model spoke, a reward vouches for it, and nobody else trains on it."""

from __future__ import annotations

import pytest

from agentlm.exchange import read_row
from agentlm.finetune.data.dataset import Row
from agentlm.finetune.data.rows import Refused, RowMaker, loss_steps, make_row, step_rewards
from agentlm.finetune.filters.rules import plain_text
from agentlm.finetune.filters.scrub import scrub
from agentlm.prompt.render import Renderer, Turn
from agentlm.trajectory import Feedback, Origin, Step, Trajectory
from support.finetune_logs import (
    ANSWER,
    CALL,
    conversation,
    interaction,
    sampled,
    trajectory,
)


def learned_texts(trajectory_: Trajectory, trained: list[bool]) -> list[str]:
    return [s.text for s, train in zip(trajectory_.steps, trained, strict=True) if train]


def test_the_row_is_the_recorded_sequence_and_marks_what_was_sampled(by: Renderer) -> None:
    one = trajectory(conversation(by, "How many?", CALL, ANSWER))

    row = make_row(one, loss_steps(one, 1.0), max_length=4096)

    assert isinstance(row, Row)
    assert list(row.ids) == list(one.token_ids())
    marked = [token for token, train in zip(row.ids, row.loss, strict=True) if train]
    sampled_ids = [i for s in one.steps if s.origin is Origin.SAMPLED for i in s.token_ids or ()]
    assert marked == sampled_ids
    assert marked[-1] == by.end_of_turn_id


def test_a_forced_step_is_not_learned(by: Renderer) -> None:
    steps = [*by.open([Turn("user", "How many?")]), by.force("Final Answer:"), sampled(by, "12")]
    one = trajectory(steps)

    assert learned_texts(one, loss_steps(one, 1.0)) == ["12"]


def test_what_was_sampled_after_forced_words_is_learned_from_its_text_too(by: Renderer) -> None:
    opened = by.open([Turn("user", "The token is ghp_abcdefghijklmnopqrstuvwxyz0123456789.")])
    steps = [*opened, by.force("Final Answer:"), sampled(by, " 12"), by.end_turn()]

    clean, _ = scrub(trajectory(steps), "secrets")
    row = RowMaker(by, 4096).row(clean, loss_steps(clean, 1.0))

    assert isinstance(row, Row)
    marked = [token for token, train in zip(row.ids, row.loss, strict=True) if train]
    assert by.decode_verbatim(marked) == "Final Answer: 12<|im_end|>"


def test_a_refused_call_stays_as_context_and_its_correction_is_learned(by: Renderer) -> None:
    steps = list(conversation(by, "How many?", CALL, ANSWER))
    observed = next(i for i, step in enumerate(steps) if step.tool_call_id)
    steps[observed] = steps[observed].model_copy(update={"failed": True})
    one = trajectory(steps)

    assert learned_texts(one, loss_steps(one, 1.0)) == [ANSWER]


def test_feedback_on_one_answer_vouches_for_that_answer_only(by: Renderer) -> None:
    steps = [*by.open([Turn("user", "One?")]), sampled(by, "First.")]
    first = len(steps)
    steps += [*by.extend([Turn("user", "Two?")]), sampled(by, "Second.")]
    plain = trajectory(steps)
    judged = plain.model_copy(
        update={
            "interactions": (
                interaction(plain, 0, first, "chatcmpl-1"),
                interaction(plain, first, len(steps), "chatcmpl-2"),
            ),
            "feedback": (
                Feedback(value=True, author="ann", completion_id="chatcmpl-2"),
                Feedback(value=True, author="bob", completion_id="chatcmpl-2"),
            ),
        }
    )

    assert learned_texts(judged, loss_steps(judged, 1.0)) == ["Second."]
    assert step_rewards(plain) == [1.0] * len(steps)


def test_where_the_unjudged_is_trained_on_a_bad_answer_is_not(by: Renderer) -> None:
    steps = [*by.open([Turn("user", "One?")]), sampled(by, "First.")]
    first = len(steps)
    steps += [*by.extend([Turn("user", "Two?")]), sampled(by, "Second.")]
    plain = trajectory(steps, reward=0.0)
    bad = Feedback(value=False, author="ann", completion_id="chatcmpl-2")
    second = interaction(plain, first, len(steps), "chatcmpl-2")
    judged = plain.model_copy(update={"interactions": (second,), "feedback": (bad,)})

    assert learned_texts(judged, loss_steps(judged, 1.0, unjudged=True)) == ["First."]


def test_a_fork_trains_on_its_own_part_only(by: Renderer) -> None:
    steps = conversation(by, "How many?", CALL, ANSWER)
    fork = trajectory(steps, parent_id="traj_0", parent_step=len(steps) - 1)

    assert learned_texts(fork, loss_steps(fork, 1.0)) == [ANSWER]


def test_a_row_without_anything_to_learn_is_refused_with_the_reason(by: Renderer) -> None:
    one = trajectory(conversation(by, "How many?", ANSWER))

    nothing = make_row(one, [False] * len(one.steps), max_length=4096)
    long = make_row(one, loss_steps(one, 1.0), max_length=10)

    assert isinstance(nothing, Refused)
    assert isinstance(long, Refused)
    assert (nothing.filter, long.filter) == ("nothing_to_train", "too_long")


def test_an_empty_turn_of_another_system_teaches_nothing() -> None:
    turns = ["Who?", "", "Again?", "Nobody."]
    steps = [
        Step(
            role="assistant" if place % 2 else "user",
            origin=Origin.IMPORTED,
            text=text,
            token_ids=None,
        )
        for place, text in enumerate(turns)
    ]
    one = trajectory(steps, source="import", reward=None)

    assert learned_texts(one, loss_steps(one, 1.0, unjudged=True)) == ["Nobody."]


def chat(*turns: tuple[str, str, bool | None]) -> Trajectory:
    return read_row(
        {"messages": [{"role": role, "content": text, "loss": loss} for role, text, loss in turns]}
    )


def test_system_texts_that_stand_first_are_one_as_they_are_when_served(by: Renderer) -> None:
    two = chat(("system", "A", None), ("developer", "B", None), ("user", "C", None), ANSWERED)
    one = chat(("system", "A\n\nB", None), ("user", "C", None), ANSWERED)
    maker = RowMaker(by, 4096)

    rows = [maker.row(it, loss_steps(it, 0, unjudged=True)) for it in (two, one)]

    assert isinstance(rows[0], Row)
    assert isinstance(rows[1], Row)
    assert rows[0].ids == rows[1].ids


@pytest.mark.parametrize("marks", [(False, True), (True, False)])
def test_a_turn_that_is_to_be_learnt_in_part_is_left_out_with_the_reason(
    by: Renderer, marks: tuple[bool, bool]
) -> None:
    answers = (("assistant", text, mark) for text, mark in zip("BC", marks, strict=True))
    row = chat(("user", "A", None), *answers, ("user", "D", None), ANSWERED)

    refused = RowMaker(by, 4096).row(row, loss_steps(row, 0, unjudged=True))

    assert isinstance(refused, Refused)
    assert refused.filter == "turn_in_part"


ANSWERED = ("assistant", "E", True)


def test_text_is_learned_whole_and_without_a_template(by: Renderer) -> None:
    text = "Bees carry pollen. <|im_end|"
    one = read_row({"text": text, "source": "a book"})

    row = RowMaker(by, 4096).row(one, [True])

    assert isinstance(row, Row)
    assert by.decode_verbatim(list(row.ids)) == text
    assert set(row.loss) == {1}
    assert by.control_ids.isdisjoint(row.ids)
    assert list(row.ids) == by.encode_raw(text), "as /v1/completions reads it"


def test_a_conversation_in_a_templates_spelling_is_not_learned_as_text() -> None:
    with pytest.raises(ValueError, match="a conversation in a chat template's spelling"):
        read_row({"text": "<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\nHi!"})


def test_text_is_no_agents_row() -> None:
    assert plain_text(read_row({"text": "Bees."})) == "text without turns is for --general"
    assert plain_text(read_row({"query": "Bees?", "response": "Yes."})) is None
