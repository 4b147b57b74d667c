"""The contents of items: text, images, and notes in place of what cannot be shown."""

from __future__ import annotations

from typing import Any

import orjson

from codex_bridge.errors import invalid
from codex_bridge.responses import images
from codex_bridge.responses.images import Picture
from codex_bridge.vocabulary import Json

AGENT_KEYS = {"author", "recipient", "content"}
OTHER_LIMIT = 2000
"""Characters that are shown of an unknown item or part."""
HIDDEN = ("type", "id", "call_id", "status", "encrypted_content")
IMAGE_GENERATION = "image_generation_call"
"""The kind of item whose result is a picture in base64."""
IMAGE_PARTS = ("input_image", "image_url")
"""The type of the Responses API, and that of chat completions."""
TEXT_KEYS = ("text", "refusal")


def agent_text(item: Json) -> str:
    """What one agent wrote to another. Codex names the text `encrypted_content`, in plain text."""
    parts = item.get("content")
    if isinstance(parts, str):
        parts = [{"text": parts}]
    texts = [
        part.get("text") or part.get("encrypted_content")
        for part in (parts if isinstance(parts, list) else [])
        if isinstance(part, dict)
    ]
    text = "\n".join(text for text in texts if isinstance(text, str))
    return f"from {item.get('author')} to {item.get('recipient')}:\n{text}"


def agent_task(text: str) -> Json | None:
    """The task for an agent that is the text of an assistant message, as Codex 0.130 sends it."""
    if not text.startswith('{"') or '"recipient"' not in text:
        return None
    try:
        task = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    is_task = isinstance(task, dict) and task.keys() >= AGENT_KEYS
    return task if is_task and all(isinstance(task[key], str) for key in AGENT_KEYS) else None


def other_text(item: Json) -> str:
    """What is shown of an item of an unknown kind: its text, else the item itself, shortened.

    "" for an item that holds nothing.
    """
    if item.get("type") == IMAGE_GENERATION:
        item = {key: value for key, value in item.items() if key != "result"}
    for key in ("content", "output", "text", "summary", "result"):
        value = item.get(key)
        if text := value if isinstance(value, str) else joined(value):
            return _cut(text)
    shown = {key: value for key, value in item.items() if key not in HIDDEN and value}
    return _cut(orjson.dumps(shown).decode()) if shown else ""


def _cut(text: str) -> str:
    return text if len(text) <= OTHER_LIMIT else f"{text[:OTHER_LIMIT]}…"


def output_content(output: Any, *, sees: bool) -> tuple[str, list[Json]]:
    """A tool's result as text, and the chat parts of its images."""
    if isinstance(output, str):
        return output, []
    if isinstance(output, list):
        text, images = text_and_images(output, sees=sees)
        return text or ("The images follow." if images else ""), images
    return "" if output is None else orjson.dumps(output).decode(), []


def user_content(content: Any, *, sees: bool) -> str | list[Json]:
    """A user message's content: a string, or parts where there are images."""
    if isinstance(content, str):
        return content
    text, pictures = text_and_images(content, sees=sees)
    if not pictures:
        return text
    return ([{"type": "text", "text": text}] if text else []) + pictures


def text_and_images(
    content: Any, *, sees: bool, note: str = images.BLIND
) -> tuple[str, list[Json]]:
    """The texts of content parts, one below the other, and their images as chat parts.

    An image that the model cannot be shown is replaced by a note. For a model that `sees` nothing
    that is `note`.
    """
    texts: list[str] = []
    shown: list[Json] = []
    for part in _parts(content):
        if part.get("type") in IMAGE_PARTS:
            picture = _picture(part) if sees else Picture(note=note)
            if picture.url:
                shown.append({"type": "image_url", "image_url": {"url": picture.url}})
            else:
                texts.append(picture.note)
        elif text := _part_text(part):
            texts.append(text)
    return "\n".join(texts), shown


def _parts(content: Any) -> list[Json]:
    """The parts of a content; a bare string counts as a part."""
    if isinstance(content, dict):
        content = [content]
    parts = content if isinstance(content, list) else []
    made = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return [part for part in made if isinstance(part, dict)]


def item_text(item: Json) -> str:
    """All text of a message."""
    content = item.get("content")
    return content if isinstance(content, str) else joined(content)


def reasoning_text(item: Json) -> str:
    """The reasoning of an item: its full text, else its summary."""
    return joined(item.get("content")) or joined(item.get("summary"))


def joined(parts: Any) -> str:
    """The texts of content parts, one below the other."""
    return text_and_images(parts, sees=False, note=images.TEXT_ONLY)[0]


def _part_text(part: Json) -> str:
    """The text of a content part; for a part without text a note, or the part as JSON."""
    kind = part.get("type")
    if kind == "input_file":
        return f"[The file {part.get('filename', '')} was left out: it cannot be read here.]"
    if kind == "input_audio":
        return "[A sound was left out: it cannot be heard here.]"
    texts = [part[key] for key in TEXT_KEYS if isinstance(part.get(key), str)]
    if texts:
        return str(max(texts, key=len))
    if kind == "encrypted_content":
        # Codex gives this key to what one agent says to another. The text is not encrypted.
        return str(part.get("encrypted_content") or "")
    shown = {key: value for key, value in part.items() if key not in HIDDEN and value}
    return _cut(orjson.dumps(shown).decode()) if shown else ""


def refuse_remote_images(content: Any) -> None:
    """Raises ApiError (400) for an image in a user's message that would have to be fetched."""
    for part in _parts(content):
        url = _url(part) if part.get("type") in IMAGE_PARTS else None
        if isinstance(url, str) and images.is_remote(url):
            raise invalid(
                "input_image.image_url must be a data URL (data:image/png;base64,…): codex-bridge "
                "fetches nothing. Download the image and send its data.",
                "input",
            )


def _url(part: Json) -> Any:
    """An image's URL; in a part of chat completions it stands in an object."""
    url = part.get("image_url")
    return url.get("url") if isinstance(url, dict) else url


def _picture(part: Json) -> Picture:
    url = _url(part)
    return images.read(url) if isinstance(url, str) else Picture(note=images.REMOTE)
