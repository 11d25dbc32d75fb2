"""LangChain's own suites for chat models, against a real server.

`pytest -m slow tests/clients` runs them against the server at $LIVE_SERVER_URL (`…/v1`, and
$LIVE_SERVER_MODEL) too. What is skipped, and why:

* images, PDF, audio (`test_image_inputs`, `test_image_tool_message`, `test_pdf_inputs`,
  `test_pdf_tool_message`, `test_audio_inputs`): the models are text models, and the server refuses
  anything else by name; `test_langchain.py` tests that.
* `test_serdes`: LangChain loads only classes that its own table names.
* `test_stream_time`: times the replay of recorded HTTP traffic; nothing is recorded here.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from agentlm.clients.langchain import ChatAgentLM
from support.serving import Running

LIVE_URL = os.environ.get("LIVE_SERVER_URL")
LIVE_MODEL = os.environ.get("LIVE_SERVER_MODEL", "smollm2-135m")

pytestmark = pytest.mark.filterwarnings(
    # The suites test LangChain's beta functions too.
    "ignore::langchain_core._api.LangChainBetaWarning"
)


class TestUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[ChatAgentLM]:
        return ChatAgentLM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "tiny", "base_url": "http://127.0.0.1:8000/v1"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {"AGENTLM_BASE_URL": "http://example.org/v1", "AGENTLM_API_KEY": "secret"}
        expected = {"base_url": "http://example.org/v1", "api_key": "secret"}
        return environment, {"model": "tiny"}, expected


class Integration(ChatModelIntegrationTests):
    """What both servers are tested with."""

    url: str
    model_name: str

    @property
    def chat_model_class(self) -> type[ChatAgentLM]:
        return ChatAgentLM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": self.model_name, "base_url": self.url, "temperature": 0, "max_tokens": 200}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> dict[Any, Any]:
        details = ["reasoning_output", "cache_read_input"]
        return {"invoke": details, "stream": details}

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._answer({"type": "bash"}, stream=stream)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._answer(stream=stream)

    def _answer(self, *tools: Any, stream: bool) -> AIMessage:
        model = ChatAgentLM(**self.chat_model_params).bind_tools(tools)
        if not stream:
            return model.invoke("Hello")
        first, *rest = model.stream("Hello")
        for chunk in rest:
            first += chunk  # type: ignore[assignment]
        return first


class TestIntegration(Integration):
    model_name = "tiny"

    @pytest.fixture(autouse=True)
    def _server(self, server: Running) -> None:
        self.url = f"{server.url}/v1"

    @property
    def model_override_value(self) -> str:
        return "tuned"


class TestIntegrationByFunctionCalling(TestIntegration):
    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "function_calling"}


@pytest.mark.slow
@pytest.mark.skipif(LIVE_URL is None, reason="LIVE_SERVER_URL names no server")
class TestLive(Integration):
    url = LIVE_URL or ""
    model_name = LIVE_MODEL

    @property
    def supports_model_override(self) -> bool:
        return False  # one model is served

    @property
    def supports_json_mode(self) -> bool:
        # The mode promises an object, not which: this model writes {"setup": {"setup": {…
        return LIVE_MODEL != "smollm2-135m"
