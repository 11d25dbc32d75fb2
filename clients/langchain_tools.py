"""Tools, tool choices and answer schemas in the request's format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Literal, TypeAlias, get_args

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import (
    JsonOutputParser,
    PydanticOutputParser,
)
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_function, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

ToolLike: TypeAlias = dict[str, Any] | type | Callable[..., Any] | BaseTool
Schema: TypeAlias = dict[str, Any] | type
Method: TypeAlias = Literal["json_schema", "function_calling", "json_mode"]

_OF_A_FUNCTION = {"function", "name", "title", "properties", "toolSpec"}


def write_tool(tool: ToolLike, strict: bool | None) -> dict[str, Any]:
    """A function of the client's, from anything that LangChain accepts. `{"type": "bash"}` and the
    like, which name the server's tools, stay unchanged."""
    if isinstance(tool, dict) and "type" in tool and not _OF_A_FUNCTION & tool.keys():
        return tool
    return convert_to_openai_tool(tool, strict=strict)


def write_tool_choice(choice: str | bool | Mapping[str, Any] | None) -> Any:
    """OpenAI's words, LangChain's `any`, True for "some tool", or a tool's name."""
    match choice:
        case None | False:
            return None
        case True | "any" | "required":
            return "required"
        case "auto" | "none":
            return choice
        case str():
            return {"type": "function", "function": {"name": choice}}
    return choice


def answer_fields(schema: Schema, method: Method, strict: bool | None) -> dict[str, Any]:
    """Fields of a request for an object as the answer. Raises ValueError for an unknown method."""
    match method:
        case "json_schema":
            function = convert_to_openai_function(schema, strict=strict)
            function["schema"] = function.pop("parameters")
            return {"response_format": {"type": "json_schema", "json_schema": function}}
        case "function_calling":
            tool = write_tool(schema, strict)
            return {"tools": [tool], "tool_choice": write_tool_choice(tool["function"]["name"])}
        case "json_mode":
            return {"response_format": {"type": "json_object"}}
    raise ValueError(f"unknown method {method!r}; known: {', '.join(get_args(Method))}")


def parsed(
    model: Runnable[LanguageModelInput, AIMessage],
    schema: Schema,
    method: Method,
    *,
    include_raw: bool,
) -> Runnable[LanguageModelInput, Any]:
    """The model, followed by a step that makes an object of its message.

    With `include_raw` the result is a dict of `raw`, `parsed` and `parsing_error`, and errors are
    not raised.
    """
    parser = _parser(schema, method)
    if not include_raw:
        return model | parser
    attempt = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failure = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | attempt.with_fallbacks([failure], exception_key="parsing_error")


def _parser(schema: Schema, method: Method) -> Runnable[AIMessage, Any]:
    typed = isinstance(schema, type) and is_basemodel_subclass(schema)
    if method == "function_calling":
        if typed:
            return PydanticToolsParser(tools=[schema], first_tool_only=True)
        name = convert_to_openai_tool(schema)["function"]["name"]
        return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
    return PydanticOutputParser(pydantic_object=schema) if typed else JsonOutputParser()
