"""The OpenAI Agents SDK for Python."""

from agents import (
    Agent,
    OpenAIProvider,
    RunConfig,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from task import KEY, QUESTIONS, SYSTEM, URL, WAY, get_weather, run

set_tracing_disabled(True)
WEBSOCKET = WAY == "WebSocket"


async def converse(model: str, streams: bool) -> list[str]:
    provider = OpenAIProvider(
        base_url=URL, api_key=KEY, use_responses=True, use_responses_websocket=WEBSOCKET
    )
    agent = Agent("Weather", instructions=SYSTEM, model=model, tools=[function_tool(get_weather)])
    memory = {"session": SQLiteSession(model)} if WAY != "previous id" else {}
    answers = []
    for question in QUESTIONS:
        options = {**memory, "run_config": RunConfig(model_provider=provider)}
        if streams or WEBSOCKET:
            result = Runner.run_streamed(agent, question, **options)
            async for _ in result.stream_events():
                pass
        else:
            result = await Runner.run(agent, question, **options)
        if WAY == "previous id":
            memory = {"previous_response_id": result.last_response_id}
        answers.append(result.final_output)
    await provider.aclose()
    return answers


run(converse)
