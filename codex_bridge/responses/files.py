"""Files in a request: as text for the model, or why they are none."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from attrs import frozen

from codex_bridge.text import printable
from codex_bridge.vocabulary import Json

DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?P<options>[^,]*),", re.IGNORECASE)
LONGEST_NAME = 200
"""Characters of a file's name that the model is shown."""
TEXT_ALONE = "only text in UTF-8 can be read here"


@frozen
class Attached:
    """A file as the model reads it, or the reason why it cannot."""

    name: str
    text: str = ""
    problem: str = ""
    """Follows "the file x was left out: "; "" where there is no problem."""
    remedy: str = ""
    """What the client can do, as a sentence."""

    @property
    def shown(self) -> str:
        """What the model is shown: the text between marks, or a note."""
        if self.problem:
            return f"[The file {self.name} was left out: {self.problem}.]"
        return f'<file name="{self.name}">\n{self.text}\n</file>'


def read(part: Json) -> Attached:
    """The file of a content part, `input_file` or as in chat completions. Nothing is fetched.

    What counts is the content, not the type or the name: bytes that are UTF-8 are text.
    """
    file = part.get("file")
    given: Json = file if isinstance(file, dict) else part
    name = re.sub(r'[<>"]', "", printable(str(given.get("filename") or "file"), LONGEST_NAME))
    data = given.get("file_data")
    if not isinstance(data, str) or not data:
        return Attached(name, problem=_absence(given), remedy="Send its content as file_data.")
    head = DATA_URL.match(data)
    content = _decoded(data, head)
    if content is None:
        return Attached(
            name,
            problem="its data is damaged",
            remedy="Send file_data in base64, or as a data URL (data:text/plain;base64,…).",
        )
    text = _text(content)
    if text is None:
        kind = printable(head["type"], LONGEST_NAME) if head and head["type"] else ""
        return Attached(
            name,
            problem=f"{TEXT_ALONE}, and it is {kind or 'none'}",
            remedy="Send its text, in UTF-8, or its pages as images.",
        )
    return Attached(name, text)


def _absence(given: Json) -> str:
    if given.get("file_id"):
        return "codex-bridge keeps no files, so its file_id means nothing here"
    if given.get("file_url"):
        return "codex-bridge fetches nothing, so its file_url is not read"
    return "it has no file_data"


def _decoded(data: str, head: Any) -> bytes | None:
    """The bytes of `file_data`; `head` is the match of a data URL. None for damaged base64."""
    body = data[head.end() :] if head else data
    if head and "base64" not in head["options"].lower():
        return unquote_to_bytes(body)
    try:
        return base64.b64decode(re.sub(r"\s", "", body), validate=True)
    except (binascii.Error, ValueError):
        return None


def _text(content: bytes) -> str | None:
    """The text that `content` is; None if it is none. A PDF may be written in letters alone."""
    if b"\0" in content or content.startswith(b"%PDF-"):
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
