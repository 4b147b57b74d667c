"""A fake Ollama: a scripted model behind a server as strict as Ollama 0.13.4 and later.

Codex refuses older versions.

    fake = FakeOllama(reactor, model=Playlist([Say("Hello")], [Call("exec_command", {...})]))
    fake.listen()
    ...
    fake.chats[0].json        # what the first chat request asked
    fake.chats[0].effective   # what of that reached the model
    fake.native_chats         # the same for /api/chat
    fake.raw_turns            # the same for the model's own words; fake.turns has all, in order
    fake.loads                # every load of a model: (name, context)
    await fake.stop()

As a program: `python -m tests.fake_ollama --port 11433`.
"""

from tests.fake_ollama.facts import ModelFacts, Rejected
from tests.fake_ollama.script import (
    Answer,
    Call,
    Calls,
    Die,
    Finish,
    Fragments,
    Hold,
    Model,
    Pause,
    Playlist,
    Raw,
    Refuse,
    Say,
    Think,
    demo_model,
)
from tests.fake_ollama.server import FakeOllama, Recorded

__all__ = [
    "Answer",
    "Call",
    "Calls",
    "Die",
    "FakeOllama",
    "Finish",
    "Fragments",
    "Hold",
    "Model",
    "ModelFacts",
    "Pause",
    "Playlist",
    "Raw",
    "Recorded",
    "Refuse",
    "Rejected",
    "Say",
    "Think",
    "demo_model",
]
