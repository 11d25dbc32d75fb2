"""A tool in the form for the model, and the model's arguments in the form for the tool."""

from __future__ import annotations

import inspect
import json
from typing import Any

from pydantic import BaseModel, ValidationError

from agentlm.agent.tool import Tool, ToolError
from agentlm.messages import ToolCall, ToolSpec


def spec_of(tool: Tool) -> ToolSpec:
    """Name, docstring on one line, and argument schema without parts that only people need."""
    description = " ".join(inspect.cleandoc(tool.__doc__ or "").split())
    schema = compact(tool.Args.model_json_schema())
    schema.pop("description", None)
    return ToolSpec(name=tool.name, description=description, parameters=schema, owner="server")


def compact(schema: Any) -> Any:
    """A JSON schema without titles. Properties that are *named* `title` stay."""
    if isinstance(schema, list):
        return [compact(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: compact(value) for name, value in item.items()}
        if key in ("properties", "$defs") and isinstance(item, dict)
        else compact(item)
        for key, item in schema.items()
        if not (key == "title" and isinstance(item, str))
    }


def arguments_of(call: ToolCall, model: type[BaseModel]) -> BaseModel:
    """The call's arguments, validated. Raises ToolError with what does not fit."""
    try:
        return model.model_validate(call.parsed())
    except json.JSONDecodeError as error:
        raise ToolError(f"the arguments are not JSON: {error}") from error
    except ValidationError as error:
        problems = "; ".join(_problem(problem) for problem in error.errors())
        raise ToolError(f"the arguments do not fit: {problems}") from error
    except RecursionError as error:
        raise ToolError("the arguments are nested too deeply") from error
    except ValueError as error:
        raise ToolError(str(error)) from error


def _problem(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "arguments"
    return f"{where}: {problem['msg']}"
