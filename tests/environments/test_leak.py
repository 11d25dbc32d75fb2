"""No test task was seen in training, by AgentTuning's ten-gram rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from agentlm.environments.db.generate import tasks as db_tasks
from agentlm.environments.os.generate import tasks as os_tasks
from agentlm.environments.task import Split, Task
from agentlm.finetune.filters.overlap import TrainedTexts

Generate = Callable[[Split], Iterator[Task]]


@pytest.mark.parametrize("generate", [db_tasks, os_tasks])
def test_held_out_tasks_share_no_text_with_training(generate: Generate) -> None:
    trained = TrainedTexts(task.instruction for task in islice(generate("train"), 250))
    for split in ("dev", "dev2", "test", "test-kinds"):
        held_out = list(islice(generate(split), 75))
        dirty = [t.template for t in held_out if trained.is_dirty(t.instruction)]
        assert len(dirty) <= 2, dirty  # a table with few columns says little beside the form


def test_a_run_of_ten_words_with_four_changed_is_a_leak_and_with_five_is_none() -> None:
    trained = TrainedTexts(["a b c d e f g h i j"])
    assert trained.dirty_share("a X c X e X g X i j") == 1.0
    assert trained.dirty_share("a X c X e X g X i X") == 0.0


def test_a_sample_is_dirty_beyond_four_fifths_of_its_words() -> None:
    trained = TrainedTexts(["a b c d e f g h i j", "k l m n"])
    assert trained.is_dirty("a b c d e f g h i j x y")
    assert not trained.is_dirty("a b c d e f g h i j x y z w")


def test_no_run_goes_from_one_text_into_the_next() -> None:
    assert TrainedTexts(["a b c d e", "f g h i j"]).dirty_share("a b c d e f g h i j") == 0.0
