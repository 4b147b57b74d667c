"""The clients and the ways in which each carries a conversation; what the model then sees.

`python -m tests.sdks.table` writes the table into docs/clients.md.
"""

from __future__ import annotations

from pathlib import Path

from attrs import evolve, field, frozen

from tests.fake_ollama import Call
from tests.processes import ROOT
from tests.sdks.conversation import RESULT, WEATHER, Reasoning
from tests.sdks.install import version

SCRIPTS = Path(__file__).parent / "clients"
PAGE = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- table: made by `python -m tests.sdks.table` -->", "<!-- end of table -->"
SHELL = Call("bash", {"command": f"echo {RESULT}", "description": "Ask the weather service"})
"""The call to an agent that has tools of its own."""


@frozen
class Way:
    """How a client carries a conversation from one request to the next.

    `words`: how the docs say it. `reasoning`: which of its earlier reasoning the model sees.
    `broken`: why this does not work; empty if it does.
    """

    name: str
    words: str
    reasoning: Reasoning = "all"
    broken: str = ""


@frozen
class Client:
    """A client, its script and the environment that this runs in.

    `environment`: as in install.py. `program`: an agent, which the environment has and a script
    for the tests' own Python starts. `arguments`: of the script.
    """

    name: str
    package: str
    script: str
    environment: str
    ways: tuple[Way, ...]
    program: str = ""
    arguments: tuple[str, ...] = ()
    call: Call = field(default=WEATHER)


ITEMS = Way("items", "all items")
BY_ID = Way("previous id", "`previous_response_id`")
STORE_FALSE = Way("store false", "`store` false: all items")
BY_SOCKET = Way("WebSocket", "WebSocket")

CLIENTS = (
    Client("openai-python", "openai", "openai_python.py", "python", (ITEMS, BY_ID, BY_SOCKET)),
    Client("openai-node", "npm:openai", "openai_node.mjs", "node", (ITEMS, BY_ID, BY_SOCKET)),
    Client(
        "OpenAI Agents SDK",
        "openai-agents",
        "openai_agents.py",
        "python",
        (Way("session", "all items (session)"), BY_ID, BY_SOCKET),
    ),
    *(
        Client(
            f"Vercel AI SDK {n}",
            f"npm:ai-{n}",
            "ai_sdk.mjs",
            "node",
            (
                Way("defaults", "defaults: `item_reference`"),
                Way("defaults, reasoning model", "`forceReasoning`: `item_reference`"),
                STORE_FALSE,
                Way("store false, reasoning model", "`store` and `forceReasoning`: all items"),
            ),
            arguments=(n,),
        )
        for n in ("6", "7")
    ),
    Client(
        "LangChain",
        "langchain-openai",
        "langchain_client.py",
        "python",
        (ITEMS, STORE_FALSE, BY_ID),
    ),
    Client(
        "PydanticAI",
        "pydantic-ai-slim",
        "pydantic_ai_client.py",
        "python",
        (
            evolve(ITEMS, reasoning="as text"),
            Way("items, send_reasoning_ids", "`openai_send_reasoning_ids`: all items"),
            BY_ID,
            BY_SOCKET,
        ),
    ),
    Client(
        "LlamaIndex",
        "llama-index-llms-openai",
        "llama_index_client.py",
        "llama_index",
        (evolve(ITEMS, reasoning="none"), BY_ID),
    ),
    Client(
        "LiteLLM",
        "litellm",
        "litellm_client.py",
        "python",
        (ITEMS, BY_ID, Way("chat completions", "`completion`: all items")),
    ),
    Client(
        "Microsoft agent-framework",
        "agent-framework-openai",
        "agent_framework_client.py",
        "python",
        (Way("defaults", "defaults: `previous_response_id`"), STORE_FALSE),
    ),
    Client(
        "opencode",
        "npm:opencode-ai",
        "opencode_client.py",
        "node",
        (ITEMS,),
        program="opencode",
        call=SHELL,
    ),
    Client(
        "GitHub Copilot CLI",
        "npm:@github/copilot",
        "copilot_client.py",
        "node",
        (evolve(ITEMS, reasoning="answer"), evolve(BY_SOCKET, reasoning="answer")),
        program="copilot",
        call=SHELL,
    ),
)

REASONING = {
    "all": ("all", "all"),
    "as text": ("all, reasoning as text", "all, reasoning as text"),
    "answer": ("all", "all but reasoning"),
    "none": ("all but reasoning", "all but reasoning"),
}
"""What the table says of a way whose model sees so much of its reasoning."""


def table() -> str:
    """The table of docs/clients.md: what the model sees of a conversation, client by client."""
    head = ["client", "version", "what it sends", "behind a call", "in the next turn"]
    rows = [head, ["---"] * len(head)]
    for client in CLIENTS:
        for way in client.ways:
            sees = ("nothing", way.broken) if way.broken else REASONING[way.reasoning]
            rows.append([client.name, version(client.package), way.words, *sees])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def page() -> str:
    """docs/clients.md with the table in it."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page())
