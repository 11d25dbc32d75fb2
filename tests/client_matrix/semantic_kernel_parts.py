"""What both of Semantic Kernel's clients are given: OpenAI's client, and a plugin."""

from __future__ import annotations

import openai
from semantic_kernel.functions import kernel_function

from client_matrix import questions as q


class Sky:
    """A plugin that remembers what it was asked."""

    asked: list[object]

    def __init__(self) -> None:
        self.asked = []

    @kernel_function(name="weather", description="Tell the weather of a city.")
    def weather(self, city: str, days: int) -> str:
        self.asked.append({"city": city, "days": days})
        return q.weather(city, days)


def openai_client() -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=q.URL, api_key=q.KEY, max_retries=0)
