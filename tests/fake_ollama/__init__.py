"""A fake Ollama: a scripted model behind a server as strict as the real one.

    fake = FakeOllama(reactor, model=Playlist([Say("Hello")], [Call("exec_command", {...})]))
    fake.listen()
    ...
    fake.chats[0].json        # what the first chat request asked
    fake.chats[0].effective   # what of it the model really got
    fake.native_chats         # the same for /api/chat; fake.turns has both, in order
    fake.loads                # every load of a model since the start: (name, context)
    await fake.stop()

Alone: `python -m tests.fake_ollama --port 11433`.
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
