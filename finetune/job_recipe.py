"""What a job's `recipe` may hold: the settings that decide what is learned, each explained.

    python -m agentlm.finetune.job_recipe               prints a JSON schema
    python -m agentlm.finetune.job_recipe < recipe.json says whether that is one

The server runs it, as it runs jobs: what a trainer can be told is the trainer's to say. Left back
are settings that name files or servers of the operator's machine, and those that a job has for
itself: it trains an adapter, from what it was given.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from agentlm.errors import OperatorError
from agentlm.finetune.settings import FinetuneSettings, Mixing
from agentlm.settings import Settings

_OF_THE_OPERATOR = {"leak_check", "judge_url", "judge_model", "judge_api_key", "judge_least"}
_OF_THE_OPERATOR |= {"eval_data", *Mixing.model_fields}
_OF_THE_JOB = {*Settings.model_fields, "lora", "full", "seed", "zero_stage", "offload"}
_OF_THE_JOB |= {"min_reward", "outcomes"}


def recipe_model() -> type[BaseModel]:
    """A model of the fields that a job may set."""
    left_back = _OF_THE_OPERATOR | _OF_THE_JOB
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in FinetuneSettings.model_fields.items()
        if name in _groups() and name not in left_back and "Path" not in str(field.annotation)
    }
    config = ConfigDict(extra="forbid", title="Recipe")
    model: type[BaseModel] = create_model("Recipe", __config__=config, **fields)
    return model


def schema() -> dict[str, Any]:
    """Its JSON schema; each field says which `group` it belongs to."""
    described = recipe_model().model_json_schema()
    groups = _groups()
    for name, field in described["properties"].items():
        field["group"] = groups[name]
    return described


def complaint(recipe: Any) -> dict[str, str]:
    """What is wrong with a recipe: `field` and `message`; nothing if it is one."""
    try:
        recipe_model().model_validate(recipe)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        known = ", ".join(recipe_model().model_fields)
        unknown = first["type"] == "extra_forbidden"
        message = f"known: {known}" if unknown else f"{first['msg']}, got {first['input']!r}"
        return {"field": field, "message": message}
    try:
        FinetuneSettings(data=("what the job is given",), **recipe).check()
    except OperatorError as error:
        return {"field": "", "message": str(error)}
    return {}


def _groups() -> dict[str, str]:
    """Field → what it is about; fields that a class inherits are not its own."""
    concerns = FinetuneSettings.__mro__[1:]
    return {
        name: re.split(r"[.:;]\s", inspect.cleandoc(concern.__doc__ or "") + " ")[0]
        for concern in concerns
        if concern.__module__ == FinetuneSettings.__module__
        for name in inspect.get_annotations(concern)
    }


def main() -> int:
    """Read what stands on stdin, answer on stdout."""
    said = sys.stdin.read()
    print(json.dumps(complaint(json.loads(said)) if said.strip() else schema()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
