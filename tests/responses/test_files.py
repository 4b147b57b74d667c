"""Files in requests: text reaches the model, and anything else is refused, or leaves a note."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from codex_bridge.errors import ApiError
from codex_bridge.responses import request
from tests.responses.items import Json, call, message, messages, result, user


def url(data: bytes, kind: str = "text/plain") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def asked(**file: Any) -> Json:
    part = {"type": "input_file"} | file
    return {"type": "message", "role": "user", "content": [part]}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (url(b"a,b\n1,2", "text/csv"), "a,b\n1,2"),
        (url(b'{"a": 1}', "application/json;charset=utf-8"), '{"a": 1}'),
        (url("def f(): return 'ä'".encode(), "application/octet-stream"), "def f(): return 'ä'"),
        (url(b"x", ""), "x"),
        (url(b"\xef\xbb\xbfx"), "x"),
        (base64.b64encode(b"plain base64").decode(), "plain base64"),
        (
            f"{base64.b64encode(b'in two lines')[:8].decode()}\n bGluZXM=",
            "in two lines"[:6] + "lines",
        ),
        ("data:text/plain,hello%20you", "hello you"),
        ("DATA:text/plain;BASE64,aGk=", "hi"),
        (url(b"%PD is no PDF"), "%PD is no PDF"),
    ],
)
def test_what_is_text_is_text_for_the_model(data: str, text: str) -> None:
    (made,) = messages(asked(filename="a.txt", file_data=data))
    assert made == user(f'<file name="a.txt">\n{text}\n</file>')


def test_a_file_as_in_chat_completions_and_beside_words() -> None:
    part = {"type": "file", "file": {"filename": "x.py", "file_data": url(b"print()")}}
    words = {"type": "input_text", "text": "What does it do?"}
    (made,) = messages({"type": "message", "role": "user", "content": [words, part]})
    assert made == user('What does it do?\n<file name="x.py">\nprint()\n</file>')


@pytest.mark.parametrize(
    ("name", "shown"),
    [(None, "file"), ('a"><b', "ab"), ("a\nb", "a\\nb"), ("x" * 300, "x" * 200 + "…")],
)
def test_the_name_of_a_file_cannot_end_its_mark(name: Any, shown: str) -> None:
    (made,) = messages(asked(filename=name, file_data=url(b"x")))
    assert made["content"].splitlines()[0] == f'<file name="{shown}">'


REFUSED = [
    ({"file_data": url(b"%PDF-1.7 all letters", "application/pdf")}, "it is application/pdf"),
    ({"file_data": url(b"PK\3\4\0\0", "")}, "it is none"),
    ({"file_data": url(b"\xff\xfe\xfa")}, "it is text/plain"),
    ({"file_data": "data:text/plain;base64,!!!"}, "damaged"),
    ({"file_data": "no base64!"}, "damaged"),
    ({"file_id": "file-1"}, "file_id"),
    ({"file_url": "https://example.com/a.txt"}, "file_url"),
    ({}, "no file_data"),
    ({"file_data": ""}, "no file_data"),
    ({"file_data": 5}, "no file_data"),
]


@pytest.mark.parametrize(("file", "why"), REFUSED)
def test_any_other_file_of_the_user_is_refused_by_its_place(file: Json, why: str) -> None:
    items = [message("user", "x"), None, asked(filename="a.pdf", **file)]
    items[2]["content"].insert(0, {"type": "input_text", "text": "Read it."})
    with pytest.raises(ApiError) as caught:
        request.read({"model": "m", "input": items})
    assert caught.value.param == "input[2].content[1]"
    assert (caught.value.status, caught.value.code) == (400, "unsupported_file")
    told = caught.value.message
    assert told.startswith("input[2].content[1] is a file that cannot be read: ")
    assert why in told
    assert " Send " in told or " send " in told


@pytest.mark.parametrize(("file", "why"), REFUSED)
def test_in_the_result_of_a_tool_such_a_file_leaves_a_note(file: Json, why: str) -> None:
    part = {"type": "input_file", "filename": "a.pdf"} | file
    raw = {"model": "m", "input": [message("user", "x"), call("a"), result("a", [part])]}
    items = request.read(raw).items
    note = messages(*items)[-1]["content"]
    assert note.startswith("[The file a.pdf was left out: ")
    assert why in note


def test_the_text_of_a_file_in_the_result_of_a_tool_is_shown() -> None:
    part = {"type": "input_file", "filename": "a.md", "file_data": url(b"# A")}
    assert (
        messages(call("a"), result("a", [part]))[-1]["content"]
        == '<file name="a.md">\n# A\n</file>'
    )
