"""No line that holds a secret is passed over: the look at a row finds what its detectors find."""

from __future__ import annotations

import re

import pytest
from detect_secrets.plugins.keyword import QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import from_regex

from agentlm.finetune.filters.scrub import ASSIGNED, detectors, suspicious

NAMED = [*QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP]
FORMS = [form for detector in detectors() for form in getattr(detector, "denylist", NAMED)]
FORMS.append(ASSIGNED)


@pytest.mark.parametrize("form", FORMS)
def test_what_a_detector_looks_for_is_suspicious(form: re.Pattern[str]) -> None:
    @settings(max_examples=10, derandomize=True, suppress_health_check=[*HealthCheck])
    @given(from_regex(form))
    def check(text: str) -> None:
        for line in text.splitlines():
            if form.search(line):
                assert suspicious(line)
                assert suspicious(f"before\n{line}\nafter")

    check()


def test_the_text_of_agents_is_not_suspicious() -> None:
    text = (
        'Action: bash\nAction Input: {"command": "ls -l https://example.com/a-long-path/of-words"}'
    )

    assert not suspicious(text)
