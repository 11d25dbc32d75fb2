"""A log that an earlier version wrote is read, and goes on, after it is opened."""

import struct

from sqlalchemy import text

from agentlm.messages import Message
from agentlm.store import ApiKey, Entry, Store
from agentlm.store.database import connect, upgrade
from agentlm.trajectory import Feedback, Interaction, Origin, Outcome, Sampling, Step, Trajectory
from support.records import interaction, prompt, sampled

AT_0001 = """
INSERT INTO trajectory (id, version, created, owner, source, model, outcome, reward, scored,
    error_classes, may_train, content, step_count, claimed_step, sampled_tokens, prompt_tokens,
    tools, metadata)
VALUES ('traj_old', 1, 100.5, 'ann', 'chat', 'tiny', 'completed', 1.0, FALSE, '', TRUE, TRUE,
    2, 0, 2, 1, '[]', '{"run":"7"}');
INSERT INTO step (trajectory, number, role, origin, started, seconds, weights_version, token_count,
    token_ids, body)
VALUES (1, 0, 'user', 'prompt', 100.5, 0.0, NULL, 1, :asked,
    '{"text":"hello","failed":false,"discarded_ids":[]}');
INSERT INTO step (trajectory, number, role, origin, started, seconds, weights_version, token_count,
    token_ids, logprobs, single_choice, body)
VALUES (1, 1, 'assistant', 'sampled', 101.0, 0.5, 'w1', 2, :said, :logprobs, :single,
    '{"text":"hi","answer":"hi","failed":false,"finish_reason":"stop","discarded_ids":[]}');
INSERT INTO interaction (trajectory, completion_id, choice, owner, created, first_step, end_step,
    request, response)
VALUES (1, 'chatcmpl-old', 0, 'ann', 100.5, 0, 2,
    '{"messages":[{"role":"user","content":"hello","tool_calls":[],"tool_call_id":null}],
      "sampling":{"temperature":0.5}}',
    '{"response":{"role":"assistant","content":"hi"},"finish_reason":"stop","usage":{},
      "delivered":null}');
INSERT INTO continuation (trajectory, owner, conversation, step) VALUES (1, 'ann', 'old', 2);
INSERT INTO feedback (trajectory, body)
VALUES (1, '{"name":"reward","value":true,"comment":null,"author":"ann","created":102.0}');
INSERT INTO tag (trajectory, name, value) VALUES (1, 'run', '7');
INSERT INTO trained (trajectory, card) VALUES (1, 'card')
"""

OLD = Trajectory(
    id="traj_old",
    created=100.5,
    owner="ann",
    source="chat",
    model="tiny",
    outcome=Outcome.COMPLETED,
    reward=1.0,
    metadata={"run": "7"},
    steps=(
        Step(role="user", origin=Origin.PROMPT, text="hello", token_ids=(5,), started=100.5),
        Step(
            role="assistant",
            origin=Origin.SAMPLED,
            text="hi",
            answer="hi",
            token_ids=(6, 7),
            logprobs=(-0.5, -0.25),
            single_choice=(True, False),
            finish_reason="stop",
            weights_version="w1",
            started=101.0,
            seconds=0.5,
        ),
    ),
    interactions=(
        Interaction(
            completion_id="chatcmpl-old",
            owner="ann",
            created=100.5,
            messages=(Message(role="user", content="hello"),),
            response=Message(role="assistant", content="hi"),
            finish_reason="stop",
            sampling=Sampling(temperature=0.5),
            trajectory_id="traj_old",
            first_step=0,
            end_step=2,
        ),
    ),
    feedback=(Feedback(author="ann", value=True, created=102.0),),
)


def write_old_log(url: str) -> None:
    values = {
        "asked": struct.pack("<I", 5),
        "said": struct.pack("<2I", 6, 7),
        "logprobs": struct.pack("<2f", -0.5, -0.25),
        "single": bytes([1, 0]),
    }
    database = connect(url)
    with database.writer.begin() as db:
        upgrade(db, "0001")
        for statement in AT_0001.split(";\n"):
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            db.execute(text(statement.replace('":', '"\\:')), used)
    database.close()


async def test_a_log_of_the_first_schema_is_upgraded_when_it_is_opened(store_url: str) -> None:
    write_old_log(store_url)

    store = Store.open(store_url)

    assert store.get("traj_old", "ann") == OLD
    assert store.trained_on("traj_old") == ["card"]
    assert store.completions.page("ann") == ([], False)
    place = await store.claim("ann", ["old"])
    assert place is not None
    assert not place.fork
    answered = interaction(OLD, 2, 4, stored=True, metadata={"a": "b"})
    await store.append(Entry(OLD, 2, (prompt([8]), sampled([9])), answered))
    assert [one.id for one in store.completions.page("ann")[0]] == [answered.completion_id]
    await store.keys.create(ApiKey(name="ann"))
    store.close()
