"""The contents of items: text, images, and notes in place of what cannot be shown."""

from __future__ import annotations

from typing import Any

import orjson

from codex_bridge.errors import invalid
from codex_bridge.responses import files, images
from codex_bridge.responses.images import Picture
from codex_bridge.vocabulary import Json

AGENT_KEYS = {"author", "recipient", "content"}
OTHER_LIMIT = 10_000
"""Characters that are shown of an unknown item or part."""
HIDDEN = ("type", "id", "call_id", "status", "encrypted_content")
OTHER_TEXTS = ("content", "output", "text", "summary", "result")
"""Where items of unknown kinds have their text."""
DATA_LEFT_OUT = "[Data was left out: only text can stand here.]"
PATCH_RESULT = "apply_patch_call_output"
IMAGE_GENERATION = "image_generation_call"
"""The kind of item whose result is a picture in base64."""
IMAGE_PARTS = ("input_image", "image_url", "computer_screenshot")
"""The types of the Responses API, and that of chat completions."""
FILE_PARTS = ("input_file", "file")
"""The type of the Responses API, and that of chat completions."""
OTHER_MEDIA = {
    "input_audio": "[A sound was left out: it cannot be heard here.]",
    "input_video": "[A video was left out: it cannot be seen here.]",
}
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
    shown = _shown(item)
    if len(shown) == 1 and (key := next(iter(shown))) in OTHER_TEXTS:
        value = shown[key]
        if text := value if isinstance(value, str) else joined(value):
            return _cut(text)
    if not shown and item.get("type") == IMAGE_GENERATION:
        return "[A picture was made here.]"
    if not shown and item.get("encrypted_content"):
        return "[What this holds is encrypted.]"
    return _as_json(shown)


def _shown(value: Json) -> Json:
    """The fields of an unknown object that say something. False and 0 do."""
    return {
        key: _without_data(field)
        for key, field in value.items()
        if key not in HIDDEN and field not in (None, "", [], {})
    }


def _without_data(value: Any) -> Any:
    """A value with a note in place of each data URL, which is no text."""
    if isinstance(value, str) and value[:5].lower() == "data:" and "base64," in value[:200]:
        return images.TEXT_ONLY if value[5:10].lower() == "image" else DATA_LEFT_OUT
    if isinstance(value, list):
        return list(map(_without_data, value))
    if isinstance(value, dict):
        return {key: _without_data(each) for key, each in value.items()}
    return value


def _as_json(shown: Json) -> str:
    return _cut(orjson.dumps(shown).decode()) if shown else ""


def _cut(text: str) -> str:
    more = len(text) - OTHER_LIMIT
    return text if more <= 0 else f"{text[:OTHER_LIMIT]}… [{more} more characters were left out]"


def result_content(item: Json, *, sees: bool) -> tuple[str, list[Json]]:
    """The result in an item that answers a call: as text, and the chat parts of its images."""
    text, pictures = output_content(item.get("output"), sees=sees)
    if not text and not pictures and item.get("type") == PATCH_RESULT:
        # Its output may be left out; then the status is all that it says.
        text = str(item.get("status") or "")
    return text, pictures


def output_content(output: Any, *, sees: bool) -> tuple[str, list[Json]]:
    """A tool's result as text, and the chat parts of its images."""
    if isinstance(output, str):
        return output, []
    if isinstance(output, list) or (isinstance(output, dict) and _is_image(output)):
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
        if _is_image(part):
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
    kind = str(part.get("type"))
    if kind in FILE_PARTS:
        return files.read(part).shown
    if kind in OTHER_MEDIA:
        return OTHER_MEDIA[kind]
    texts = [part[key] for key in TEXT_KEYS if isinstance(part.get(key), str)]
    if texts:
        return str(max(texts, key=len))
    if kind == "encrypted_content":
        # Codex gives this key to what one agent says to another. The text is not encrypted.
        return str(part.get("encrypted_content") or "")
    if isinstance(part.get("stdout"), str):
        return _command_output(part)
    return _as_json(_shown(part))


def _command_output(part: Json) -> str:
    """What a command printed, and how it ended, in a part of a `shell_call_output`."""
    outcome = part.get("outcome")
    code = outcome.get("exit_code") if isinstance(outcome, dict) else None
    ended = f"exit code: {code}" if code is not None else ""
    if isinstance(outcome, dict) and outcome.get("type") == "timeout":
        ended = "timed out"
    return "\n".join(str(text) for text in (part["stdout"], part.get("stderr"), ended) if text)


def _is_image(part: Json) -> bool:
    return part.get("type") in IMAGE_PARTS


def refuse_unreadable(content: Any, where: str) -> None:
    """Raises ApiError (400) for an image or a file in a user's message that nobody can read.

    `where` is the place of the content in the request, such as `input[3].content`.
    """
    is_list = isinstance(content, list)
    for n, part in enumerate(content if is_list else [content]):
        if not isinstance(part, dict):
            continue
        place = f"{where}[{n}]" if is_list else where
        if _is_image(part):
            _refuse_remote_image(part, place)
        elif part.get("type") in FILE_PARTS:
            file = files.read(part)
            if file.problem:
                raise invalid(
                    f"{place} is a file that cannot be read: {file.problem}. {file.remedy}",
                    place,
                    "unsupported_file",
                )


def _refuse_remote_image(part: Json, place: str) -> None:
    url = _url(part)
    if isinstance(url, str) and images.is_remote(url):
        raise invalid(
            f"{place}.image_url must be a data URL (data:image/png;base64,…): codex-bridge "
            f"fetches nothing. Download the image and send its data.",
            place,
        )
    if not url and part.get("file_id"):
        raise invalid(
            f"{place}.file_id means nothing here: codex-bridge keeps no files. Send the image as "
            f"a data URL (data:image/png;base64,…) in image_url.",
            place,
        )


def _url(part: Json) -> Any:
    """An image's URL; in a part of chat completions it stands in an object."""
    url = part.get("image_url")
    return url.get("url") if isinstance(url, dict) else url


def _picture(part: Json) -> Picture:
    url = _url(part)
    return images.read(url) if isinstance(url, str) else Picture(note=images.REMOTE)
