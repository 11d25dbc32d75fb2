import pytest

from agentlm.store import AuditRecord, Store


def record(owner: str = "ann", tool: str = "bash") -> AuditRecord:
    return AuditRecord(
        owner=owner,
        trajectory_id="traj_1",
        call_id="call_1",
        tool=tool,
        verdict="ok",
        arguments_digest="0" * 64,
    )


async def test_calls_are_listed_newest_first_page_by_page(store: Store) -> None:
    written = [record(tool=f"tool_{number}") for number in range(5)]
    for each in written:
        await store.audit.add(each)

    first, more = store.audit.page("ann", limit=3)
    rest, end = store.audit.page("ann", limit=3, after=first[-1][0])

    assert [found for _, found in first + rest] == written[::-1]
    assert (more, end) == (True, False)


@pytest.mark.parametrize(("owner", "seen"), [("ann", 1), ("bob", 2), ("eve", 0), (None, 3)])
async def test_an_owner_sees_its_own_calls_an_administrator_all(
    store: Store, owner: str | None, seen: int
) -> None:
    for name in ("ann", "bob", "bob"):
        await store.audit.add(record(name))

    found, _ = store.audit.page(owner)

    assert len(found) == seen
