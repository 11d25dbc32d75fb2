"""Finding one's way in the log over the API: searching it, tagging it, its forks, its tokens."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from agentlm.store import Entry, Store
from agentlm.store.read import search
from agentlm.trajectory import Feedback, Trajectory
from support.records import prompt, sampled, trajectory
from support.serving import Running, Serve

LOG = "/v1/trajectories"


async def keep(store: Store, asked: str, answered: str, **fields: Any) -> Trajectory:
    header = trajectory(owner="local", **fields)
    steps = (prompt([1, 2], asked), sampled([3, 4], answered))
    await store.append(Entry(header, 0, steps))
    return header


async def get(running: Running, path: str, **query: Any) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=running.url) as http:
        answer = await http.get(path, params=query)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("zebra", ["1"]),
        ("HOW MANY", ["1"]),
        ('say "hi"', ["2"]),
        ("line\nbreak", ["2"]),
        ("100%", ["3"]),
        ("a_b", ["3"]),
        ("\\d", ["3"]),
        # Words of the record itself, which nobody said.
        ("weights_version", []),
        ("sampling", []),
        ("nobody said this", []),
    ],
)
async def test_what_was_said_is_found(serve: Serve, text: str, found: list[str]) -> None:
    searches = {
        "1": ("How many Zebras?", "Two."),
        "2": ('Please say "hi"', "A line\nbreak"),
        "3": ("Is it 100% of a_b?", r"It matches \d."),
        "4": ("Is it 100 of axb?", "It matches d."),
    }
    async with serve() as running:
        for number, words in searches.items():
            await keep(running.store, *words, metadata={"number": number})
        page = await get(running, LOG, text=text)

    assert [each["metadata"]["number"] for each in page["data"]] == found
    assert page["has_more"] is False


async def test_a_search_looks_at_so_many_and_says_how_far_it_came(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_LOOK", 4)
    pages = []
    async with serve() as running:
        kept = [
            await keep(running.store, "a needle" if number in (0, 9) else "hay", "yes")
            for number in range(10)
        ]
        after = {}
        while True:
            page = await get(running, LOG, text="needle", limit=5, **after)
            pages.append([each["id"] for each in page["data"]])
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}

    assert pages == [[kept[9].id], [], [kept[0].id]]


async def test_a_search_is_paged_and_conditions_hold_too(serve: Serve) -> None:
    async with serve() as running:
        kept = [await keep(running.store, "a needle", "yes") for _ in range(5)]
        await keep(running.store, "a needle", "yes", model="another")
        first = await get(running, LOG, text="needle", model="tiny", limit=3)
        rest = await get(running, LOG, text="needle", model="tiny", after=first["last_id"])

    listed = [each["id"] for each in first["data"] + rest["data"]]
    assert listed == [each.id for each in reversed(kept)]


async def test_a_list_tells_how_each_began(serve: Serve) -> None:
    async with serve() as running:
        await keep(running.store, "x" * 1000, "yes")
        await keep(running.store, " <b>Bold?</b>\n", "yes")
        page = await get(running, LOG)

    assert [each["preview"] for each in page["data"]] == ["<b>Bold?</b>", "x" * 200]


async def test_tags_are_set_changed_and_taken_away(serve: Serve) -> None:
    async with serve() as running, httpx.AsyncClient(base_url=running.url) as http:
        kept = await keep(running.store, "a", "b", metadata={"project": "x", "loss": [1]})
        path = f"{LOG}/{kept.id}"
        first = await http.post(path, json={"metadata": {"set": "one", "project": "y"}})
        found = (await http.get(f"{LOG}?tags.set=one&tags.project=y")).json()["data"]
        second = await http.post(path, json={"metadata": {"set": None}})
        gone = (await http.get(f"{LOG}?tags.set=one")).json()["data"]

    assert first.json()["metadata"] == {"set": "one", "project": "y", "loss": [1]}
    assert [each["id"] for each in found] == [kept.id]
    assert second.json()["metadata"] == {"project": "y", "loss": [1]}
    assert gone == []


@pytest.mark.parametrize(
    ("metadata", "status", "words"),
    [
        ({}, 400, "at least 1"),
        ({"a": 1}, 400, "string"),
        ({"": "x"}, 400, "at least 1"),
        ({"a": "x" * 513}, 400, "at most 512"),
        ({str(n): "x" for n in range(17)}, 400, "at most 16"),
        ({"loss": "x"}, 400, "metadata.loss is not a tag"),
    ],
)
async def test_what_is_no_tag_is_refused(
    serve: Serve, metadata: dict[str, Any], status: int, words: str
) -> None:
    async with serve() as running, httpx.AsyncClient(base_url=running.url) as http:
        kept = await keep(running.store, "a", "b", metadata={"loss": [True]})
        answer = await http.post(f"{LOG}/{kept.id}", json={"metadata": metadata})
        after = running.trajectory(kept.id).metadata

    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert after == {"loss": [True]}


async def test_what_is_kept_without_content_takes_no_tags(serve: Serve) -> None:
    async with serve() as running, httpx.AsyncClient(base_url=running.url) as http:
        header = trajectory(owner="local")
        await running.store.append(Entry(header, 0, (prompt([1]),), content=False))
        answer = await http.post(f"{LOG}/{header.id}", json={"metadata": {"a": "b"}})

    assert answer.status_code == 409


async def test_a_family_is_told_from_any_of_its_members(serve: Serve) -> None:
    async with serve() as running:
        store = running.store
        root = await keep(store, "a", "b")
        fork = await keep(store, "a", "c", parent_id=root.id, parent_step=0)
        twin = await keep(store, "a", "d", parent_id=root.id, parent_step=0)
        grandchild = await keep(store, "a", "e", parent_id=fork.id, parent_step=0)
        await keep(store, "another", "tree")
        await store.mark_trained("tiny-ft", [fork.id])
        families = [await get(running, f"{LOG}/{each.id}/family") for each in (root, grandchild)]
        models = (await get(running, f"{LOG}/{fork.id}/family"))["models"]

    for family in families:
        tree = {each["id"]: each["parent_id"] for each in family["data"]}
        assert tree == {
            root.id: None,
            fork.id: root.id,
            twin.id: root.id,
            grandchild.id: fork.id,
        }
        assert family["models"] == []
    assert models == ["tiny-ft"]


async def test_a_family_whose_root_was_deleted_begins_with_what_is_left(serve: Serve) -> None:
    async with serve() as running:
        store = running.store
        root = await keep(store, "a", "b")
        fork = await keep(store, "a", "c", parent_id=root.id, parent_step=0)
        grandchild = await keep(store, "a", "d", parent_id=fork.id, parent_step=0)
        await store.delete(root.id, None)
        family = await get(running, f"{LOG}/{grandchild.id}/family")

    assert [each["id"] for each in family["data"]] == [fork.id, grandchild.id]


async def test_what_a_run_could_learn_is_what_was_said_well_and_stands(serve: Serve) -> None:
    failed = prompt([3], "no such file").model_copy(update={"role": "tool", "failed": True})
    steps = (
        *(prompt([1], "a"), sampled([2], "refused"), failed, sampled([4], "wrong", error="?")),
        *(prompt([5], "b"), sampled([6], "corrected"), prompt([7], "c"), sampled([8], "right")),
    )
    async with serve() as running:
        header = trajectory(owner="local", steps=steps)
        await running.store.append(Entry(header, 0, steps))
        better = Feedback(author="local", step=5, correction="better")
        await running.store.add_feedback(better, trajectory_id=header.id)
        answer = await get(running, f"{LOG}/{header.id}/learnable")

    assert answer == {"object": "trajectory.learnable", "id": header.id, "steps": [7]}


async def test_ids_are_spelt_one_by_one(serve: Serve) -> None:
    async with serve("Hello there.") as running, httpx.AsyncClient(base_url=running.url) as http:
        await running.client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "Hi"}]
        )
        [kept] = running.trajectories()
        answer = (
            await http.post(
                "/detokenize", json={"tokens": list(kept.token_ids()), "return_token_strs": True}
            )
        ).json()

    assert "".join(answer["token_strs"]) == answer["prompt"]
    assert answer["tokenizer_digest"] == kept.steps[-1].tokenizer_digest
