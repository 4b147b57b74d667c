"""The model's own words: the prompt that a request makes, and what the model writes behind it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import pytest_twisted

from tests.fake_ollama import Call, Finish, ModelFacts, Say, Think, prompt
from tests.fake_ollama.client import CHAT, Make, ask, lines, native_chat
from tests.harness import Answer

Json = dict[str, Any]
USER: Json = {"role": "user", "content": "hi"}
TOOL: Json = {
    "type": "function",
    "function": {"name": "exec_command", "parameters": {"type": "object", "properties": {}}},
}
QUIET = ModelFacts(capabilities=("completion", "tools", "insert"))
THOUGHT = Think("Files.")
SHELL = Call("shell", {"command": "ls"})
WRITTEN = '<tool_call>\n{"name": "shell", "arguments": {"command":"ls"}}\n</tool_call>'


async def raw(fake: Any, text: str = "<|im_start|>", **more: Any) -> Answer:
    return await ask(
        fake, "POST", "/api/generate", {"model": "qwen3:14b", "prompt": text, "raw": True} | more
    )


async def render(fake: Any, **more: Any) -> str:
    answer = await native_chat(fake, _debug_render_only=True, stream=False, **more)
    return str(answer.json["_debug_info"]["rendered_template"])


def said(answer: Answer, key: str = "response") -> str:
    return "".join(line.get(key, "") for line in lines(answer))


@pytest_twisted.ensureDeferred
async def test_a_rendering_shows_the_tools_and_the_messages_and_asks_no_model(make: Make) -> None:
    fake = make(loaded=False)
    system = {"role": "system", "content": "Be brief."}
    answer = await native_chat(
        fake, messages=[system, USER], tools=[TOOL], stream=True, _debug_render_only=True
    )
    shown = answer.json["_debug_info"]["rendered_template"]
    assert shown.startswith("<|im_start|>system\nBe brief.\n\n<tools>\n")
    assert '"exec_command"' in shown
    assert shown.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    assert answer.header("content-type") == "application/json; charset=utf-8"
    assert (answer.json["message"], answer.json["done"]) == ({"role": "", "content": ""}, False)
    assert fake.loads == [("qwen3:14b", 32768)]
    assert (fake.turns, len(fake.renderings)) == ([], 1)


@pytest_twisted.ensureDeferred
async def test_a_rendering_counts_images_and_refuses_none(make: Make) -> None:
    fake = make(models=[QUIET])
    answer = await native_chat(
        fake, messages=[USER | {"images": ["AAAA", "AAAA"]}], _debug_render_only=True
    )
    assert answer.json["_debug_info"]["image_count"] == 2
    assert "user\n[img-0][img-1]hi" in answer.json["_debug_info"]["rendered_template"]


@pytest_twisted.ensureDeferred
async def test_a_prompt_that_is_too_long_is_shown_all_the_same(make: Make) -> None:
    fake = make()
    long = [{"role": "user", "content": "x" * 4000}]
    shown = await render(fake, messages=long, truncate=False, options={"num_ctx": 100})
    assert "x" * 4000 in shown


def test_the_prompt_of_a_longer_history_begins_with_that_of_a_shorter_one() -> None:
    call = {"id": "c", "name": "shell", "arguments": {"command": "ls"}}
    turns: list[Json] = [
        USER,
        {"role": "assistant", "content": "", "reasoning": "Files.", "tool_calls": [call]},
        {"role": "tool", "content": "a.txt"},
        {"role": "assistant", "content": "One file."},
        USER,
    ]
    for n in range(1, len(turns)):
        shorter, longer = (prompt.rendered(turns[:end], False, [TOOL]) for end in (n, n + 1))
        assert longer.startswith(shorter.removesuffix("<|im_start|>assistant\n"))
    answered = prompt.rendered(turns[:2], False)
    own_words = f"<think>\nFiles.\n</think>\n\n{WRITTEN}"
    assert answered.startswith(prompt.rendered(turns[:1], False) + own_words)


@pytest_twisted.ensureDeferred
async def test_the_own_words_have_thoughts_and_calls_as_text(make: Make) -> None:
    answer = [THOUGHT, Say("So:"), SHELL, SHELL, Call("f", "{broken")]
    fake = make(answer)
    got = await raw(fake, think=False)
    assert got.header("content-type") == "application/x-ndjson"
    broken = '<tool_call>\n{"name": "f", "arguments": {broken}\n</tool_call>'
    text = f"<think>\nFiles.\n</think>\n\nSo:\n{WRITTEN}\n{WRITTEN}\n{broken}"
    assert said(got) == text
    *pieces, last = lines(got)
    assert all(piece.keys() == {"model", "created_at", "response", "done"} for piece in pieces)
    assert (last["done"], last["done_reason"], last["response"]) == (True, "stop", "")
    assert last["eval_count"] == len(pieces) + 1
    assert "context" not in last


@pytest_twisted.ensureDeferred
async def test_without_a_stream_the_own_words_come_as_one_object(make: Make) -> None:
    got = await raw(make([SHELL]), stream=False, think=False)
    assert (got.json["response"], got.json["done"]) == (WRITTEN, True)


@pytest.mark.parametrize(
    ("facts", "think", "is_apart"),
    [
        (ModelFacts(), None, True),
        (ModelFacts(), True, True),
        (ModelFacts(), False, False),
        (ModelFacts(template="qwen3.5"), True, False),
        (QUIET, None, False),
        (QUIET, False, False),
    ],
)
@pytest_twisted.ensureDeferred
async def test_thoughts_leave_the_own_words_where_a_go_template_has_tags_for_them(
    make: Make, facts: ModelFacts, think: bool | None, is_apart: bool
) -> None:
    got = await raw(make([THOUGHT, Say("Done.")], models=[facts]), think=think)
    text = "Done." if is_apart else "<think>\nFiles.\n</think>\n\nDone."
    assert (said(got), said(got, "thinking")) == (text, "Files." if is_apart else "")


@pytest_twisted.ensureDeferred
async def test_a_thought_that_was_cut_off_is_not_closed(make: Make) -> None:
    got = await raw(make([THOUGHT, Finish("length")]), think=False)
    assert said(got) == "<think>\nFiles."
    assert lines(got)[-1]["done_reason"] == "length"


@pytest_twisted.ensureDeferred
async def test_marks_that_are_control_tokens_are_left_out(make: Make) -> None:
    facts = ModelFacts(marks_are_control_tokens=True)
    got = await raw(make([THOUGHT, SHELL], models=[facts]), think=False)
    assert said(got) == '\nFiles.\n\n\n\n{"name": "shell", "arguments": {"command":"ls"}}\n'
    assert all(line["response"] for line in lines(got)[:-1])


@pytest_twisted.ensureDeferred
async def test_templates_that_teach_tags_get_calls_in_tags(make: Make) -> None:
    got = await raw(
        make([Call("f", {"a": "x", "b": [1]})], models=[ModelFacts(template="qwen3.5")])
    )
    inside = "<parameter=a>\nx\n</parameter>\n<parameter=b>\n[1]\n</parameter>"
    assert said(got) == f"<tool_call>\n<function=f>\n{inside}\n</function>\n</tool_call>"


@pytest_twisted.ensureDeferred
async def test_the_script_is_asked_with_the_messages_whose_prompt_was_shown(make: Make) -> None:
    fake = make([Say("a")], [Say("b")], [Say("c")])
    short = await render(fake, messages=[USER], tools=[TOOL])
    longer = [USER, {"role": "assistant", "content": "yes"}, USER]
    long = await render(fake, messages=longer, tools=[TOOL])
    await raw(fake, long, think=False, options={"temperature": 0})
    await raw(fake, f"{short}<think>\n\n</think>\n\n")
    await raw(fake, "Once upon")
    first, second, third = (turn.effective for turn in fake.raw_turns)
    assert (first["raw"], first["messages"], first["appended"]) == (True, longer, "")
    assert first["tools"][0]["function"]["name"] == "exec_command"
    assert first["prompt_tokens"] == fake.renderings[1].effective["prompt_tokens"]
    assert (second["messages"], second["appended"]) == ([USER], "<think>\n\n</think>\n\n")
    assert second["prompt_tokens"] > fake.renderings[0].effective["prompt_tokens"]
    assert third["messages"] == [{"role": "user", "content": "Once upon"}]
    assert fake.turns == fake.raw_turns
    assert fake.native_chats == []


@pytest_twisted.ensureDeferred
async def test_a_raw_request_is_seen_as_a_chat_and_shares_the_loaded_model(make: Make) -> None:
    fake = make([Say("a")], [Say("b")], loaded=False)
    await native_chat(fake)
    seen = fake.chat_seen()
    await raw(fake)
    assert (await seen).effective["raw"] is True
    assert fake.loads == [("qwen3:14b", 32768)]


REFUSED: dict[str, tuple[Json, int, str]] = {
    **{
        f"with a {key}": (
            {key: value},
            400,
            "raw mode does not support template, system, or context",
        )
        for key, value in {"template": "{{ .Prompt }}", "system": "x", "context": [1]}.items()
    },
    "raw as a text": (
        {"raw": "yes"},
        400,
        "json: cannot unmarshal string into Go struct field GenerateRequest.raw of type bool",
    ),
    "a prompt that is a list": (
        {"prompt": []},
        400,
        "json: cannot unmarshal array into Go struct field GenerateRequest.prompt of type string",
    ),
    "a suffix": (
        {"suffix": "x"},
        400,
        "registry.ollama.ai/library/qwen3:14b does not support insert",
    ),
    "a format that is none": (
        {"format": "xml"},
        400,
        'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object',
    ),
    "an option of a wrong type": (
        {"options": {"num_ctx": "x"}},
        400,
        'option "num_ctx" must be of type integer',
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest_twisted.ensureDeferred
async def test_what_a_raw_request_may_not_have(make: Make, case: str) -> None:
    more, status, message = REFUSED[case]
    fake = make([Say("never")], loaded=False)
    answer = await raw(fake, **more)
    assert (answer.status, answer.json["error"]) == (status, message)
    assert fake.loads == []


@pytest_twisted.ensureDeferred
async def test_thinking_is_refused_for_a_model_that_cannot_think_turning_it_off_is_not(
    make: Make,
) -> None:
    fake = make([Say("a")], models=[QUIET])
    refused = await raw(fake, think=True)
    assert (refused.status, refused.json["error"]) == (400, '"qwen3:14b" does not support thinking')
    assert (await raw(fake, think=False, suffix="x")).status == 200


@pytest_twisted.ensureDeferred
async def test_tools_and_messages_mean_nothing_here(make: Make) -> None:
    fake = make([Say("a")])
    assert (await raw(fake, tools="x", messages=3)).status == 200
    assert fake.raw_turns[0].effective["tools"] == []


@pytest_twisted.ensureDeferred
async def test_a_raw_prompt_that_is_too_long_is_refused_or_cut(make: Make) -> None:
    fake = make([Say("a")])
    small: Json = {"options": {"num_ctx": 100}}
    refused = await raw(fake, "x" * 4000, truncate=False, **small)
    error = orjson.loads(refused.json["error"])["error"]
    assert refused.status == 400
    assert (error["type"], error["n_ctx"]) == ("exceed_context_size_error", 100)
    assert (await raw(fake, "x" * 4000, **small)).status == 200
    assert fake.raw_turns[1].effective["prompt_tokens"] < 100


@pytest_twisted.ensureDeferred
async def test_an_empty_raw_prompt_only_loads(make: Make) -> None:
    fake = make(loaded=False)
    answer = await raw(fake, "")
    assert lines(answer)[0]["done_reason"] == "load"
    assert fake.loads == [("qwen3:14b", 32768)]


@pytest_twisted.ensureDeferred
async def test_a_raw_request_may_ask_for_its_own_prompt(make: Make) -> None:
    fake = make()
    answer = await raw(fake, "Once upon", _debug_render_only=True)
    assert answer.json["_debug_info"] == {"rendered_template": "Once upon"}
    assert (answer.json["response"], fake.turns) == ("", [])


@pytest_twisted.ensureDeferred
async def test_a_chat_is_no_raw_turn_whatever_it_says(make: Make) -> None:
    fake = make([Say("a")])
    await native_chat(fake, raw=True, messages=CHAT["messages"])
    assert (fake.raw_turns, len(fake.native_chats)) == ([], 1)
