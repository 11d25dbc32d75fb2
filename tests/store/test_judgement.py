import pytest

from agentlm.errors import ConflictError, NotFoundError, RequestError
from agentlm.feedback import reward_of
from agentlm.store import Selection, Store
from agentlm.trajectory import Feedback, Outcome
from support.records import chat, trajectory


async def test_feedback_is_averaged_over_the_latest_of_each_name(store: Store) -> None:
    entry = chat()
    key = entry.trajectory.id
    await store.append(entry)

    judgements = [
        Feedback(author="ann", value=0.0, created=1.0),
        Feedback(author="ann", value=True, created=2.0),
        Feedback(author="ann", name="style", value=0.5, comment="dull\x00"),
        Feedback(author="ann", name="note", comment="only words"),
    ]
    headers = [await store.add_feedback(one, trajectory_id=key) for one in judgements]

    assert [header.reward for header in headers] == [0.0, 1.0, 0.75, 0.75]
    read = store.get(key, "ann")
    assert read is not None
    assert read.feedback == tuple(judgements)
    assert read.reward == 0.75


def test_each_answer_and_each_step_has_a_latest_judgement_of_its_own() -> None:
    up = Feedback(author="ann", completion_id="a", value=True, created=1.0)
    down = Feedback(author="ann", completion_id="b", value=False, created=2.0)
    step = Feedback(author="ann", completion_id="b", step=3, value=False, created=3.0)
    mended = Feedback(author="ann", step=3, value=True, created=4.0)

    assert reward_of((up, down)) == 0.5
    assert reward_of((step, mended)) == 1.0
    assert reward_of((up, down, step, mended)) == 2 / 3


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
async def test_a_value_outside_zero_to_one_is_refused(store: Store, value: float) -> None:
    entry = chat()
    await store.append(entry)

    with pytest.raises(RequestError) as refused:
        await store.add_feedback(
            Feedback(author="ann", value=value), trajectory_id=entry.trajectory.id
        )

    assert refused.value.param == "value"


async def test_only_an_admin_judges_what_others_own(store: Store) -> None:
    entry = chat()
    judgement = Feedback(author="bob", value=1.0)
    await store.append(entry)

    with pytest.raises(NotFoundError):
        await store.add_feedback(judgement, trajectory_id=entry.trajectory.id)
    header = await store.add_feedback(judgement, trajectory_id=entry.trajectory.id, admin=True)

    assert header.reward == 1.0


async def test_feedback_on_a_completion_needs_that_completion(store: Store) -> None:
    entry = chat()
    assert entry.interaction is not None
    await store.append(entry)
    known, unknown = (
        Feedback(author="ann", value=1.0, completion_id=completion)
        for completion in (entry.interaction.completion_id, "chatcmpl-other")
    )

    await store.add_feedback(known, trajectory_id=entry.trajectory.id)
    with pytest.raises(NotFoundError):
        await store.add_feedback(unknown, trajectory_id=entry.trajectory.id)


async def test_the_environment_s_score_takes_precedence(store: Store) -> None:
    entry = chat(outcome=Outcome.COMPLETED)
    key = entry.trajectory.id
    await store.append(entry)
    await store.add_feedback(Feedback(author="ann", value=1.0), trajectory_id=key)

    scored = await store.score(
        key,
        "ann",
        reward=0.25,
        outcome=Outcome.LIMIT,
        error_classes=("repetition", "invalid_action"),
        metadata={"turns": 3},
    )
    judged = await store.add_feedback(Feedback(author="ann", value=1.0), trajectory_id=key)

    assert (scored.reward, scored.outcome) == (0.25, Outcome.LIMIT)
    assert scored.error_classes == ("invalid_action", "repetition")
    assert scored.metadata == {"turns": 3}
    assert judged.reward == 0.25


async def test_an_error_never_has_a_reward(store: Store) -> None:
    entry = chat()
    key = entry.trajectory.id
    await store.append(entry)
    await store.score(key, "ann", reward=1.0)

    failed = await store.score(key, "ann", reward=None, outcome=Outcome.ERROR)
    judged = await store.add_feedback(Feedback(author="ann", value=1.0), trajectory_id=key)
    with pytest.raises(ConflictError):
        await store.score(key, "ann", reward=1.0)

    assert failed.reward is None
    assert judged.reward is None


async def test_what_a_score_does_not_name_stays(store: Store) -> None:
    entry = chat(outcome=Outcome.LIMIT, metadata={"a": "1"})
    await store.append(entry)

    header = await store.score(entry.trajectory.id, None, reward=0.5)

    assert (header.outcome, header.metadata) == (Outcome.LIMIT, {"a": "1"})


async def test_scoring_what_is_not_there_is_not_found(store: Store) -> None:
    entry = chat()
    await store.append(entry)

    with pytest.raises(NotFoundError):
        await store.score(entry.trajectory.id, "bob", reward=1.0)
    with pytest.raises(NotFoundError):
        await store.score(trajectory().id, None, reward=1.0)


async def test_a_log_row_knows_the_cards_that_were_trained_on_it(store: Store) -> None:
    entries = [chat() for _ in range(3)]
    for entry in entries:
        await store.append(entry)
    first, second, third = (entry.trajectory.id for entry in entries)

    await store.mark_trained("one", [first, second, "traj_unknown"])
    await store.mark_trained("two", iter([second]))
    await store.mark_trained("one", [first])

    assert store.trained_on(first) == ["one"]
    assert store.trained_on(second) == ["one", "two"]
    assert store.trained_on(third) == []


async def test_each_step_that_is_judged_counts_and_a_correction_alone_does_not(
    store: Store,
) -> None:
    entry = chat()
    key = entry.trajectory.id
    await store.append(entry)

    judgements = [
        Feedback(author="ann", value=1.0),
        Feedback(author="ann", value=0.0, step=1),
        Feedback(author="ann", correction="Better.", step=1),
    ]
    headers = [await store.add_feedback(one, trajectory_id=key) for one in judgements]

    assert [header.reward for header in headers] == [1.0, 0.5, 0.5]
    read = store.get(key, "ann")
    assert read is not None
    assert read.feedback == tuple(judgements)


@pytest.mark.parametrize(("step", "error"), [(0, RequestError), (9, NotFoundError)])
async def test_only_what_the_model_said_is_judged(
    store: Store, step: int, error: type[RequestError]
) -> None:
    entry = chat()
    await store.append(entry)

    judgement = Feedback(author="ann", value=1.0, step=step)
    with pytest.raises(error) as refused:
        await store.add_feedback(judgement, trajectory_id=entry.trajectory.id)

    assert refused.value.param == "step"


async def test_what_was_corrected_is_selected_whatever_its_reward(store: Store) -> None:
    better = Feedback(author="ann", correction="Better.")
    for _ in range(2):
        entry = chat()
        await store.append(entry)
    await store.add_feedback(better, trajectory_id=entry.trajectory.id)

    wanted = Selection(min_reward=0.5, or_corrected=True)
    assert [one.id for one in store.select(wanted)] == [entry.trajectory.id]
    assert list(store.select(Selection(min_reward=0.5))) == []
