"""What llama.cpp's server is asked for beside chat completions."""

from __future__ import annotations

import orjson
import pytest

from codex_bridge.engines.engine import ContextPolicy, Plan
from codex_bridge.engines.llama_cpp import LlamaCppEngine
from codex_bridge.vocabulary import ChatRequest, ModelInfo

PLAN = Plan(None, "")


@pytest.mark.parametrize(
    ("template", "marks"),
    [
        ("<|im_start|>x<tool_call></tool_call><|im_end|>", ["</tool_call>", "<tool_call>"]),
        ("[TOOL_CALLS]x[ARGS]</s>", ["[ARGS]", "[TOOL_CALLS]"]),
        ("<|channel|>x<|message|>y<|call|><|end|>", ["<|channel|>", "<|message|>"]),
        ("<｜tool▁calls▁begin｜>x<｜end▁of▁sentence｜>", ["<｜tool▁calls▁begin｜>"]),
        ("<think>x</think><|eot_id|>", ["</think>", "<think>"]),
    ],
)
def test_the_marks_of_calls_and_thoughts_stay_in_own_words_and_no_end_does(
    template: str, marks: list[str]
) -> None:
    info = ModelInfo("m", template=template)
    asked = LlamaCppEngine(ContextPolicy()).own_words_request(
        ChatRequest("m", []), "prompt", info, PLAN, stream=True
    )
    assert asked is not None
    path, body = asked
    assert path == "/completion"
    assert orjson.loads(body)["preserved_tokens"] == marks
