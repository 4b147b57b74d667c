"""What Codex is told of a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.clients.catalog import catalog, display_name, entry, output_bytes, parameters
from codex_bridge.clients.instructions import INSTRUCTIONS
from codex_bridge.vocabulary import ModelInfo

REQUIRED = {
    "slug",
    "display_name",
    "description",
    "supported_reasoning_levels",
    "shell_type",
    "visibility",
    "supported_in_api",
    "priority",
    "availability_nux",
    "upgrade",
    "base_instructions",
    "supports_reasoning_summaries",
    "support_verbosity",
    "default_verbosity",
    "apply_patch_tool_type",
    "truncation_policy",
    "supports_parallel_tool_calls",
    "context_window",
    "experimental_supported_tools",
}
"""Keys without which some version refuses a whole catalog, or may."""


def model(name: str = "qwen3:14b", *capabilities: str) -> ModelInfo:
    return ModelInfo(name, frozenset(capabilities or ("completion", "tools")))


@pytest.mark.parametrize(
    "info", [model(), model("x", "completion"), ModelInfo("unknown"), model("y", "thinking")]
)
@pytest.mark.parametrize("context", [None, 4096, 262144])
def test_every_entry_has_every_key_that_some_version_needs(
    info: ModelInfo, context: int | None
) -> None:
    made = entry(info, context)
    assert made.keys() >= REQUIRED
    assert isinstance(made["base_instructions"], str)


def test_an_entry_is_in_the_words_of_codex() -> None:
    told = entry(model("qwen3:14b", "completion", "tools", "thinking"), 32768, 3)
    assert told == {
        "slug": "qwen3:14b",
        "display_name": "Qwen3 14B",
        "description": "qwen3:14b in Ollama, 32,768 tokens of context",
        "default_reasoning_level": "medium",
        "supported_reasoning_levels": [
            {"effort": "low", "description": "Thinks briefly"},
            {"effort": "medium", "description": "Thinks as much as most tasks need"},
            {"effort": "high", "description": "Thinks long, for hard tasks"},
        ],
        "supports_reasoning_summaries": True,
        "default_reasoning_summary": "auto",
        "shell_type": "unified_exec",
        "apply_patch_tool_type": "freeform",
        "supports_parallel_tool_calls": True,
        "supports_search_tool": True,
        "experimental_supported_tools": [],
        "input_modalities": ["text"],
        "truncation_policy": {"mode": "bytes", "limit": 10000},
        "base_instructions": INSTRUCTIONS,
        "support_verbosity": False,
        "default_verbosity": None,
        "visibility": "list",
        "supported_in_api": True,
        "priority": 3,
        "availability_nux": None,
        "upgrade": None,
        "context_window": 32768,
        "max_context_window": 32768,
        "auto_compact_token_limit": 26214,
        "effective_context_window_percent": 93,
    }


def test_the_only_entry_comes_first_and_an_unknown_context_is_called_so() -> None:
    told = entry(model(), None)
    assert told["priority"] == 1
    assert told["description"] == "qwen3:14b in Ollama, unknown context"


def test_the_context_is_the_allocated_one_with_room_for_the_answer() -> None:
    made = entry(model(), 32768)
    assert made["context_window"] == made["max_context_window"] == 32768
    assert made["auto_compact_token_limit"] == 26214
    assert made["effective_context_window_percent"] == 93


def test_an_unknown_context_stays_unknown() -> None:
    assert entry(model(), None)["context_window"] is None
    assert "auto_compact_token_limit" not in entry(model(), None)


def test_a_model_that_thinks_has_reasoning_levels() -> None:
    made = entry(model("qwen3:14b", "completion", "tools", "thinking"), 32768)
    efforts = [level["effort"] for level in made["supported_reasoning_levels"]]
    assert efforts == ["low", "medium", "high"]
    assert made["default_reasoning_level"] == "medium"
    assert made["supports_reasoning_summaries"] is True


@pytest.mark.parametrize("info", [model(), ModelInfo("unknown")])
def test_a_model_that_may_not_think_has_no_reasoning_levels(info: ModelInfo) -> None:
    made = entry(info, 32768)
    assert made["supported_reasoning_levels"] == []
    assert made["default_reasoning_level"] is None
    assert made["supports_reasoning_summaries"] is False


def test_pictures_are_for_models_that_see() -> None:
    assert entry(model(), 1)["input_modalities"] == ["text"]
    seeing = model("llava", "completion", "vision")
    assert entry(seeing, 1)["input_modalities"] == ["text", "image"]


def test_tools_are_searched_for_by_models_that_call_tools() -> None:
    assert entry(ModelInfo("unknown"), 1)["supports_search_tool"] is True
    assert entry(model("gemma3:4b", "completion"), 1)["supports_search_tool"] is False


def test_patches_are_for_models_that_call_tools() -> None:
    assert entry(model(), 1)["apply_patch_tool_type"] == "freeform"
    assert entry(model("gemma3:4b", "completion"), 1)["apply_patch_tool_type"] is None
    assert entry(ModelInfo("unknown"), 1)["apply_patch_tool_type"] == "freeform"


@pytest.mark.parametrize(
    ("context", "limit"),
    [(None, 10000), (262144, 10000), (32768, 10000), (16384, 5000), (8192, 2500), (512, 1000)],
)
def test_less_output_is_shown_if_the_context_is_small(context: int | None, limit: int) -> None:
    assert output_bytes(context) == limit
    assert entry(model(), context)["truncation_policy"] == {"mode": "bytes", "limit": limit}


def test_models_that_only_embed_are_left_out() -> None:
    models = [(model("embed", "embedding"), 512), (model(), 4096), (ModelInfo("unknown"), None)]
    assert {made["slug"] for made in catalog(models)} == {"qwen3:14b", "unknown"}


def test_the_best_comes_first() -> None:
    models = [
        (model("gemma3:27b", "completion"), 32768),
        (model("gpt-oss:120b-cloud"), 131072),
        (model("llama3.1:8b"), 32768),
        (model("mistral:latest"), 32768),
        (model("qwen3:14b-small"), 4096),
        (model("qwen3:14b"), 32768),
    ]
    made = catalog(models)
    assert [each["slug"] for each in made] == [
        "qwen3:14b",
        "qwen3:14b-small",
        "llama3.1:8b",
        "mistral:latest",
        "gpt-oss:120b-cloud",
        "gemma3:27b",
    ]
    assert [each["priority"] for each in made] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("qwen3:14b", 14),
        ("qwen3:1.7b", 1.7),
        ("qwen3-coder:30b-a3b-q4_K_M", 30),
        ("hf.co/someone/Qwen2.5-7B-GGUF:Q4_K_M", 7),
        ("mixtral:8x7b", 56),
        ("smollm2:360m", 0.36),
        ("SmolLM2-360M", 0.36),
        ("qwen3:latest", None),
        ("gpt4b2", None),
    ],
)
def test_the_size_is_read_from_the_name(name: str, size: float | None) -> None:
    assert parameters(name) == size


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("qwen3:14b", "Qwen3 14B"),
        ("qwen3-coder:30b-a3b-q4_K_M", "Qwen3 Coder 30B A3B q4_K_M"),
        ("gpt-oss:20b", "GPT OSS 20B"),
        ("qwen3:latest", "Qwen3"),
        ("hf.co/someone/Qwen2.5-7B-GGUF:Q4_K_M", "Qwen2.5 7B GGUF Q4_K_M"),
        ("gemma3n:e4b", "Gemma3n E4B"),
        ("glm-air", "GLM AIR"),
        ("kimi-k2", "Kimi K2"),
        ("a--b:1b--q4", "A B 1B q4"),
        ("mixtral:8x7b", "Mixtral 8X7B"),
    ],
)
def test_names_are_displayed_as_people_write_them(name: str, shown: str) -> None:
    assert display_name(name) == shown


@given(st.text(min_size=1), st.one_of(st.none(), st.integers(1, 10**7)))
def test_any_name_and_context_make_an_entry(name: str, context: int | None) -> None:
    (made,) = catalog([(ModelInfo(name), context)])
    assert made["slug"] == name


def test_our_instructions_are_short() -> None:
    assert 1000 < len(INSTRUCTIONS.encode()) < 2048
    assert INSTRUCTIONS.isascii()
