"""A job's `recipe`: the settings that decide what is learned, with descriptions.

    python -m agentlm.finetune.job_recipe                prints a JSON schema
    python -m agentlm.finetune.job_recipe < recipe.json  checks a recipe

The server runs this as a program, like jobs, because only the trainer knows its settings. Left out
are settings that name files or servers of the operator's machine, and those that a job determines
itself: it trains an adapter, from its own files.
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
    """The JSON schema. Each field has a `group`."""
    described = recipe_model().model_json_schema()
    groups = _groups()
    for name, field in described["properties"].items():
        field["group"] = groups[name]
    return described


def complaint(recipe: Any) -> dict[str, str]:
    """The error in a recipe: `field` and `message`; empty if there is none."""
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
    """For each field, the title of its class. Inherited fields belong to the ancestor."""
    concerns = FinetuneSettings.__mro__[1:]
    return {
        name: re.split(r"[.:;]\s", inspect.cleandoc(concern.__doc__ or "") + " ")[0]
        for concern in concerns
        if concern.__module__ == FinetuneSettings.__module__
        for name in inspect.get_annotations(concern)
    }


def main() -> int:
    """Read a recipe from stdin, and print the answer."""
    text = sys.stdin.read()
    print(json.dumps(complaint(json.loads(text)) if text.strip() else schema()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
