"""Items of every kind, and what in them is no text."""

from __future__ import annotations

import base64
import io
import sys
from typing import Any

import pytest
from PIL import Image

from codex_bridge.errors import ApiError
from codex_bridge.responses import request
from codex_bridge.responses.images import BLIND, BROKEN, REMOTE, TEXT_ONLY, _converted, read
from tests.responses.items import (
    IMAGE,
    IMAGE_PART,
    Json,
    assistant,
    call,
    chat_call,
    message,
    messages,
    reasoning,
    result,
    tool,
    user,
)

CASES = {
    "of unknown items a short text is left": (
        [
            message("user", "x"),
            {"type": "of tomorrow", "data": 1, "id": "ot_1"},
            {"type": "web_search_call", "action": {"type": "search", "query": "y"}},
            {"type": "noted", "content": [{"type": "text", "text": "z"}]},
        ],
        [
            user("x"),
            user('<of_tomorrow>\n{"data":1}\n</of_tomorrow>'),
            user('<web_search_call>\n{"action":{"type":"search","query":"y"}}\n</web_search_call>'),
            user("<noted>\nz\n</noted>"),
        ],
    ),
    "items without a word for the model leave no trace": (
        [
            {"type": "ghost_snapshot", "ghost_commit": {"id": "1"}},
            {"type": "message", "role": "developer", "content": "d"},
            message("user", "x"),
            {"type": "configuration_update", "reasoning": {"effort": "low"}},
            {"type": "context_compaction"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        ],
        [{"role": "system", "content": "d"}, user("x")],
    ),
    "0.130 hands a task to an agent in a message of the model": (
        [
            message("user", "x"),
            message("assistant", '{"author":"/root","recipient":"/root/a","content":"dig"}'),
        ],
        [user("x"), user("<agent_message>\nfrom /root to /root/a:\ndig\n</agent_message>")],
    ),
}


@pytest.mark.parametrize(("items", "expected"), CASES.values(), ids=CASES.keys())
def test_items_that_are_no_words_of_user_or_model(items: list[Json], expected: list[Json]) -> None:
    assert messages(*items) == expected


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "markdown", "text": "hello"}], "hello"),
        ([{"text": "hello"}], "hello"),
        (["hello", {"type": "input_text", "text": "you"}], "hello\nyou"),
        ({"type": "input_text", "text": "hello"}, "hello"),
        ([{"type": "refusal", "refusal": "no"}], "no"),
        ([{"type": "encrypted_content", "encrypted_content": "hello"}], "hello"),
        ([{"type": "json", "json": {"a": 1}}], '{"json":{"a":1}}'),
        ([{"type": "input_text", "text": ["a"]}], '{"text":["a"]}'),
        ([{"type": "input_text", "text": ""}, None, 5], ""),
        (
            [{"type": "blob", "data": 10000 * "A"}],
            f'{{"data":"{9991 * "A"}… [11 more characters were left out]',
        ),
        ([{"type": "image_url", "image_url": {"url": IMAGE["image_url"]}}], BLIND),
    ],
)
def test_parts_of_every_kind_leave_their_text(content: Any, text: str) -> None:
    asked = {"type": "message", "role": "user", "content": content}
    assert messages(asked, sees=False) == [user(text)]
    if isinstance(content, list):
        assert messages(call("a"), result("a", content), sees=False)[-1] == tool("a", text)


def test_a_picture_as_chat_completions_have_it_is_shown() -> None:
    part = {"type": "image_url", "image_url": {"url": IMAGE["image_url"]}}
    (shown,) = messages({"type": "message", "role": "user", "content": [part]})
    assert shown["content"] == [IMAGE_PART]
    remote = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    with pytest.raises(ApiError, match="data URL"):
        request.read({"model": "m", "input": [{"role": "user", "content": [remote]}]})


def test_a_picture_in_an_instruction_is_shown_where_one_can_stand() -> None:
    told = {"type": "message", "role": "developer", "content": [IMAGE]}
    first, _, shown = messages(told, message("user", "x"), told)
    assert first["content"] == TEXT_ONLY
    assert shown["content"] == [IMAGE_PART]
    *_, blind = messages(told, message("user", "x"), told, sees=False)
    assert BLIND in blind["content"]


def test_the_data_of_a_picture_that_was_made_is_no_text() -> None:
    made = {"type": "image_generation_call", "result": 600 * "iVBOR"}
    assert "A picture was made" in messages(made)[0]["content"]
    assert "iVBOR" not in messages(made)[0]["content"]
    made["revised_prompt"] = "a cat"
    assert "a cat" in messages(made)[0]["content"]
    assert "iVBOR" not in messages(made)[0]["content"]


def test_an_unknown_item_that_is_encrypted_leaves_a_note() -> None:
    sealed = {"type": "new_kind", "id": "nk_1", "encrypted_content": "gAAAA"}
    assert "encrypted" in messages(sealed)[0]["content"]


def picture(kind: str, **options: Any) -> str:
    data = io.BytesIO()
    Image.new("RGB", (2, 2), "blue").save(data, kind, **options)
    return base64.b64encode(data.getvalue()).decode()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_picture_that_ollama_reads_stays_as_it_is_whatever_it_is_called(kind: str) -> None:
    data = picture(kind)
    right = f"data:image/{kind};base64,{data}"
    for url in (right, f"data:image/x-odd;charset=utf-8;base64,{data}", f"data:;base64,{data}"):
        assert read(url).url == right


@pytest.mark.parametrize("kind", ["gif", "bmp", "tiff"])
def test_other_pictures_are_converted(kind: str) -> None:
    made = read(f"data:image/{kind};base64,{picture(kind)}")
    assert made == read(f"data:image/{kind};base64,{picture(kind)}")
    with Image.open(io.BytesIO(base64.b64decode(made.url.partition(",")[2]))) as image:
        assert (image.format, image.size) == ("PNG", (2, 2))
        assert image.convert("RGB").getpixel((0, 0)) == (0, 0, 255)


def test_data_with_other_characters_than_base64_is_damaged() -> None:
    data = picture("png")
    assert read(f"data:image/png;base64,{data[:40]}!{data[40:]}").note == BROKEN


def test_line_ends_in_the_data_are_taken_out() -> None:
    data = picture("png")
    assert read(f"data:image/png;base64,{data[:40]}\n{data[40:]}").url.endswith(data)


def url_of(data: bytes, kind: str = "") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (url_of(base64.b64decode(picture("gif")), "image/x-odd"), "gif"),
        (url_of(base64.b64decode(picture("bmp")), "image/x-odd"), "bmp"),
        (url_of(base64.b64decode(picture("tiff")), "image/x-odd"), "tiff"),
        (url_of(b"MM\0*rest", "image/x-odd"), "tiff"),
        (url_of(b"RIFF____WAVE", "image/WebP2"), "webp2"),
        (url_of(b"?", "image/heic"), "heic"),
        (url_of(b"?"), "its format"),
    ],
)
def test_without_pillow_a_note_names_the_format(
    url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    _converted.cache_clear()
    made = read(url)
    _converted.cache_clear()
    assert made.url == ""
    assert f" {name} cannot be read here" in made.note


def test_a_converted_picture_stays_transparent() -> None:
    data = io.BytesIO()
    clear = Image.new("P", (2, 2))
    clear.save(data, "gif", transparency=0)
    url = read(url_of(data.getvalue(), "image/gif")).url
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        assert image.mode == "RGBA"
        assert image.getpixel((0, 0))[3] == 0


def test_a_picture_of_very_many_pixels_is_not_converted() -> None:
    data = io.BytesIO()
    Image.new("1", (8000, 5001)).save(data, "tiff", compression="group4")
    made = read(url_of(data.getvalue(), "image/tiff"))
    assert (made.url, "too large" in made.note) == ("", True)


@pytest.mark.parametrize(
    ("url", "note"),
    [
        ("data:image/png;base64,!!!!", BROKEN),
        ("data:image/png,raw", BROKEN),
        ("data:image/gif;base64,R0lGODlh", BROKEN),
        ("DATA:image/gif;base64,R0lGODlh", BROKEN),
        (" data:image/gif;base64,R0lGODlh", REMOTE),
        ("https://example.com/a.png", REMOTE),
    ],
)
def test_what_is_no_picture_is_a_note(url: str, note: str) -> None:
    assert read(url).note == note


def test_a_picture_elsewhere_is_refused_where_the_user_sends_it() -> None:
    part = {"type": "input_image", "image_url": "https://example.com/a.png"}
    with pytest.raises(ApiError, match="data URL"):
        request.read({"model": "m", "input": [{"role": "user", "content": [part]}]})
    # In a tool's result nobody could help it.
    (_, _, answer) = messages(message("user", "x"), call("a"), result("a", [part]))
    assert answer["content"] == REMOTE


def test_a_model_that_sees_none_gets_a_note_for_each_picture() -> None:
    text = {"type": "input_text", "text": "x"}
    items = [{"type": "message", "role": "user", "content": [IMAGE, text]}, call("a")]
    items.append(result("a", [IMAGE]))
    assert messages(*items, sees=False) == [
        user(f"{BLIND}\nx"),
        assistant("", chat_call("a")),
        tool("a", BLIND),
    ]
    assert messages(*items)[0]["content"][1] == IMAGE_PART


def test_a_model_that_does_not_think_gets_no_thoughts() -> None:
    items = [message("user", "x"), reasoning("hm"), message("assistant", "y")]
    assert messages(*items, thinks=False) == [user("x"), assistant("y")]
    assert messages(*items) == [user("x"), assistant("y", reasoning="hm")]
