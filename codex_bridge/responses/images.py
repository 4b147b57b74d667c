"""Images: as data URLs that every Ollama reads, or a note in their place."""

from __future__ import annotations

import base64
import binascii
import io
import re
from functools import lru_cache

from attrs import frozen

BLIND = "[An image was left out: this model sees none.]"
TEXT_ONLY = "[An image was left out: only text can stand here.]"
REMOTE = "[An image was left out: only data URLs can be read here.]"
BROKEN = "[An image was left out: its data is damaged.]"
DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*;base64,", re.IGNORECASE)
SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
)
READABLE = frozenset({"png", "jpeg", "webp"})
"""The formats that Ollama reads."""
MAX_PIXELS = 40_000_000
"""Larger images are not converted: a file of a few bytes can expand to gigabytes."""


@frozen
class Picture:
    """An image as a data URL, or the note that takes its place."""

    url: str = ""
    note: str = ""


def is_remote(url: str) -> bool:
    """Whether `url` would have to be fetched, which the bridge never does."""
    return url[:5].lower() != "data:"


def read(url: str) -> Picture:
    """The image of a data URL in a format that Ollama reads. The same URL gives the same image."""
    if is_remote(url):
        return Picture(note=REMOTE)
    head = DATA_URL.match(url)
    if head is None:
        return Picture(note=BROKEN)
    # Ollama takes strict base64 only, without line ends.
    text = re.sub(r"\s", "", url[head.end() :])
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return Picture(note=BROKEN)
    # The first bytes tell the format; the media type in the URL is often wrong.
    kind = _kind(data)
    if kind in READABLE:
        return Picture(f"data:image/{kind};base64,{text}")
    return _converted(data, kind or (head[1] or "").rpartition("/")[2].lower())


def _kind(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((kind for signature, kind in SIGNATURES if data.startswith(signature)), "")


@lru_cache(maxsize=8)
def _converted(data: bytes, kind: str) -> Picture:
    """The image as PNG, if Pillow is installed and can read it."""
    try:
        from PIL import Image
    except ImportError:
        return Picture(
            note=f"[An image was left out: {kind or 'its format'} cannot be read here, "
            f"only png, jpeg and webp.]"
        )
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                return Picture(note="[An image was left out: it is too large.]")
            made = io.BytesIO()
            image.convert("RGBA" if image.has_transparency_data else "RGB").save(made, "PNG")
    except Exception:  # Pillow's readers may raise any exception.
        return Picture(note=BROKEN)
    return Picture(f"data:image/png;base64,{base64.b64encode(made.getvalue()).decode()}")
