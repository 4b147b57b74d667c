"""PydanticAI: OpenAIResponsesModel."""

from collections.abc import AsyncIterable
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from task import KEY, QUESTIONS, SYSTEM, URL, WAY, get_weather, run

WAYS = {
    "items": {},
    "items, send_reasoning_ids": {"openai_send_reasoning_ids": True},
    "previous id": {"openai_previous_response_id": "auto"},
    "WebSocket": {"openai_transport": "websocket"},
}


async def read(_: Any, events: AsyncIterable[Any]) -> None:
    """Read the stream; the agent goes on by itself."""
    async for _event in events:
        pass


async def converse(model: str, streams: bool) -> list[str]:
    responses = OpenAIResponsesModel(model, provider=OpenAIProvider(base_url=URL, api_key=KEY))
    agent = Agent(responses, instructions=SYSTEM, tools=[get_weather], model_settings=WAYS[WAY])
    history = None
    answers = []
    async with agent:
        for question in QUESTIONS:
            handler = read if streams else None
            result = await agent.run(
                question, message_history=history, event_stream_handler=handler
            )
            answers.append(result.output)
            history = result.all_messages()
    return answers


run(converse)
