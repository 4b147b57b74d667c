"""Slips of the model: how it is asked again, what it is told, and what the client gets."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, formatEvent

from codex_bridge.engines.ollama import OllamaEngine
from tests.conftest import LogBook, Start
from tests.fake_ollama import (
    Answer,
    Call,
    Die,
    FakeOllama,
    Finish,
    Hold,
    ModelFacts,
    Playlist,
    Raw,
    Refuse,
    Say,
    Think,
)
from tests.harness import CODEX, Json, Setup
from tests.tools.declared import EXEC
from tests.web.test_tools import line

LS = Call("exec_command", {"cmd": "ls"})
SHELL = Call("shell", {"command": "ls"})
CUT_CALL = Call("exec_command", '{"cmd": "ls"')
XML_ERROR = Refuse(500, "XML syntax error on line 5: element <parameter> closed by </function>")
QWEN = ModelFacts(swallows=True)
LLAMA = ModelFacts(
    swallows=True, family="llama", shown_template="{{ .Tools }}<|python_tag|>{{ .ToolCalls }}"
)
WORK: list[Json] = [
    {"type": "message", "role": "user", "content": "Mend main.py."},
    {
        "type": "function_call",
        "call_id": "c1",
        "name": "exec_command",
        "arguments": '{"cmd":"ls"}',
    },
    {"type": "function_call_output", "call_id": "c1", "output": "main.py\n"},
]
"""A turn in which the model has begun to work."""
ANNOUNCED = "I see the file. Let me look at it:"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
FORM = {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}}


async def begun(start: Start, *answers: Answer, facts: ModelFacts = QWEN, **options: Any) -> Setup:
    """A bridge before an Ollama whose parser drops calls, and whose model gives these answers."""
    return await start(fake=FakeOllama(reactor, Playlist(*answers), models=[facts]), **options)


async def ask(setup: Setup, **change: Any) -> Json:
    """The response to a request with one tool, as Codex sends it."""
    response: Json = (await setup.ask({"tools": [EXEC]} | change, CODEX)).response
    return response


def kept(response: Json) -> list[Any]:
    """What the client got: the text of each message, (name, arguments) of each call."""
    return [
        item["content"][0]["text"]
        if item["type"] == "message"
        else (item["name"], orjson.loads(item["arguments"]))
        for item in response["output"]
        if item["type"] != "reasoning"
    ]


def asked(setup: Setup) -> list[list[Json]]:
    """The messages of each request for an answer, as the model saw them."""
    turns = [turn.effective["messages"] for turn in setup.fake.turns]
    # Whatever is told to the model stands behind all that it was told before.
    for before, after in pairwise(turns):
        assert after[: len(before)] == before
    return turns


def paths(setup: Setup) -> list[str]:
    return [turn.uri.decode() for turn in setup.fake.turns]


RAN = [("exec_command", {"cmd": "ls"})]


class TestSwallowedCalls:
    """Ollama's generic parser drops a call, and counts its tokens."""

    @pytest.mark.parametrize("call", [SHELL, CUT_CALL], ids=["another name", "broken JSON"])
    @pytest_twisted.ensureDeferred
    async def test_the_models_own_words_are_read(
        self, start: Start, logged: LogBook, call: Call
    ) -> None:
        setup = await begun(start, [call], [call])
        assert kept(await ask(setup)) == RAN
        assert paths(setup) == ["/api/chat", "/api/generate"]
        first, second = asked(setup)
        assert first == second
        assert "asked again for its own words" in line(logged)
        # An Ollama that does not know the option any more would generate that much.
        (rendering,) = setup.fake.renderings
        assert rendering.json["options"]["num_predict"] == 1

    @pytest_twisted.ensureDeferred
    async def test_from_the_third_time_on_they_are_asked_for_at_once(
        self, start: Start, logged: LogBook
    ) -> None:
        setup = await begun(start, *(5 * [[Think("Hm."), SHELL]]))
        for _ in range(3):
            assert kept(await ask(setup)) == RAN
        assert paths(setup) == [*2 * ["/api/chat", "/api/generate"], "/api/generate"]
        told = [
            event
            for event in logged.events
            if "drops or refuses calls" in str(event.get("log_format"))
        ]
        assert len(told) == 1
        models = (await setup.request("GET", "/__health")).json["models"]
        assert models["qwen3:14b"]["calls"] == "read from the model's own words"

    @pytest_twisted.ensureDeferred
    async def test_where_they_are_asked_for_at_once_they_are_not_asked_for_again(
        self, start: Start
    ) -> None:
        unreadable = Say('<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "rm -rf')
        written = Say('{"name": "exec_command", "arguments": {"cmd": "ls"}}')
        setup = await begun(start, *(4 * [[SHELL]]), [unreadable], [written])
        for _ in range(3):
            assert kept(await ask(setup)) == RAN
        assert paths(setup)[-2:] == ["/api/generate", "/api/chat"]

    @pytest_twisted.ensureDeferred
    async def test_a_call_that_is_only_shown_in_them_stays_text(self, start: Start) -> None:
        written = '<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "ls"}}\n</tool_call>'
        shown = f"For example, a model writes this:\n\n```\n{written}\n```\n\nThat is a call."
        setup = await begun(start, [SHELL], [Say(shown)])
        assert kept(await ask(setup)) == [shown]
        assert len(setup.fake.turns) == 2

    @pytest_twisted.ensureDeferred
    async def test_a_server_that_shows_no_prompt_any_more_is_asked_as_before(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        setup = await begun(start, *(10 * [[SHELL]]))
        for _ in range(2):
            assert kept(await ask(setup)) == RAN
        monkeypatch.setattr(OllamaEngine, "rendered", lambda *_: "")
        for _ in range(3):
            assert kept(await ask(setup)) == RAN
        assert paths(setup)[4:] == 5 * ["/api/chat"]
        tools = [bool(turn.effective.get("tools")) for turn in setup.fake.turns[4:]]
        assert tools == [True, False, True, False, False]

    @pytest_twisted.ensureDeferred
    async def test_a_call_of_an_unknown_function_goes_to_codex(self, start: Start) -> None:
        call = Call("brew_coffee", {"kind": "espresso", "how many cups, please": 12})
        setup = await begun(start, [call], [call])
        assert kept(await ask(setup)) == [(call.name, call.arguments)]

    @pytest_twisted.ensureDeferred
    async def test_thoughts_and_text_are_what_they_would_be(self, start: Start) -> None:
        answer = [Think("Files."), Say("Let me look at the files:"), SHELL]
        setup = await begun(start, [Think("Files."), SHELL], answer)
        response = await ask(setup)
        assert kept(response) == ["Let me look at the files:", *RAN]
        thoughts = [item for item in response["output"] if item["type"] == "reasoning"]
        assert [each["summary"][0]["text"] for each in thoughts] == 2 * ["Files."]

    @pytest_twisted.ensureDeferred
    async def test_behind_a_text_that_announces_it_the_call_is_made_again(
        self, start: Start
    ) -> None:
        first = [Say("Let me look at the files:"), SHELL]
        setup = await begun(start, first, [SHELL])
        text, call = kept(await ask(setup))
        assert (text.strip(), call) == ("Let me look at the files:", *RAN)
        _, (*_, answer, complaint) = asked(setup)
        assert answer["content"].strip() == "Let me look at the files:"
        assert "cannot be read" in complaint["content"]

    @pytest_twisted.ensureDeferred
    async def test_a_call_that_the_bridge_cannot_read_either_is_constrained(
        self, start: Start
    ) -> None:
        unreadable = Say(
            '<tool_call>\n{"name": "exec_command", "arguments": '
            '{"cmd": "rm -rf one two three four five six'
        )
        written = Say('{"name": "exec_command", "arguments": {"cmd": "ls"}}')
        setup = await begun(start, [unreadable], [unreadable], [written])
        assert kept(await ask(setup)) == RAN
        _, _, (*_, answer, complaint) = asked(setup)
        assert "rm -rf" in answer["content"]
        assert "cannot be read" in complaint["content"]
        names = [each["properties"]["name"] for each in form(setup)["anyOf"][:-1]]
        assert names == [{"enum": ["exec_command"]}]

    @pytest_twisted.ensureDeferred
    async def test_where_raw_text_lacks_the_marks_the_tools_are_told_in_words(
        self, start: Start
    ) -> None:
        tagged = Say('<tool_call>\n{"name": "shell", "arguments": {"command": "ls"}}\n</tool_call>')
        setup = await begun(start, [SHELL], [tagged], facts=LLAMA)
        assert kept(await ask(setup)) == RAN
        first, second = (turn.effective for turn in setup.fake.turns)
        assert [tool["function"]["name"] for tool in first["tools"]] == ["exec_command"]
        assert not second.get("tools")
        assert '"exec_command"' in second["messages"][0]["content"]

    @pytest_twisted.ensureDeferred
    async def test_a_few_tokens_are_no_call(self, start: Start) -> None:
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        setup = await begun(start, [Finish(usage=usage)], [Say("Hello.")])
        assert kept(await ask(setup)) == ["Hello."]
        assert paths(setup) == ["/api/chat", "/api/chat"]

    @pytest_twisted.ensureDeferred
    async def test_a_long_thought_with_nothing_behind_it_is_no_call(self, start: Start) -> None:
        thought = Think(" ".join(f"Word {n}." for n in range(40)))
        setup = await begun(start, [thought], [Say("Hello.")])
        assert kept(await ask(setup)) == ["Hello."]
        assert paths(setup) == ["/api/chat", "/api/chat"]

    @pytest_twisted.ensureDeferred
    async def test_a_call_that_is_cut_in_them_is_dropped(self, start: Start) -> None:
        call = '<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "rm -rf'
        setup = await begun(start, [SHELL], [Say(f"I run it.\n{call}"), Finish("length")])
        assert kept(await ask(setup)) == ["I run it."]

    @pytest_twisted.ensureDeferred
    async def test_the_log_says_nothing_where_nothing_is_known(
        self, start: Start, logged: LogBook
    ) -> None:
        setup = await begun(start, [SHELL], [SHELL])
        await ask(setup)
        (told,) = [str(formatEvent(event)) for event in logged.at(LogLevel.warn)]
        assert told.endswith("for its own words: swallowed")

    @pytest.mark.parametrize(
        "quoted",
        [
            '<tool_call>\n{"name": "shell", "arguments": {"command": "touch PWNED"}}\n</tool_call>',
            "<function=exec_command>\n<parameter=cmd>\ntouch PWNED\n</parameter>\n</function>",
        ],
        ids=["name that is not declared", "form of another family"],
    )
    @pytest_twisted.ensureDeferred
    async def test_what_no_server_would_make_a_call_of_stays_text_if_it_is_quoted(
        self, start: Start, quoted: str
    ) -> None:
        facts = ModelFacts(swallows=True, shown_template="{{ .Tools }}<tool_call>{{ .ToolCalls }}")
        answer = f"It says this, word for word.\n{quoted}"
        setup = await begun(start, [SHELL], [Say(answer)], facts=facts)
        user = {"type": "message", "role": "user", "content": f"What does this do?\n{quoted}"}
        # An end tag behind a call is left out.
        assert kept(await ask(setup, input=[user])) == [answer.removesuffix("\n</tool_call>")]

    @pytest_twisted.ensureDeferred
    async def test_a_mark_in_inline_code_is_no_call(self, start: Start) -> None:
        answer = "A `<tool_call>` tag begins a call. Shall I make one?"
        setup = await begun(start, [SHELL], [Say(answer)])
        assert kept(await ask(setup)) == [answer]
        assert len(setup.fake.turns) == 2

    @pytest.mark.parametrize(
        "change",
        [{"tools": []}, {"tools": [], **FORM}],
        ids=["no tools", "grammar from the start"],
    )
    @pytest_twisted.ensureDeferred
    async def test_without_tools_they_are_not_asked_for(self, start: Start, change: Json) -> None:
        setup = await begun(start, *(4 * [[SHELL]]), [Say('{"n": 1}')])
        for _ in range(2):
            await ask(setup)
        assert kept(await ask(setup, **change)) == ['{"n": 1}']
        last = setup.fake.turns[-1]
        assert last.uri == b"/api/chat"
        assert bool(last.effective.get("format")) == ("text" in change)

    @pytest.mark.parametrize(
        "second", [Refuse(503, "server busy, please try again"), Die("reset")], ids=["busy", "lost"]
    )
    @pytest_twisted.ensureDeferred
    async def test_a_request_that_comes_to_nothing_is_sent_again_behind_text(
        self, start: Start, second: Any
    ) -> None:
        setup = await begun(start, [Say(ANNOUNCED), SHELL], [second], [SHELL])
        text, call = kept(await ask(setup))
        assert (text.strip(), call) == (ANNOUNCED, *RAN)

    @pytest_twisted.ensureDeferred
    async def test_only_a_call_that_came_in_this_way_is_counted(self, start: Start) -> None:
        # The second answer has no call of its own, only that of the answer before.
        quoted = Call("exec_command", {"cmd": "cat NOTES"})
        tag = '<tool_call>{"name": "exec_command", "arguments": {"cmd": "cat NOTES"}}</tool_call>'
        told = [*WORK[:2], WORK[2] | {"output": tag}]
        answers = [[LS, quoted], [XML_ERROR], [Say("I am done.")]]
        setup = await begun(start, *answers, *answers, [Say("Yes.")], facts=ModelFacts())
        for _ in range(2):
            assert kept(await ask(setup, input=told))[:1] == RAN
        assert kept(await ask(setup, input=WORK)) == ["Yes."]
        assert paths(setup)[-1] == "/api/chat"


def form(setup: Setup) -> Json:
    """The grammar of the last request."""
    last: Json = setup.fake.turns[-1].effective
    form: Json = last.get("format") or last["response_format"]["json_schema"]["schema"]
    return form


def spoken(text: str) -> Raw:
    """A text that no grammar constrains."""
    message = {"role": "assistant", "content": text}
    return Raw(orjson.dumps({"model": "m", "message": message, "done": False}) + b"\n")


class TestMalformedCalls:
    """Ollama refuses an answer whose call it cannot read."""

    @pytest_twisted.ensureDeferred
    async def test_the_same_request_is_never_sent_again(
        self, start: Start, logged: LogBook
    ) -> None:
        setup = await start(Playlist([XML_ERROR], [XML_ERROR], [XML_ERROR]), upstream_api="chat")
        response = await ask(setup)
        assert response["error"]["code"] == "invalid_prompt"
        assert "XML syntax error" in response["error"]["message"]
        first, second, third = asked(setup)
        assert len(first) < len(second) < len(third)
        assert "cannot be read: XML syntax error on line 5" in second[-1]["content"]
        assert form(setup)["anyOf"]

    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ('{"name": "exec_command", "arguments": {"cmd": "ls"}}', RAN),
            ('{"answer": "It is done."}', ["It is done."]),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_the_third_time_a_grammar_allows_a_call_or_an_answer(
        self, start: Start, written: str, expected: Any
    ) -> None:
        setup = await start(Playlist([XML_ERROR], [XML_ERROR], [Say(written)]))
        assert kept(await ask(setup)) == expected
        (*calls, answer) = form(setup)["anyOf"]
        (call,) = calls
        assert set(call["properties"]["arguments"]["properties"]) == {"cmd", "workdir"}
        assert answer["required"] == ["answer"]
        assert setup.fake.turns[-1].effective["think"] is False

    @pytest_twisted.ensureDeferred
    async def test_a_grammar_that_the_server_left_out_is_noticed(self, start: Start) -> None:
        setup = await start(Playlist([XML_ERROR], [XML_ERROR], [spoken("I cannot."), Finish()]))
        response = await ask(setup)
        assert (response["status"], len(setup.fake.turns)) == ("failed", 3)

    @pytest_twisted.ensureDeferred
    async def test_a_call_that_is_quoted_and_cannot_be_repaired_is_shown_to_the_model(
        self, start: Start
    ) -> None:
        quoting = Refuse(500, "error parsing tool call: raw='{\"cmd\": ', err=unexpected end")
        setup = await start(Playlist([quoting], [LS]))
        assert kept(await ask(setup)) == RAN
        _, (*_, answer, complaint) = asked(setup)
        assert answer["content"] == '{"cmd": '
        assert "unexpected end" in complaint["content"]
        assert "raw=" not in complaint["content"]

    @pytest_twisted.ensureDeferred
    async def test_behind_text_codex_does_not_repeat_what_was_repeated_here(
        self, start: Start
    ) -> None:
        answers = [[Say("Let me look."), XML_ERROR], [XML_ERROR], [XML_ERROR]]
        setup = await start(Playlist(*answers))
        response = await ask(setup)
        assert kept(response) == ["Let me look."]
        assert response["error"]["code"] == "invalid_prompt"

    @pytest.mark.parametrize("stream", [True, False])
    @pytest_twisted.ensureDeferred
    async def test_behind_a_call_in_doubt_the_next_answer_is_shown(
        self, start: Start, stream: bool
    ) -> None:
        shown = '<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "ls"}}\n</tool_call>'
        first = [Say(f"Should I run this?\n{shown}\n"), XML_ERROR]
        setup = await start(Playlist(first, [Say("There are three lines.")]))
        reply = await setup.ask({"tools": [EXEC], "stream": stream}, CODEX)
        before, after = kept(reply.response if stream else reply.json)
        assert before.split() == f"Should I run this?\n{shown}".split()
        assert after == "There are three lines."


class TestEmptyAnswers:
    @pytest_twisted.ensureDeferred
    async def test_the_log_tells_that_a_client_was_given_nothing_after_two_questions(
        self, start: Start, logged: LogBook
    ) -> None:
        setup = await start(Playlist([Finish()], [Finish()]))
        await setup.ask({"tools": [EXEC]})
        assert "asked again told what was wrong" in line(logged)

    @pytest_twisted.ensureDeferred
    async def test_the_model_is_told_that_it_said_nothing(self, start: Start) -> None:
        setup = await start(Playlist([Finish()], [LS]))
        assert kept(await ask(setup)) == RAN
        _, (*_, answer, complaint) = asked(setup)
        assert (answer["role"], answer["content"]) == ("assistant", "")
        assert "Your answer was empty." in complaint["content"]


class TestAnnouncedSteps:
    """An answer that only announces the next step is followed by one hidden nudge."""

    @pytest.mark.parametrize("stream", [True, False])
    @pytest_twisted.ensureDeferred
    async def test_the_call_follows_the_announcement(
        self, start: Start, logged: LogBook, stream: bool
    ) -> None:
        setup = await start(Playlist([Say(ANNOUNCED)], [LS]))
        reply = await setup.ask({"tools": [EXEC], "input": WORK, "stream": stream})
        assert kept(reply.response if stream else reply.json) == [ANNOUNCED, *RAN]
        _, (*_, answer, nudge) = asked(setup)
        assert answer["content"] == ANNOUNCED
        assert "has no function call" in nudge["content"]
        assert "asked again to do what it announced" in line(logged)

    @pytest.mark.parametrize(
        "second",
        [[Finish()], [Die("reset")], [Refuse(500, "no")]],
        ids=["nothing", "broken", "refused"],
    )
    @pytest_twisted.ensureDeferred
    async def test_where_nothing_follows_the_announcement_is_the_answer(
        self, start: Start, second: Answer
    ) -> None:
        setup = await start(Playlist([Say(ANNOUNCED)], second, second))
        response = await ask(setup, input=WORK)
        assert (response["status"], kept(response)) == ("completed", [ANNOUNCED])

    @pytest_twisted.ensureDeferred
    async def test_behind_it_nothing_is_said_twice(self, start: Start) -> None:
        broken = [Say("I will look at"), Die("reset")]
        setup = await start(Playlist([Say(ANNOUNCED)], broken, [Say("I will look at it."), LS]))
        asked = {"tools": [EXEC], "input": WORK, "stream": False}
        response = (await setup.ask(asked, CODEX)).json
        assert kept(response) == [ANNOUNCED, "I will look at"]

    @pytest.mark.parametrize("stream", [True, False])
    @pytest_twisted.ensureDeferred
    async def test_thoughts_of_two_answers_behind_it_are_two_items(
        self, start: Start, stream: bool
    ) -> None:
        broken = [Think("Hm."), Die("reset")]
        setup = await start(Playlist([Say(ANNOUNCED)], broken, [Think("Yes."), LS]))
        reply = await setup.ask({"tools": [EXEC], "input": WORK, "stream": stream}, CODEX)
        response = reply.response if stream else reply.json
        assert kept(response) == [ANNOUNCED, *RAN]
        thoughts = [item for item in response["output"] if item["type"] == "reasoning"]
        assert [each["summary"][0]["text"] for each in thoughts] == ["Hm.", "Yes."]

    @pytest_twisted.ensureDeferred
    async def test_it_is_nudged_once(self, start: Start) -> None:
        again = "Now I will read the file:"
        setup = await start(Playlist([Say(ANNOUNCED)], [Say(again)], [LS]))
        assert kept(await ask(setup, input=WORK)) == [ANNOUNCED, again]
        assert len(setup.fake.turns) == 2

    @pytest.mark.parametrize(
        ("text", "change", "options"),
        [
            ("The file is main.py. Shall I open it?", {"input": WORK}, {}),
            ("The bug in main.py is gone.", {"input": WORK}, {}),
            (ANNOUNCED, {"input": WORK[:1]}, {}),
            (ANNOUNCED, {"input": [*WORK, WORK[0]]}, {}),
            (ANNOUNCED, {"input": WORK, "tools": []}, {}),
            (ANNOUNCED, {"input": WORK}, {"nudge": False}),
            (
                ANNOUNCED,
                {
                    "input": [
                        {
                            "type": "message",
                            "role": "developer",
                            "content": "<collaboration_mode># Plan Mode (Conversational)",
                        },
                        *WORK,
                    ]
                },
                {},
            ),
        ],
        ids=["question", "done", "first", "new turn", "no tools", "switched off", "Plan mode"],
    )
    @pytest_twisted.ensureDeferred
    async def test_no_other_answer_is_followed_by_one(
        self, start: Start, text: str, change: Json, options: Json
    ) -> None:
        setup = await start(Playlist([Say(text)]), **options)
        assert kept(await ask(setup, **change)) == [text]
        assert len(setup.fake.turns) == 1


class TestRequiredCalls:
    @pytest_twisted.ensureDeferred
    async def test_a_model_that_talks_is_constrained_to_a_call(self, start: Start) -> None:
        written = Say('{"name": "exec_command", "arguments": {"cmd": "ls"}}')
        setup = await start(Playlist([Say("I could list the files.")], [written]))
        response = await ask(setup, tool_choice="required")
        assert kept(response) == ["I could list the files.", *RAN]
        asked(setup)
        assert [list(each["properties"]) for each in form(setup)["anyOf"]] == [
            ["name", "arguments"]
        ]


class TestStructuredOutput:
    """`text.format` beside tools, as `codex exec --output-schema` sends it."""

    @pytest.mark.parametrize("text", ['{"n": 1}', '```json\n{"n": 1}\n```', 'Here: {"n": 1}'])
    @pytest_twisted.ensureDeferred
    async def test_only_the_form_is_mended(self, start: Start, logged: LogBook, text: str) -> None:
        setup = await start(Playlist([Say(text)]))
        (answer,) = kept(await ask(setup, **FORM))
        assert orjson.loads(answer) == {"n": 1}
        assert len(setup.fake.turns) == 1
        mended = "none" if text == '{"n": 1}' else "form of the answer"
        assert line(logged) == f"tools: none; repairs: {mended}"

    @pytest_twisted.ensureDeferred
    async def test_an_answer_that_does_not_fit_is_asked_for_with_a_grammar(
        self, start: Start
    ) -> None:
        setup = await start(Playlist([Say("There is one.")], [Say('{"n": 1}')]))
        assert kept(await ask(setup, **FORM)) == ['{"n": 1}']
        _, (*_, answer, complaint) = asked(setup)
        assert answer["content"] == "There is one."
        assert "does not fit the JSON schema" in complaint["content"]
        assert form(setup)["required"] == ["n"]

    @pytest_twisted.ensureDeferred
    async def test_one_that_never_fits_is_a_failure(self, start: Start) -> None:
        setup = await start(Playlist([Say("One.")], [spoken("One."), Finish()]))
        response = await ask(setup, **FORM)
        assert kept(response) == []
        assert response["error"]["code"] == "invalid_prompt"
        assert "does not fit the JSON schema" in response["error"]["message"]

    @pytest_twisted.ensureDeferred
    async def test_the_log_has_neither_the_schema_nor_the_answer(
        self, start: Start, logged: LogBook
    ) -> None:
        schema = {"type": "object", "properties": {"n": {"enum": ["secret"]}}, "required": ["n"]}
        format_ = {"type": "json_schema", "name": "n", "schema": schema}
        wrong = '{"n": "private"}'
        setup = await start(Playlist([Say(wrong)], [spoken(wrong), Finish()]))
        response = await ask(setup, text={"format": format_})
        assert '"n" must be "secret"' in response["error"]["message"]
        written = "".join(str(formatEvent(event)) for event in logged.events)
        assert "failed: answer_unfit" in written
        assert "secret" not in written
        assert "private" not in written

    @pytest_twisted.ensureDeferred
    async def test_json_that_looks_like_a_call_is_the_answer(self, start: Start) -> None:
        written = '{"name": "exec_command", "arguments": {"cmd": "ls"}}'
        setup = await start(Playlist([Say(written)]))
        form = {"text": {"format": {"type": "json_object"}}}
        assert kept(await ask(setup, **form)) == [written]
        assert len(setup.fake.turns) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_doubtful_call_in_it_is_a_text_that_does_not_fit(self, start: Start) -> None:
        call = '<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "ls"}}\n</tool_call>'
        setup = await start(Playlist([Say(f"Should I run this?\n{call}")], [Say('{"n": 1}')]))
        assert kept(await ask(setup, **FORM)) == ['{"n": 1}']

    @pytest_twisted.ensureDeferred
    async def test_a_half_of_it_is_never_taken_for_the_whole(self, start: Start) -> None:
        setup = await start(Playlist([Say('{"n": '), Finish("length")]))
        response = await ask(setup, **FORM)
        assert response["status"] == "failed"
        assert "cut at the limit" in response["error"]["message"]
        assert len(setup.fake.turns) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_call_that_ollama_drops_comes_before_it(self, start: Start) -> None:
        first = [Say("Let me look at the files:"), SHELL]
        setup = await begun(start, first, [SHELL])
        assert kept(await ask(setup, **FORM))[-1:] == RAN

    @pytest_twisted.ensureDeferred
    async def test_calls_come_before_it_as_ever(self, start: Start) -> None:
        setup = await start(Playlist([Say("Let me look."), LS]))
        assert kept(await ask(setup, **FORM)) == ["Let me look.", *RAN]


class TestThoughts:
    ENDLESS = Think(" ".join(f"Perhaps number {n} is right." for n in range(200)))

    @pytest.mark.parametrize(
        ("options", "change"),
        [({"think_budget": 100}, {}), ({}, {"reasoning": {"max_tokens": 100}})],
        ids=["option", "request"],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_thought_beyond_its_budget_is_ended_and_an_answer_asked_for(
        self, start: Start, options: Json, change: Json
    ) -> None:
        setup = await start(Playlist([self.ENDLESS, Hold(Deferred())], [LS]), **options)
        assert kept(await ask(setup, **change)) == RAN
        first, last = setup.fake.turns
        await first.when_hung_up()
        assert last.effective["think"] is False
        *_, answer, told = last.effective["messages"]
        assert answer["reasoning"].startswith("Perhaps number 0")
        assert "thought long enough" in told["content"]

    @pytest_twisted.ensureDeferred
    async def test_without_a_budget_a_model_thinks_as_long_as_it_likes(self, start: Start) -> None:
        setup = await start(Playlist([self.ENDLESS, LS]))
        assert kept(await ask(setup)) == RAN
        assert len(setup.fake.turns) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_thought_that_repeats_itself_is_ended(self, start: Start) -> None:
        setup = await start(Playlist([Think(3000 * "Wait. I have to look. "), LS], [LS]))
        assert kept(await ask(setup)) == RAN
        assert len(setup.fake.turns) == 2

    @pytest_twisted.ensureDeferred
    async def test_a_thought_in_its_own_words_that_ollama_ends_is_ended(self, start: Start) -> None:
        endless = [Think(40 * " ha"), Die("close")]
        setup = await begun(start, [SHELL], endless, [LS])
        assert kept(await ask(setup)) == RAN
        assert "thought long enough" in asked(setup)[-1][-1]["content"]


NOTE = "[codex-bridge ended the answer here: the model only repeated itself.]"


class TestRepetition:
    @pytest_twisted.ensureDeferred
    async def test_an_answer_that_repeats_itself_is_ended(self, start: Start) -> None:
        setup = await start(Playlist([Say(1000 * " ha"), Hold(Deferred())]))
        response = await ask(setup)
        assert response["error"]["code"] == "invalid_prompt"
        assert "only repeated itself" in response["error"]["message"]
        (turn,) = setup.fake.turns
        await turn.when_hung_up()

    @pytest.mark.parametrize("stream", [True, False])
    @pytest_twisted.ensureDeferred
    async def test_what_it_said_before_stays_and_is_all_that_the_model_is_shown_of_it(
        self, start: Start, stream: bool
    ) -> None:
        said, again = "There are two files: a.py and b.py.", "I am done. "
        endless = [Say(f"{said} {500 * again}"), Hold(Deferred())]
        setup = await start(Playlist(endless, [Say("Yes.")]))
        reply = await setup.ask({"tools": [EXEC], "stream": stream}, CODEX)
        response = reply.response if stream else reply.json
        assert response["status"] == "completed"
        (text,) = kept(response)
        assert text.startswith(f"{said} {again}")
        assert text.endswith(f"\n\n{NOTE}")
        assert len(text) < 2500
        user = {"type": "message", "role": "user", "content": "Really?"}
        await ask(setup, input=[WORK[0], *response["output"], user])
        shown = setup.fake.turns[1].effective["messages"][2]
        assert shown == {"role": "assistant", "content": f"{said} {again.strip()}\n\n{NOTE}"}

    @pytest_twisted.ensureDeferred
    async def test_of_an_answer_that_has_to_fit_a_schema_the_first_instance_is_taken(
        self, start: Start
    ) -> None:
        setup = await start(Playlist([Say(3000 * '{"n": 1}\n'), Hold(Deferred())]))
        assert kept(await ask(setup, **FORM)) == ['{"n": 1}']

    @pytest_twisted.ensureDeferred
    async def test_a_call_before_it_is_run(self, start: Start) -> None:
        tagged = '<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "ls"}}\n</tool_call>\n'
        setup = await start(Playlist([Say(tagged + 5000 * "The file is there. ")]))
        response = await ask(setup)
        assert (response["status"], kept(response)[-1:]) == ("completed", RAN)

    @pytest_twisted.ensureDeferred
    async def test_a_call_in_its_own_words_that_repeats_itself_is_part_of_the_repetition(
        self, start: Start
    ) -> None:
        said = "Let me run it for you. Here it is."
        call = '<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "'
        setup = await begun(start, [SHELL], [Say(f"{said}\n{call}{3000 * 'ha '}")])
        assert kept(await ask(setup)) == [f"{said}\n\n{NOTE}"]
        assert len(setup.fake.turns) == 2

    @pytest.mark.parametrize("api", ["ollama", "chat"])
    @pytest_twisted.ensureDeferred
    async def test_an_answer_that_ollama_ends_because_of_it_is_not_asked_for_again(
        self, start: Start, api: str
    ) -> None:
        setup = await start(Playlist([Say(31 * " ha"), Die("close")]), upstream_api=api)
        response = await ask(setup)
        assert response["error"]["code"] == "invalid_prompt"
        assert "only repeated itself" in response["error"]["message"]
        assert len(setup.fake.turns) == 1


@pytest.mark.parametrize(
    "answers",
    [
        [[XML_ERROR], [Finish()], [XML_ERROR]],
        [[Say(ANNOUNCED)], [SHELL], [SHELL]],
        [[Think("Hm."), Die("reset")], [XML_ERROR], [Finish()]],
        [[Finish()], [Finish()]],
    ],
)
@pytest_twisted.ensureDeferred
async def test_no_mixture_of_slips_costs_more_than_three_generations(
    start: Start, answers: list[Answer]
) -> None:
    setup = await begun(start, *answers, [LS], [LS], upstream_api="chat")
    await ask(setup, input=WORK)
    assert len(setup.fake.turns) == len(answers)
