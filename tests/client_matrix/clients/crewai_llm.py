"""CrewAI's `LLM`, alone and under an agent."""

from __future__ import annotations

from crewai import LLM, Agent
from crewai.events import LLMStreamChunkEvent, crewai_event_bus
from crewai.tools import tool
from pydantic import BaseModel

from client_matrix.questions import (
    AGENT,
    ARGUMENTS,
    COMMAND,
    COMMAND_ANSWER,
    FORECAST,
    FORECAST_ANSWER,
    GREETING,
    HELLO,
    KEY,
    MISSING,
    MODEL,
    PLACE,
    PLACE_READ,
    URL,
    equal,
    error_of,
    holds,
    refused,
    weather,
)


class Place(BaseModel):
    """A place."""

    name: str
    rivers: int


def llm(model: str = MODEL, *, stream: bool = False) -> LLM:
    return LLM(
        model=model,
        provider="openai",
        base_url=URL,
        api_key=KEY,
        stream=stream,
        max_retries=0,
    )


def text() -> None:
    equal(llm().call(HELLO), GREETING)


def stream() -> None:
    texts: list[str] = []
    with crewai_event_bus.scoped_handlers():

        @crewai_event_bus.on(LLMStreamChunkEvent)
        def add(_source: object, event: LLMStreamChunkEvent) -> None:
            texts.append(event.chunk)

        equal(llm(stream=True).call(HELLO), GREETING)
        crewai_event_bus.flush()
    equal(sorted("".join(texts)), sorted(GREETING))  # handlers run on threads, in any order
    assert len(texts) > 2, "it came in one piece"


def tool_call() -> None:
    asked: list[object] = []

    @tool("weather")
    def forecast(city: str, days: int) -> str:
        """Tell the weather of a city."""
        asked.append({"city": city, "days": days})
        return weather(city, days)

    agent = Agent(
        role="Forecaster", goal="Tell the weather", backstory="Old", llm=llm(), tools=[forecast]
    )
    answer = agent.kickoff(FORECAST)
    equal(asked, [ARGUMENTS])
    holds(answer.raw, FORECAST_ANSWER)


def structured() -> None:
    equal(llm().call(PLACE, response_model=Place), Place(**PLACE_READ))


def server_tool() -> None:
    equal(llm(AGENT).call(COMMAND), COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: llm(MISSING).call(HELLO)), Exception)
