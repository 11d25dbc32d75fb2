import threading
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from agentlm.agent.tool import ToolContext
from agentlm.errors import OperatorError
from agentlm.messages import ToolCall
from agentlm.tools import functions
from agentlm.tools.settings import ToolSettings
from agentlm.tools.toolbox import Toolbox

MakeSettings = Callable[..., ToolSettings]
WEATHER = '''
from typing import Annotated, Literal
import threading
from pydantic import Field
from agentlm.agent import ToolContext, ToolError

def weather(
    city: Annotated[str, Field(description="Name of a city.")],
    unit: Literal["C", "F"] = "C",
) -> str:
    """Tell the weather of a city."""
    if city == "Atlantis":
        raise ToolError("it is under water")
    return f"{city}: 20 {unit}"

async def whose(context: ToolContext) -> dict[str, str]:
    """Tell whose call it is."""
    return {"owner": context.owner, "trajectory": context.trajectory_id}

def thread() -> str:
    """Tell the thread."""
    return threading.current_thread().name

def broken() -> str:
    """Break."""
    raise KeyError("bug")

def undocumented(x): ...
def _private() -> str:
    """Not offered."""
'''


def call(name: str, arguments: str = "{}") -> ToolCall:
    return ToolCall(id="call_1", name=name, arguments=arguments)


@pytest.fixture
def weather(tmp_path: Path) -> Path:
    path = tmp_path / "weather.py"
    path.write_text(WEATHER)
    return path


async def test_a_function_with_hints_and_a_docstring_is_a_tool(
    make_settings: MakeSettings, weather: Path
) -> None:
    toolbox = await Toolbox.open(make_settings(tool_files=(weather,)), ["weather"])
    tools = toolbox.for_request(["weather"])
    context = ToolContext("traj_1", "me")
    specs = {spec.name: spec for spec in tools.specs()}
    assert sorted(specs) == ["broken", "thread", "weather", "whose"]
    assert specs["weather"].description == "Tell the weather of a city."
    assert specs["weather"].parameters["properties"] == {
        "city": {"description": "Name of a city.", "type": "string"},
        "unit": {"default": "C", "enum": ["C", "F"], "type": "string"},
    }
    assert specs["whose"].parameters["properties"] == {}
    assert (await tools.call(call("weather", '{"city": "Bonn"}'), context)).text == "Bonn: 20 C"
    assert (
        "under water" in (await tools.call(call("weather", '{"city": "Atlantis"}'), context)).text
    )
    assert "unit" in (await tools.call(call("weather", '{"city": "x", "unit": 3}'), context)).text
    whose = await tools.call(call("whose"), context)
    assert whose.text == '{"owner": "me", "trajectory": "traj_1"}'
    assert (await tools.call(call("thread"), context)).text != threading.current_thread().name
    with pytest.raises(KeyError):
        await tools.call(call("broken"), context)
    await toolbox.close()


async def test_an_installed_package_brings_tools_by_its_entry_point(
    make_settings: MakeSettings, weather: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(weather.parent)
    points = [EntryPoint("forecast", "weather:weather", functions.GROUP)]
    monkeypatch.setattr(functions, "entry_points", lambda group: points)
    toolbox = await Toolbox.open(make_settings(), ["forecast"])
    (spec,) = toolbox.for_request(["forecast"]).specs()
    await toolbox.close()
    assert spec.name == "weather"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def f(x) -> str:\n    '''Doc.'''\n", "x has no type hint"),
        ("def f(*x: str) -> str:\n    '''Doc.'''\n", r"\*x can't be described"),
        ("def f(x: object()) -> str:\n    '''Doc.'''\n", "can't|no schema|not"),
        ("x = 1\n", "no public function with a docstring"),
        ("import nowhere_to_be_found\n", "ModuleNotFoundError"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def bash(command: str) -> str:\n    '''Mine.'''\n", "two tools are called bash"),
    ],
)
async def test_a_file_that_is_no_tool_is_the_operators_error(
    make_settings: MakeSettings, tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "own.py"
    path.write_text(text)
    with pytest.raises(OperatorError, match=reason):
        await Toolbox.open(make_settings(tool_files=(path,)), ["bash", "own"])
    with pytest.raises(OperatorError, match="there is no Python file"):
        await Toolbox.open(make_settings(tool_files=(tmp_path / "none.py",)), ["none"])
