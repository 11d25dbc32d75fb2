"""What is read of a tree of processes while it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentlm.tools.shell import process_tree


def test_a_thread_that_ends_meanwhile_hides_no_child_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for thread, children in {"7": "8 9 ", "10": None, "11": "12 "}.items():
        (tmp_path / "7/task" / thread).mkdir(parents=True)
        if children is not None:
            (tmp_path / "7/task" / thread / "children").write_text(children)
    monkeypatch.setattr(process_tree, "_PROC", tmp_path)
    assert sorted(process_tree.children(7)) == [8, 9, 12]
    assert sorted(process_tree.tree(7)) == [7, 8, 9, 12]
    with pytest.raises(FileNotFoundError):
        process_tree.children(8)
