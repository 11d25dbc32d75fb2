"""Rows as public files have them: each comes to what its author meant, or to one clear sentence."""

from __future__ import annotations

import json
from pathlib import Path
from re import findall, split
from typing import Any

import pytest

from agentlm.exchange import READERS, format_of, read_row
from agentlm.prompt.observation import observe
from agentlm.prompt.preamble import describe
from agentlm.trajectory import Trajectory

PAGE = (Path(__file__).parents[2] / "docs" / "data-formats.md").read_text()
SECTIONS = [part for part in split(r"\n## `", PAGE) if "```json" in part]
TOOL = {"type": "function", "function": {"name": "bash", "description": "Run it."}}


def examples() -> list[tuple[str, dict[str, Any]]]:
    """The rows of the page, each with the format that it stands under."""
    return [
        (section.split("`", 1)[0], json.loads(line))
        for section in SECTIONS
        for block in findall(r"(?s)```json\n(.*?)```\n", section)
        for line in block.splitlines()
    ]


def spoken(trajectory: Trajectory) -> list[tuple[str, str, bool | None]]:
    marked = zip(trajectory.steps, trajectory.metadata["loss"], strict=True)
    return [(step.role, step.text, mark) for step, mark in marked]


def complaint(row: object) -> str:
    try:
        read_row(row)
    except ValueError as error:
        return str(error)
    return ""


def call(name: str = "bash", command: str = "ls", **fields: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": {"command": command}}, **fields}


def chat(*turns: dict[str, Any], **row: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Files?"}, *turns], **row}


def answer(**fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "Two.", **fields}


@pytest.mark.parametrize(("name", "row"), examples())
def test_every_row_on_the_page_is_read_as_what_it_stands_under(
    name: str, row: dict[str, Any]
) -> None:
    known = "sharegpt" if name == "agentinstruct" else name  # told apart by their marks alone

    assert format_of(row) == known
    texts = [(step.role, step.text) for step in read_row(row).steps]
    assert texts == [(step.role, step.text) for step in READERS[name](row).steps]
    assert "assistant" in dict(texts)


def test_every_format_that_is_read_stands_on_the_page() -> None:
    assert {name for name, _ in examples()} == set(READERS)


# -- marks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "learnt"),
    [
        ({"loss": False}, False),
        ({"train": False}, False),
        ({"weight": 0}, False),
        ({"weight": 0.0}, False),
        ({"loss": None, "train": None, "weight": None}, True),
        ({"loss": True, "weight": 1}, True),
        ({}, True),
    ],
)
@pytest.mark.parametrize("key", ["messages", "conversations"])
def test_a_mark_of_a_turn_is_honoured_in_every_format(
    key: str, mark: dict[str, Any], learnt: bool
) -> None:
    row = {key: [{"role": "user", "content": "?"}, answer(**mark)]}

    assert read_row(row).metadata["loss"] == [None, learnt]


FORM = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
REFUSED = {
    "messages.1: loss and weight disagree": chat(answer(loss=True, weight=0)),
    "messages.0.loss: only the assistant's turns are learnt, got user": chat(
        {"role": "assistant", "content": "a"}
    )
    | {"messages": [{"role": "user", "content": "?", "loss": True}]},
    "messages.1.weight: .*, got 0.5": chat(answer(weight=0.5)),
    "label: .* got False; .*--ignore-keys label": chat(answer(), label=False),
    "kto_tag: .* got True": chat(answer(), kto_tag=True),
    "rejected: .* got": chat(answer(), chosen=[], rejected=[answer()]),
    "isCorrect: .* got 'no'": chat(answer(), isCorrect="no"),
    "loss: .* got False": chat(answer(), loss=False),
    "system_prompt: .* got 'Be rude.'": chat(answer(), system_prompt="Be rude."),
    "images: .* got": chat(answer(), images=["a.png"]),
    "assistantMasks: .* got .0, 1.": chat(answer(), assistantMasks=[0, 1]),
    "status: .* got 'failed'": chat(answer(), status="failed"),
    "messages.1.content: of content only text can be learnt, got .{'type': 'image_url'": chat(
        answer(content=[{"type": "image_url", "image_url": {"url": "a"}}])
    ),
    "messages.1.loss_mask: .* got 0": chat(answer(loss_mask=0)),
    "messages.1.rating: .* got 1": chat(answer(rating=1)),
    "messages.0.role: .* got 'narrator'": {"messages": [{"role": "narrator", "content": "a"}]},
    "messages.1: the assistant says nothing and calls nothing": chat(answer(content=" ")),
    "of no known format, got the keys 'prompt, chosen, rejected'": {
        "prompt": "a",
        "chosen": "b",
        "rejected": "c",
    },
    "a row is a JSON object, got": [1],
    "system: messages.0 has another one": {
        "system": "a",
        "messages": [{"role": "system", "content": "b"}, answer()],
    },
    "tools: not JSON": chat(answer(), tools="[{"),
    "messages.1.tool_calls: bash has no result": chat(
        answer(content=None, tool_calls=[call(), call()])
    ),
    "messages.1.tool_calls: sql is not among the tools": chat(
        answer(tool_calls=[call("sql")]), tools=[TOOL]
    ),
    "messages.1.tool_calls: Finish is not among the tools": chat(
        answer(content="Thought: I know.\nAction: Finish\nAction Input: {}"), tools=[TOOL]
    ),
    "messages.1.tool_calls: the arguments of bash are not an object, got 'ls'": chat(
        answer(content="Action: bash\nAction Input: ls"), tools=[TOOL]
    ),
    "messages.2: it follows a turn of the assistant that is not over": chat(
        answer(content=None, tool_calls=[call()]), answer()
    ),
    "messages.0: only the assistant calls tools": {
        "messages": [{"role": "user", "content": "?", "tool_calls": [call()]}]
    },
    "messages.1: it has no content, got the keys role, utterance": chat(
        {"role": "assistant", "utterance": "Two.", "weight": 0}
    ),
    "messages.1.content and value: both are there, and differ": chat(answer(value="Three.")),
    "tools and functions: both are there, and differ": chat(answer(), tools=[TOOL], functions=[1]),
    "messages.1: a call in a form that is not read, got '<functioncall> ": chat(
        answer(content='<functioncall> {"name": "bash"}'), tools=[TOOL]
    ),
    "messages.1: a call is read from JSON, got '.{broken.'": chat(
        answer(content="<tool_call>{broken</tool_call>"), tools=[TOOL]
    ),
    "messages.1: what it thinks before the call would be read as a turn of its own": chat(
        answer(content="Well.\nFinal Answer: no. Or:", tool_calls=[call()])
    ),
    "messages.1: after its call it goes on with an observation of its own, got 'Obs": chat(
        answer(content=f"{FORM}\nObservation: 2\nFinal Answer: Two."), tools=[TOOL]
    ),
    "messages.1: it neither calls nor answers in the form that it begins with": chat(
        answer(content="Thought: I should look."), tools=[TOOL]
    ),
    "messages.1.tool_calls: the arguments of bash are not an object, got ''": chat(
        answer(content="Thought: I look.\nAction: bash"), tools=[TOOL]
    ),
    "messages.1.tool_calls.0.function.cwd: .* got '/'": chat(
        answer(tool_calls=[{"function": {"name": "bash", "cwd": "/"}}])
    ),
    "tools.0.function.required: .* got .'command'.": chat(
        answer(), tools=[{"name": "bash", "required": ["command"]}]
    ),
    "tools.1: bash is there twice, and differs": chat(
        answer(), tools=[TOOL, {"name": "bash", "description": "Walk it."}]
    ),
    "messages.1.content and refusal: both are there": chat(answer(refusal="No.")),
    "solved: .* got False; .*--ignore-keys solved,toolbox_tools": chat(
        answer(), solved=False, toolbox_tools="bash"
    ),
    "system_message: .* got 'Be rude.'": chat(answer(), system_message="Be rude."),
    "messages.1.action: .* got 'ls'": chat(answer(action="ls")),
    "messages.1.prefix: .* got True": chat(answer(prefix=True)),
    "messages: not JSON: .* got '.{'": {"messages": "[{"},
    r"messages.1: what a chat template writes would be read as words, got '<\|im_end\|>'": chat(
        answer(content="Two.<|im_end|>")
    ),
    "prompt.0: what a chat template writes would be read as words": {
        "prompt": "<|im_start|>user\nFiles?<|im_end|>\n<|im_start|>assistant\n",
        "completion": "Two.",
    },
    "conversations.1: a call is read from JSON, got 'bash ls'": {
        "conversations": [
            {"from": "human", "value": "?"},
            {"from": "function_call", "value": "bash ls"},
        ]
    },
}


@pytest.mark.parametrize(("reason", "row"), REFUSED.items())
def test_what_can_not_be_meant_is_refused_with_the_value_that_was_found(
    reason: str, row: object
) -> None:
    with pytest.raises(ValueError, match=rf"^{reason}[^\n]*$"):
        read_row(row)


@pytest.mark.parametrize(
    "row",
    [
        chat(answer(), label=None, images=[], chosen=""),
        chat(answer(), source="web", language="en", prompt="Files?"),
        chat(answer(name="Ann", timestamp=3), metadata={"score": 1}),
        chat(answer(), system_fingerprint="a", prompt_id="b", num_turns=2, conversation_hash="c"),
        chat(answer(), parallel_tool_calls=False, completion_tokens=7, tool_choice="auto"),
        chat(answer(audio=None, annotations=None, refusal=None, function_call=None)),
    ],
)
def test_keys_that_change_nothing_are_taken(row: dict[str, Any]) -> None:
    assert [text for _, text, _ in spoken(read_row(row))] == ["Files?", "Two."]


# -- calls ---------------------------------------------------------------------------------------

PARALLEL = [
    ("user", "Files?", None),
    ("assistant", 'Thought: Both.\nAction: bash\nAction Input: {"command": "a"}', True),
    ("tool", observe("1"), None),
    ("assistant", 'Action: bash\nAction Input: {"command": "b"}', True),
    ("tool", observe("2"), None),
    ("assistant", "Two.", True),
]


@pytest.mark.parametrize(
    ("ids", "results"),
    [
        ([{"id": "x"}, {"id": "y"}], [("y", "2"), ("x", "1")]),
        ([{}, {}], [(None, "1"), (None, "2")]),
        ([{}, {}], [("p", "1"), ("q", "2")]),
        ([{"id": None}, {"id": "y"}], [("x", "1"), ("y", "2")]),
    ],
)
def test_parallel_calls_become_steps_each_with_its_own_result(
    ids: list[dict[str, Any]], results: list[tuple[str | None, str]]
) -> None:
    calls = [call(command=name, **own) for name, own in zip("ab", ids, strict=True)]
    row = chat(
        answer(content="Both.", tool_calls=calls),
        *({"role": "tool", "tool_call_id": one, "content": text} for one, text in results),
        answer(),
    )

    read = read_row(row)

    assert spoken(read) == PARALLEL
    called = [step.call.id for step in read.steps if step.call]
    assert len(set(called)) == 2
    if ids[0].get("id"):
        assert called == [step.tool_call_id for step in read.steps if step.role == "tool"]


def test_results_without_ids_are_told_apart_by_the_names_of_their_tools() -> None:
    row = chat(
        answer(content="Both.", tool_calls=[call("one"), call("two")]),
        {"role": "tool", "name": "two", "content": "2"},
        {"role": "tool", "name": "one", "content": "1"},
        answer(),
    )

    texts = [text for role, text, _ in spoken(read_row(row)) if role == "tool"]

    assert texts == [observe("1"), observe("2")]


def test_calls_and_observations_of_every_spelling_come_to_the_same() -> None:
    tagged = "".join(
        f"\n<tool_call>\n{json.dumps(call(command=name)['function'])}\n</tool_call>"
        for name in "ab"
    )
    results = "".join(f"<tool_response>\n{n}\n</tool_response>\n" for n in (1, 2))
    hermes = [
        {"from": "human", "value": "Files?"},
        {"from": "gpt", "value": f"Both.{tagged}"},
        {"from": "tool", "value": results},
        {"from": "gpt", "value": "Two."},
    ]
    calls = json.dumps([{"name": "bash", "arguments": {"command": one}} for one in "ab"])
    turns = [
        {"from": "human", "value": "Files?"},
        {"from": "gpt", "value": "Both."},
        {"from": "function_call", "value": calls},
        {"from": "observation", "value": "1"},
        {"from": "tool_response", "value": "2"},
        {"from": "gpt", "value": "Two."},
    ]
    apart = [
        {"role": "user", "content": "Files?"},
        {"role": "assistant", "content": "Both."},
        {"role": "tool_call", "content": json.dumps(call(command="a")["function"])},
        {"role": "assistant", "function_call": json.dumps(call(command="b")["function"])},
        {"role": "function", "name": "bash", "content": "1"},
        {"role": "tool", "content": "2"},
        {"role": "assistant", "content": "Two."},
    ]

    assert spoken(read_row({"conversations": turns})) == PARALLEL
    assert spoken(read_row({"messages": apart})) == PARALLEL
    with_tools = spoken(read_row({"conversations": hermes, "tools": [TOOL]}))
    assert with_tools == [*PARALLEL[:-1], ("assistant", "Final Answer: Two.", True)]
    assert spoken(read_row({"conversations": hermes}))[1][1] == f"Both.{tagged}"


@pytest.mark.parametrize(
    "tools",
    [
        [TOOL],
        json.dumps([TOOL]),
        [json.dumps(TOOL)],
        [TOOL["function"]],
        json.dumps([TOOL["function"]]),
        [{**TOOL, "function": {**TOOL["function"], "parameters": None, "strict": None}}],  # type: ignore[dict-item]
        [{**TOOL, "function": {**TOOL["function"], "parameters": "{}"}}],  # type: ignore[dict-item]
    ],
)
@pytest.mark.parametrize("key", ["tools", "functions"])
def test_tools_of_a_row_are_read_however_they_are_kept(tools: Any, key: str) -> None:
    row = {"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "Two."}]}

    read = read_row(row | {key: tools})

    [tool] = read.tools
    assert (tool.name, tool.description) == ("bash", "Run it.")
    assert tool.parameters["type"] == "object"
    assert read.steps[1].text == "Final Answer: Two."


def test_nulls_of_a_table_are_absent() -> None:
    parameters = {"type": "object", "properties": {"command": {"type": "string"}, "city": None}}
    tool = {"type": "function", "function": {"name": "bash", "parameters": parameters}}
    made = call(id=None)
    made["function"]["arguments"] = {"command": "ls", "city": None}
    empty = {"tool_calls": None, "tool_call_id": None, "weight": None, "reasoning_content": None}
    row = chat(
        answer(**(empty | {"content": None, "tool_calls": [made]})),
        {"role": "tool", "content": "2", **empty},
        answer(**empty),
        tools=[tool],
        conversations=None,
        functions=None,
        system=None,
    )
    row["messages"][1] |= {"function_call": None, "thinking": "Hm.", "reasoning": None}

    read = read_row(row)

    assert read.tools[0].parameters["properties"] == {"command": {"type": "string"}}
    assert read.steps[1].call is not None
    assert read.steps[1].call.arguments == '{"command": "ls"}'
    assert read.steps[1].thought == "Hm."


def test_an_answer_in_the_form_already_stays_as_it_is() -> None:
    text = "Thought: I know.\nFinal Answer: Two."

    read = read_row(chat(answer(content=text), tools=[TOOL]))

    assert (read.steps[1].text, read.steps[1].answer) == (text, "Two.")
    text = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
    prose = read_row(chat(answer(content="Well.\nAction: restart it."), tools=[TOOL]))
    assert prose.steps[1].answer == "Well.\nAction: restart it."
    results = {"role": "tool", "content": "2"}
    read = read_row(chat(answer(content=text), results, answer(), tools=[TOOL]))
    assert read.steps[1].text == text
    assert read.steps[1].call is not None
    assert read.steps[2].tool_call_id == read.steps[1].call.id


def test_the_systems_text_of_a_row_comes_first() -> None:
    rows = [
        chat(answer(), system="Be brief."),
        {"instruction": "Files?", "output": "Two.", "system": "Be brief."},
        {"query": "Files?", "response": "Two.", "system": "Be brief."},
        {"prompt": "Files?", "completion": "Two.", "system": "Be brief."},
        {"conversations": chat(answer())["messages"], "system": "Be brief."},
    ]

    assert {tuple(spoken(read_row(row))) for row in rows} == {
        (("system", "Be brief.", None), ("user", "Files?", None), ("assistant", "Two.", True))
    }


def test_only_the_completion_of_a_prompt_is_learnt() -> None:
    prompt = [*chat(answer())["messages"], {"role": "user", "content": "Sure?"}]

    read = read_row({"prompt": prompt, "completion": [answer(content="Yes.")]})

    assert read.metadata["loss"] == [None, False, None, True]


def test_a_row_of_any_json_is_read_or_refused_in_one_line() -> None:
    values: list[Any] = [None, 1, "a", [], {}, [None], [[1]], {"a": 1}, True]
    for key in ("messages", "conversations", "tools", "system", "id", "completion", "steps"):
        for value in values:
            row = chat(answer()) | {"prompt": "a", "completion": "b", key: value}
            assert "\n" not in complaint(row)


# -- siblings: other names, other places ---------------------------------------------------------

INPUT = {"command": {"type": "string", "description": "What to run."}}


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "bash", "input_schema": {"type": "object", "properties": INPUT}},
        {"name": "bash", "inputSchema": {"type": "object", "properties": INPUT}},
        {"type": "function", "name": "bash", "parameters": {"properties": INPUT}},
        {"name": "bash", "parameters": INPUT, "returns": {"type": "string"}, "required": None},
        {"name": "bash", "arguments": json.dumps(INPUT)},
        {"type": "function", "function": json.dumps({"name": "bash", "parameters": INPUT})},
    ],
)
def test_a_tools_arguments_are_told_whatever_their_key_is(tool: dict[str, Any]) -> None:
    [read] = read_row(chat(answer(), tools=[tool])).tools

    assert read.parameters["properties"] == INPUT
    assert "What to run." in describe([read])


@pytest.mark.parametrize("key", ["arguments", "parameters", "args", "input"])
@pytest.mark.parametrize("spelling", ["tool_calls", "function_call turn", "text", "tags"])
def test_a_calls_arguments_are_read_whatever_their_key_is(spelling: str, key: str) -> None:
    made = {"name": "bash", key: {"command": "ls"}}
    turns: dict[str, dict[str, Any]] = {
        "tool_calls": answer(content=None, tool_calls=[made]),
        "function_call turn": {"role": "function_call", "content": json.dumps(made)},
        "text": answer(content=json.dumps([made])),
        "tags": answer(content=f"<tool_call>{json.dumps(made)}</tool_call>"),
    }

    read = read_row(chat(turns[spelling], tools=[TOOL]))

    assert read.steps[1].text == 'Action: bash\nAction Input: {"command": "ls"}'


@pytest.mark.parametrize(
    "text",
    [
        "[bash(command='ls')]",
        "bash(command='ls')",
        "```tool_code\nbash('ls')\n```",
        '```json\n{"name": "bash", "arguments": {"command": "ls"}}\n```',
        'I look. {"name": "bash", "parameters": {"command": "ls"}}',
        'I look:\n{"action": "bash", "action_input": "ls"}',
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.bash:0",
        "<｜tool▁calls▁begin｜>bash",
        "<function=bash><parameter=command>ls</parameter></function>",
    ],
)
def test_a_call_in_another_form_is_no_answer(text: str) -> None:
    row = chat(answer(content=text), tools=[TOOL])

    assert complaint(row).startswith("messages.1: a call in a form that is not read, got ")
    assert complaint(chat(answer(content=text))) == ""
    assert complaint(chat(answer(content=text, loss=False), tools=[TOOL])) == ""


@pytest.mark.parametrize("text", ['{"name": "Ann", "arguments": {}}', '[{"name": "bash"}]', "[1]"])
def test_json_that_calls_nothing_is_an_answer(text: str) -> None:
    read = read_row(chat(answer(content=text), tools=[TOOL]))

    assert read.steps[1].text == f"Final Answer: {text}"


@pytest.mark.parametrize("role", ["ipython", "tool", "user"])
def test_results_between_tags_are_results_whoever_brings_them(role: str) -> None:
    tagged = "<tool_response>\n2\n</tool_response>"
    row = chat(answer(tool_calls=[call()]), {"role": role, "content": tagged}, tools=[TOOL])

    assert spoken(read_row(row))[2] == ("tool", observe("2"), None)


def test_what_stands_beside_tags_is_not_lost() -> None:
    row = chat(
        answer(content=f"First.<tool_call>{json.dumps(call()['function'])}</tool_call>Then."),
        {"role": "tool", "content": "Slow: <tool_response>2</tool_response>"},
        tools=[TOOL],
    )

    texts = [text for _, text, _ in spoken(read_row(row))]

    assert texts[1].startswith("Thought: First.\nThen.\nAction: bash")
    assert texts[2] == observe("Slow: <tool_response>2</tool_response>")


@pytest.mark.parametrize(
    "turn",
    [
        {"content": "Two.", "reasoning": "So."},
        {"content": "Two.", "reasoning": "So.", "reasoning_content": "So."},
        {"content": "Two.", "reasoning_content": "So."},
        {"content": "<think>\nSo.\n</think>\n\nTwo."},
        {"content": "<think>So.</think>Two.", "reasoning": "So."},
        {"content": "Final Answer: Two.", "reasoning": "So."},
        {"content": "Thought: So.\nFinal Answer: Two."},
    ],
)
def test_a_thought_is_one_wherever_it_stands(turn: dict[str, Any]) -> None:
    read = read_row(chat({"role": "assistant", **turn}, tools=[TOOL])).steps[1]

    assert (read.text, read.thought) == ("Thought: So.\nFinal Answer: Two.", "So.")


def test_a_turn_without_a_thought_has_none_between_empty_tags() -> None:
    read = read_row(chat(answer(content="<think>\n\n</think>\n\nTwo."), tools=[TOOL]))

    assert read.steps[1].text == "Final Answer: Two."


def test_answers_that_follow_each_other_are_one_in_the_form() -> None:
    read = read_row(chat(answer(), answer(content="Or three."), tools=[TOOL]))

    assert spoken(read)[1:] == [("assistant", "Final Answer: Two.\n\nOr three.", True)]


@pytest.mark.parametrize("key", ["messages", "conversations"])
def test_turns_may_be_json_in_a_text(key: str) -> None:
    row = chat(answer())["messages"]

    assert spoken(read_row({key: json.dumps(row)})) == spoken(read_row({key: row}))


@pytest.mark.parametrize("role", ["Assistant", "GPT", "ai", "Chatbot"])
def test_names_of_speakers_are_read_in_capitals_too(role: str) -> None:
    assert spoken(read_row(chat({"role": role, "content": "Two."})))[1][2] is True


@pytest.mark.parametrize(
    ("split", "held_out"),
    [("test", True), ("test_sft", True), ("Validation", True), ("train_sft", False), ("", False)],
)
def test_a_split_is_held_out_whatever_else_its_name_says(split: str, held_out: bool) -> None:
    assert ("split" in read_row(chat(answer(), split=split)).metadata) is held_out


@pytest.mark.timeout(20)
@pytest.mark.parametrize("tag", ["tool_call", "tool_response", "think"])
@pytest.mark.parametrize("text", [" " * 100_000, "<{tag}>" * 50_000], ids=["blanks", "tags"])
def test_a_tag_that_is_never_closed_costs_no_more_than_its_text(tag: str, text: str) -> None:
    left_open = f"<{tag}>{text.format(tag=tag)}"
    row = chat(answer(content=left_open, loss=False), {"role": "user", "content": left_open})

    read = read_row({**row, "tools": [TOOL]})

    assert [step.text.count(f"<{tag}>") for step in read.steps[1:]] == [left_open.count("<")] * 2
