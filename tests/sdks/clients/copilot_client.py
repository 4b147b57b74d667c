"""GitHub Copilot CLI with a provider of its own, offline; it runs its own tools."""

from programs import call, folder
from task import KEY, QUESTIONS, URL, WAY, run


def converse(model: str, streams: bool) -> list[str]:
    place = folder()
    answers = []
    for question, more in zip(QUESTIONS, ([], ["--continue"]), strict=True):
        said = call(
            place,
            ["--prompt", question, "--silent", "--allow-all-tools", "--no-color", *more],
            COPILOT_OFFLINE="true",
            COPILOT_PROVIDER_BASE_URL=URL,
            COPILOT_PROVIDER_API_KEY=KEY,
            COPILOT_PROVIDER_WIRE_API="responses",
            COPILOT_PROVIDER_TRANSPORT="websockets" if WAY == "WebSocket" else "http",
            COPILOT_MODEL=model,
        )
        answers.append(said.strip().splitlines()[-1])
    return answers


run(converse)
