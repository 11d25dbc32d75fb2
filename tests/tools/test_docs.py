from pathlib import Path

from agentlm.tools.graph.tools import FUNCTIONS
from agentlm.tools.permissions import load_permissions
from agentlm.tools.settings import ToolSettings
from agentlm.tools.toolbox import FAMILIES

PAGE = (Path(__file__).parents[2] / "docs" / "tools.md").read_text()


def test_every_family_and_function_is_on_the_page() -> None:
    for name in [*FAMILIES, *FUNCTIONS]:
        assert f"`{name}`" in PAGE, name


def test_every_setting_that_the_page_names_exists() -> None:
    named = {
        word.strip("`,.;:()=").partition("=")[0] for word in PAGE.split() if word.startswith("`")
    }
    prefixes = ("bash_", "sql_", "web_", "graph_", "tool_", "mcp_", "run_", "approval_")
    settings = {word for word in named if word.startswith(prefixes)}
    tools = {"sql_tables", "sql_schema", "web_fetch", "web_search"}
    assert settings - tools <= set(ToolSettings.model_fields)
    assert len(settings) > 15


def test_the_policy_on_the_page_is_one(tmp_path: Path) -> None:
    start = PAGE.index("    default: allow")
    text = "\n".join(line[4:] for line in PAGE[start:].split("\n\n")[0].splitlines())
    (tmp_path / "policy.yaml").write_text(text)
    policy = load_permissions(tmp_path / "policy.yaml")
    assert policy.permission("bash", "alice") == "allow"
    assert policy.permission("github__push", "alice") == "deny"
    assert policy.permission("bash", "bob") == "ask"
