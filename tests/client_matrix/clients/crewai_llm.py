"""CrewAI's `LLM`, alone and under an agent."""

from __future__ import annotations

import openai
from crewai import LLM, Agent
from crewai.events import LLMStreamChunkEvent, crewai_event_bus
from crewai.tools import tool

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_of, holds, refused


def llm(model: str = q.MODEL, *, stream: bool = False) -> LLM:
    return LLM(
        model=model,
        provider="openai",
        base_url=q.URL,
        api_key=q.KEY,
        api=q.WIRE if q.WIRE == "responses" else "completions",
        stream=stream,
        max_retries=0,
    )


def text() -> None:
    equal(llm().call(q.HELLO), q.GREETING)


def stream() -> None:
    texts: list[str] = []
    with crewai_event_bus.scoped_handlers():

        @crewai_event_bus.on(LLMStreamChunkEvent)
        def add(_source: object, event: LLMStreamChunkEvent) -> None:
            texts.append(event.chunk)

        equal(llm(stream=True).call(q.HELLO), q.GREETING)
        crewai_event_bus.flush()
    equal(sorted("".join(texts)), sorted(q.GREETING))  # handlers run on threads, in any order
    assert len(texts) > 2, "it came in one piece"


def tool_call() -> None:
    asked: list[object] = []

    @tool("weather")
    def forecast(city: str, days: int) -> str:
        """Tell the weather of a city."""
        asked.append({"city": city, "days": days})
        return q.weather(city, days)

    agent = Agent(
        role="Forecaster", goal="Tell the weather", backstory="Old", llm=llm(), tools=[forecast]
    )
    answer = agent.kickoff(q.FORECAST)
    equal(asked, [q.ARGUMENTS])
    holds(answer.raw, q.FORECAST_ANSWER)


def structured() -> None:
    equal(llm().call(q.PLACE, response_model=q.Place), q.Place(**q.PLACE_READ))


def server_tool() -> None:
    equal(llm(q.AGENT).call(q.COMMAND), q.COMMAND_ANSWER)


def error() -> None:
    failure = error_of(lambda: llm(q.MISSING).call(q.HELLO))
    refused(failure, ValueError)
    assert isinstance(failure.__cause__, openai.NotFoundError), repr(failure.__cause__)


async def cancel() -> None:
    await check_cancels(llm().acall(q.counting(__name__)), __name__)
