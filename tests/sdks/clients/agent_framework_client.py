"""Microsoft's agent-framework: OpenAIChatClient, which speaks the Responses API."""

from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient
from task import KEY, QUESTIONS, SYSTEM, URL, WAY, get_weather, run

WAYS = {"defaults": {}, "store false": {"store": False}}


async def converse(model: str, streams: bool) -> list[str]:
    client = OpenAIChatClient(model, base_url=URL, api_key=KEY)
    agent = Agent(client, SYSTEM, tools=[get_weather], default_options=WAYS[WAY])
    session = agent.create_session()
    answers = []
    for question in QUESTIONS:
        if streams:
            stream = agent.run(question, stream=True, session=session)
            async for _ in stream:
                pass
            result = await stream.get_final_response()
        else:
            result = await agent.run(question, session=session)
        answers.append(result.messages[-1].text)
    return answers


run(converse)
