"""openai-python, used directly: its typed methods, its streams and its WebSocket."""

import json
import time
from typing import Any

from openai import NotFoundError, OpenAI
from pydantic import BaseModel
from task import KEY, QUESTIONS, SYSTEM, TOOL, URL, WAY, get_weather, run

client = OpenAI(base_url=URL, api_key=KEY)


def create(socket: Any, streams: bool, **asked: Any) -> Any:
    """One response, as the SDK's own classes read it."""
    if socket is not None:
        socket.response.create(**asked)
        for event in socket:
            if event.type == "error":
                raise RuntimeError(event)
            if event.type in {"response.completed", "response.failed"}:
                return event.response
    if not streams:
        return client.responses.create(**asked)
    text = ""
    with client.responses.stream(**asked) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                text += event.delta
        response = stream.get_final_response()
    assert response.output_text == text
    return response


def items(model: str, streams: bool, socket: Any = None) -> list[str]:
    """The client keeps the items and sends all of them each time."""
    asked = {"model": model, "instructions": SYSTEM, "tools": [TOOL], "store": False}
    history: list[Any] = []
    answers = []
    for question in QUESTIONS:
        history.append({"role": "user", "content": question})
        while True:
            response = create(socket, streams, **asked, input=history)
            history += response.output
            results = results_of(response)
            if not results:
                break
            history += results
        answers.append(response.output_text)
    return answers


def previous_id(model: str, streams: bool, socket: Any = None) -> list[str]:
    """The bridge keeps the conversation: only what is new is sent."""
    asked: dict[str, Any] = {"model": model, "instructions": SYSTEM, "tools": [TOOL]}
    if socket is not None:
        asked["store"] = False
    answers = []
    for question in QUESTIONS:
        new: list[Any] = [{"role": "user", "content": question}]
        while new:
            response = create(socket, streams, **asked, input=new)
            asked["previous_response_id"] = response.id
            new = results_of(response)
        answers.append(response.output_text)
    return answers


def websocket(model: str, streams: bool) -> list[str]:
    with client.responses.connect() as socket:
        return previous_id(model, streams, socket)


def results_of(response: Any) -> list[Any]:
    return [
        {
            "type": "function_call_output",
            "call_id": item.call_id,
            "output": get_weather(**json.loads(item.arguments)),
        }
        for item in response.output
        if item.type == "function_call"
    ]


class Weather(BaseModel):
    city: str
    degrees: int


def parsed() -> Any:
    """An answer in the form of a class."""
    asked = {"model": "parsing", "input": "The weather?", "text_format": Weather}
    response = client.responses.parse(**asked, store=False)
    with client.responses.stream(**asked, store=False) as stream:
        streamed = stream.get_final_response()
    return [response.output_parsed.model_dump(), streamed.output_parsed.model_dump()]


def counted() -> Any:
    """How many tokens a prompt would have."""
    return (
        client.responses.input_tokens.count(model="parsing", input="The weather?").input_tokens > 0
    )


def compacted() -> Any:
    """A conversation goes on from its summary."""
    said = [{"role": "user", "content": "The weather?"}]
    summary = client.responses.compact(model="compacting", input=said).output
    said = [*summary, {"role": "user", "content": "And tomorrow?"}]
    return client.responses.create(model="compacting", input=said, store=False).output_text


def stored() -> Any:
    """What the bridge keeps of a response, until it is deleted."""
    response = client.responses.create(model="stored", input="The weather?")
    same = client.responses.retrieve(response.id)
    items = client.responses.input_items.list(response.id)
    client.responses.delete(response.id)
    try:
        client.responses.retrieve(response.id)
    except NotFoundError:
        gone = True
    return {
        "same": same.output_text == response.output_text and same.id == response.id,
        "items": [part.text for item in items for part in item.content],
        "gone": gone,
    }


def background() -> Any:
    """A response that is made while nobody waits for it, and its events from the second one on."""
    asked = {"model": "stored", "input": "The weather?", "background": True}
    response = client.responses.create(**asked)
    while response.status in {"queued", "in_progress"}:
        time.sleep(0.05)
        response = client.responses.retrieve(response.id)
    with client.responses.retrieve(response.id, stream=True, starting_after=0) as events:
        numbers = [event.sequence_number for event in events]
    return {
        "text": response.output_text,
        "events": numbers == list(range(1, len(numbers) + 1)),
        "cancelled": client.responses.cancel(response.id).status,
    }


if WAY == "items":
    run(items, parsed=parsed, counted=counted, compacted=compacted)
elif WAY == "previous id":
    run(previous_id, stored=stored, background=background)
else:
    run(websocket)
