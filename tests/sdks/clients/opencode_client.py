"""opencode, which runs its own tools."""

import json

from programs import call, folder
from task import KEY, QUESTIONS, URL, run


def converse(model: str, streams: bool) -> list[str]:
    place = folder()
    provider = {
        "npm": "@ai-sdk/openai",
        "name": "codex-bridge",
        "options": {"baseURL": URL, "apiKey": KEY},
        "models": {model: {}},
    }
    settings = {
        "model": f"bridge/{model}",
        "provider": {"bridge": provider},
        "permission": "allow",
        "autoupdate": False,
    }
    (place / "project" / "opencode.json").write_text(json.dumps(settings))
    answers = []
    for question, more in zip(QUESTIONS, ([], ["--continue"]), strict=True):
        said = call(
            place,
            ["run", "--format", "json", "--title", "Weather", *more, question],
            OPENCODE_DISABLE_MODELS_FETCH="1",
            OPENCODE_DISABLE_AUTOUPDATE="1",
            OPENCODE_DISABLE_LSP_DOWNLOAD="1",
        )
        events = [json.loads(line) for line in said.splitlines()]
        texts = [event["part"]["text"] for event in events if event["type"] == "text"]
        answers.append(texts[-1])
    return answers


run(converse)
