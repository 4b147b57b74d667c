"""Every kind of item and part that the API has reaches the model, leaves a note, or is refused.

The kinds are those of the Open Responses schema of 2026-04-24 and of openai-python 3.57. In each
item stands "MARK" and a number in every field that says something.
"""

from __future__ import annotations

import base64
import re
from typing import Any

import orjson
import pytest

from codex_bridge.errors import ApiError
from tests.responses.asked import translate
from tests.responses.items import Json

PNG = "data:image/png;base64,iVBORw0KGgo="
TEXT_FILE = f"data:text/plain;base64,{base64.b64encode(b'MARK1').decode()}"
CALL = {"type": "function_call", "call_id": "c", "name": "run", "arguments": "{}"}


def texts(*numbers: int, kind: str = "input_text") -> list[Json]:
    return [{"type": kind, "text": f"MARK{n}"} for n in numbers]


def said(role: str, *parts: Json) -> Json:
    return {"type": "message", "role": role, "content": list(parts)}


SHOWN: dict[str, list[Json]] = {
    "user": [said("user", *texts(1, 2))],
    "user without a type": [{"role": "user", "content": "MARK1"}],
    "system": [said("user", *texts(1)), said("system", *texts(2))],
    "developer": [
        said("developer", *texts(1)),
        said("user", *texts(2)),
        said("developer", *texts(3)),
    ],
    "assistant": [said("user", *texts(1)), said("assistant", *texts(2, 3, kind="output_text"))],
    "assistant with phases": [
        said("assistant", *texts(1, kind="output_text")) | {"phase": "commentary"},
        said("assistant", *texts(2, kind="output_text")) | {"phase": "final_answer"},
    ],
    "refusal": [said("assistant", {"type": "refusal", "refusal": "MARK1"})],
    "other roles": [said("critic", *texts(1))],
    "input_file": [
        said("user", {"type": "input_file", "filename": "MARK2", "file_data": TEXT_FILE})
    ],
    "reasoning": [
        {"type": "reasoning", "id": "rs_1", "summary": texts(1, 2, kind="summary_text")},
        said("assistant", *texts(3, kind="output_text")),
    ],
    "reasoning with its content": [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": texts(1, kind="reasoning_text"),
            "encrypted_content": "sealed",
        }
    ],
    "function_call": [
        CALL | {"arguments": '{"a": "MARK1"}', "name": "MARK2"},
        {"type": "function_call_output", "call_id": "c", "output": "MARK3"},
    ],
    "function_call_output with parts": [
        CALL,
        {"type": "function_call_output", "call_id": "c", "output": texts(1, 2)},
    ],
    "function_call_output with a file": [
        CALL,
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [{"type": "input_file", "file_data": TEXT_FILE}],
        },
    ],
    "function_call_output without its call": [
        {"type": "function_call_output", "call_id": "gone", "output": "MARK1"}
    ],
    "custom_tool_call": [
        {"type": "custom_tool_call", "call_id": "c", "name": "MARK1", "input": "MARK2"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "MARK3"},
    ],
    "local_shell_call": [
        {
            "type": "local_shell_call",
            "call_id": "c",
            "status": "completed",
            "action": {
                "type": "exec",
                "command": ["MARK1"],
                "working_directory": "MARK2",
                "env": {},
            },
        },
        # By OpenAI's types it has no call_id.
        {"type": "local_shell_call_output", "id": "lsh_1", "output": "MARK3"},
    ],
    "shell_call": [
        {"type": "shell_call", "call_id": "c", "action": {"commands": ["MARK1", "MARK2"]}},
        {
            "type": "shell_call_output",
            "call_id": "c",
            "output": [
                {
                    "stdout": "MARK3",
                    "stderr": "MARK4",
                    "outcome": {"type": "exit", "exit_code": 0},
                },
                {"stdout": "", "stderr": "MARK5", "outcome": {"type": "timeout"}},
            ],
        },
    ],
    "apply_patch_call": [
        {
            "type": "apply_patch_call",
            "call_id": "c",
            "status": "completed",
            "operation": {"type": "update_file", "path": "MARK1", "diff": "MARK2"},
        },
        {
            "type": "apply_patch_call_output",
            "call_id": "c",
            "status": "completed",
            "output": "MARK3",
        },
    ],
    "computer_call": [
        {
            "type": "computer_call",
            "call_id": "c",
            "id": "cu_1",
            "status": "completed",
            "pending_safety_checks": [],
            "action": {"type": "type", "text": "MARK1"},
        },
    ],
    "web_search_call": [
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {
                "type": "search",
                "query": "MARK1",
                "sources": [{"type": "url", "url": "MARK2"}],
            },
        }
    ],
    "file_search_call": [
        {
            "type": "file_search_call",
            "id": "fs_1",
            "queries": ["MARK1"],
            "results": [{"filename": "MARK2", "text": "MARK3", "score": 0.5}],
        }
    ],
    "image_generation_call": [
        {
            "type": "image_generation_call",
            "id": "ig_1",
            "status": "completed",
            "result": "iVBORw0KGgo=",
            "revised_prompt": "MARK1",
        }
    ],
    "code_interpreter_call": [
        {
            "type": "code_interpreter_call",
            "id": "ci_1",
            "container_id": "cntr_1",
            "code": "MARK1",
            "outputs": [
                {"type": "logs", "logs": "MARK2"},
                {"type": "image", "url": f"{PNG}{600 * 'A'}"},
            ],
        }
    ],
    "mcp_list_tools": [
        {
            "type": "mcp_list_tools",
            "id": "mcpl_1",
            "server_label": "MARK1",
            "tools": [{"name": "MARK2", "description": "MARK3", "input_schema": {}}],
        }
    ],
    "mcp_approval_request": [
        {
            "type": "mcp_approval_request",
            "id": "mcpr_1",
            "name": "MARK1",
            "arguments": "MARK2",
            "server_label": "MARK3",
        }
    ],
    "mcp_approval_response": [
        {
            "type": "mcp_approval_response",
            "approval_request_id": "MARK1",
            "approve": False,
            "reason": "MARK2",
        }
    ],
    "mcp_call": [
        {
            "type": "mcp_call",
            "id": "mcp_1",
            "name": "MARK1",
            "server_label": "MARK2",
            "arguments": "MARK3",
            "output": "MARK4",
            "error": None,
        }
    ],
    "tool_search_call": [
        {"type": "tool_search_call", "call_id": "c", "arguments": {"query": "MARK1"}},
        {
            "type": "tool_search_output",
            "call_id": "c",
            "tools": [{"type": "function", "name": "MARK2", "description": "MARK3"}],
        },
    ],
    "additional_tools": [
        {
            "type": "additional_tools",
            "role": "developer",
            "tools": [{"type": "function", "name": "MARK1", "description": "MARK2"}],
        },
        said("user", *texts(3)),
    ],
    "agent_message": [
        {
            "type": "agent_message",
            "author": "MARK1",
            "recipient": "MARK2",
            "content": [{"type": "encrypted_content", "encrypted_content": "MARK3"}],
        }
    ],
    "program": [
        {"type": "program", "id": "p_1", "call_id": "c", "code": "MARK1", "fingerprint": "f"},
        {"type": "program_output", "call_id": "c", "result": "MARK2", "status": "completed"},
    ],
    "a kind of tomorrow": [{"type": "of_tomorrow", "a": "MARK1", "b": {"c": ["MARK2"]}}],
    "a kind of tomorrow with a text": [{"type": "of_tomorrow", "content": texts(1)}],
    "a part of tomorrow": [said("user", {"type": "of_tomorrow", "a": "MARK1"})],
}


def prompt(items: list[Json]) -> str:
    chat = translate({"model": "m", "input": items}).chat
    return orjson.dumps([chat.messages, chat.functions]).decode()


@pytest.mark.parametrize("items", SHOWN.values(), ids=SHOWN)
def test_what_an_item_says_reaches_the_model(items: list[Json]) -> None:
    raw = orjson.dumps(items).decode() + "MARK1"
    seen = prompt(items)
    assert set(re.findall(r"MARK\d", seen)) == set(re.findall(r"MARK\d", raw))
    assert 100 * "A" not in seen


@pytest.mark.parametrize(
    ("items", "seen"),
    [
        ([said("user", {"type": "input_audio", "input_audio": {}})], "A sound was left out"),
        ([said("user", {"type": "input_video", "video_url": PNG})], "A video was left out"),
        ([said("assistant", {"type": "input_image", "image_url": PNG})], "An image was left out"),
        ([SHOWN["mcp_approval_response"][0]], r"\"approve\":false"),
        (SHOWN["shell_call"], "exit code: 0"),
        (SHOWN["shell_call"], "timed out"),
        (SHOWN["code_interpreter_call"], "An image was left out"),
        (
            [CALL, {"type": "apply_patch_call_output", "call_id": "c", "status": "failed"}],
            '"content":"failed"',
        ),
        (
            [
                SHOWN["computer_call"][0],
                {
                    "type": "computer_call_output",
                    "call_id": "c",
                    "output": {"type": "computer_screenshot", "image_url": PNG},
                },
            ],
            '{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}',
        ),
        (
            [
                SHOWN["computer_call"][0],
                {
                    "type": "computer_call_output",
                    "call_id": "c",
                    "output": {"type": "computer_screenshot", "file_id": "file_1"},
                },
            ],
            "An image was left out",
        ),
        ([{"type": "x", "blob": "data:audio/wav;base64,AAAA"}], "Data was left out"),
        ([{"type": "x", "text": 10_050 * "a"}], "50 more characters were left out"),
    ],
)
def test_what_cannot_be_shown_leaves_a_note(items: list[Json], seen: str) -> None:
    assert seen in prompt(items)
    assert "base64,AAAA" not in prompt(items)


@pytest.mark.parametrize(
    ("part", "word"),
    [
        ({"type": "input_image", "image_url": "https://example.com/a.png"}, "data URL"),
        ({"type": "input_image", "file_id": "file_1"}, "file_id"),
        ({"type": "input_file", "file_id": "file_1"}, "file_id"),
        ({"type": "image_url", "image_url": {"url": "http://x/a.png"}}, "data URL"),
    ],
)
@pytest.mark.parametrize("is_list", [True, False])
def test_what_nobody_can_read_of_a_user_is_refused_by_its_place(
    part: Json, word: str, is_list: bool
) -> None:
    content: Any = [*texts(1), part] if is_list else part
    item = {"role": "user", "content": content}
    with pytest.raises(ApiError, match=word) as caught:
        translate({"model": "m", "input": ["x", item]})
    assert caught.value.param == ("input[1].content[1]" if is_list else "input[1].content")
    assert caught.value.message.startswith(f"{caught.value.param}")


def test_what_seals_reasoning_changes_nothing_that_the_model_sees() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": texts(1, kind="summary_text")}
    sealed = thought | {"encrypted_content": "sealed"}
    rest = [said("assistant", *texts(2, kind="output_text")), said("user", *texts(3))]
    assert prompt([thought, *rest]) == prompt([sealed, *rest])


def test_the_reasoning_of_another_server_that_is_sealed_alone_is_left_out() -> None:
    thought = {"type": "reasoning", "summary": [], "encrypted_content": "of another server"}
    rest = [said("user", *texts(1))]
    assert prompt([thought, *rest]) == prompt(rest)
