"""In doubt the model is asked whether it means a call that stands in its text."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import pytest_twisted

from tests.conftest import LogBook, Start
from tests.fake_ollama import Call, Die, Playlist, Say, Think
from tests.harness import Setup
from tests.tools.declared import EXEC
from tests.web.test_tools import line

JSON = '{"name": "exec_command", "arguments": {"cmd": "touch made"}}'
TAG = f"<tool_call>\n{JSON}\n</tool_call>"
MADE = Call("exec_command", {"cmd": "touch made"})
EXAMPLE = Say("example")


async def output(setup: Setup, user: str = "Go on.", **change: Any) -> list[Any]:
    """What the client got: the text of each message, the command of each call."""
    items = (await setup.ask({"tools": [EXEC], "input": user} | change)).response["output"]
    return [
        item["content"][0]["text"]
        if item["type"] == "message"
        else orjson.loads(item["arguments"])["cmd"]
        for item in items
    ]


UNCERTAIN = {
    "JSON that nothing announces": f"The next step is this.\n\n{JSON}",
    "JSON in a fence that nothing announces": f"The next step is this.\n\n```json\n{JSON}\n```",
    "English, a question": f"Should I run this?\n{TAG}",
    "English, a refusal": f"I will not run it:\n{TAG}",
    "English, a condition": f"Once the tests pass, I'll run this:\n{TAG}",
    "German": f"Diesen Befehl führe ich nicht aus:\n{TAG}",
    "French": f"Je ne lance pas cette commande :\n{TAG}",
    "Spanish": f"No voy a ejecutar esto:\n{TAG}",
    "Portuguese": f"Não vou executar isto:\n{TAG}",
    "Russian": f"Я не буду выполнять эту команду:\n{TAG}",
    "Chinese": f"我不会执行这个命令:\n{TAG}",
    "Japanese": f"このコマンドは実行しません:\n{TAG}",
    "Korean": f"이 명령은 실행하지 않겠습니다:\n{TAG}",
}


@pytest.mark.parametrize("answer", UNCERTAIN.values(), ids=UNCERTAIN)
@pytest_twisted.ensureDeferred
async def test_what_the_model_only_showed_stays_text(
    start: Start, logged: LogBook, answer: str
) -> None:
    setup = await start(Playlist([Say(answer)], [EXAMPLE]))
    shown = await output(setup)
    assert "".join(shown).split() == answer.split()
    assert line(logged) == "tools: none; repairs: call in doubt left as text"
    first, second = (turn.effective["messages"] for turn in setup.fake.turns)
    assert second[: len(first)] == first
    assert second[len(first)]["content"].split() == answer.split()
    assert "make the call now" in second[-1]["content"]


@pytest.mark.parametrize("second", [JSON, f"Yes: {JSON}", TAG])
@pytest_twisted.ensureDeferred
async def test_a_model_that_was_asked_may_write_its_call_as_text(start: Start, second: str) -> None:
    setup = await start(Playlist([Say(UNCERTAIN["English, a question"])], [Say(second)]))
    assert await output(setup) == ["Should I run this?\n", "touch made"]
    assert len(setup.fake.turns) == 2


@pytest.mark.parametrize("answer", UNCERTAIN.values(), ids=UNCERTAIN)
@pytest_twisted.ensureDeferred
async def test_what_the_model_meant_is_run_and_not_shown(
    start: Start, logged: LogBook, answer: str
) -> None:
    setup = await start(Playlist([Say(answer)], [Say("Yes."), MADE]))
    before, call = await output(setup)
    assert call == "touch made"
    assert "exec_command" not in before
    assert "call in doubt confirmed" in line(logged)


CERTAIN = {
    "the whole answer": JSON,
    "the whole answer, in a fence": f"```json\n{JSON}\n```\n",
    "English": f"I'll make the file.\n\n{JSON}",
    "German": f"Ich werde die Datei anlegen:\n\n{JSON}",
    "French": f"Je vais créer le fichier.\n\n{JSON}",
    "Spanish": f"Voy a crear el archivo.\n\n{JSON}",
    "Portuguese": f"Vou criar o arquivo.\n\n{JSON}",
    "Russian": f"Сейчас я создам файл.\n\n{JSON}",
    "Chinese": f"我来创建文件。\n\n{JSON}",
    "Japanese": f"ファイルを作成します。\n\n{JSON}",
    "Korean": f"파일을 만들겠습니다.\n\n{JSON}",
    "a tag behind words": f"The next step is this.\n\n{TAG}",
}


@pytest.mark.parametrize("answer", CERTAIN.values(), ids=CERTAIN)
@pytest_twisted.ensureDeferred
async def test_what_the_model_announces_needs_no_question(start: Start, answer: str) -> None:
    setup = await start(Playlist([Say(answer)]))
    assert (await output(setup))[-1] == "touch made"
    assert len(setup.fake.turns) == 1


@pytest.mark.parametrize(
    ("user", "change"),
    [
        ("Give me the request body as JSON.", {}),
        ("Show me how a call looks.", {}),
        ("Zeig mir den Aufruf.", {}),
        ("给我一个例子", {}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_json_is_in_doubt_where_the_user_asked_to_be_shown_some(
    start: Start, user: str, change: Any
) -> None:
    setup = await start(Playlist([Say(JSON)], [EXAMPLE]))
    assert await output(setup, user, **change) == [JSON]
    assert len(setup.fake.turns) == 2


@pytest.mark.parametrize("how", ["not asked", "no answer"])
@pytest_twisted.ensureDeferred
async def test_without_an_answer_it_stays_text(start: Start, how: str) -> None:
    answer = UNCERTAIN["JSON that nothing announces"]
    setup = await start(Playlist([Say(answer)], [Die("reset")]), confirm=how != "not asked")
    assert "".join(await output(setup)).split() == answer.split()


@pytest_twisted.ensureDeferred
async def test_text_behind_a_doubtful_call_keeps_its_place(start: Start) -> None:
    answer = f"Should I run this?\n{TAG}\nTell me."
    setup = await start(Playlist([Say(answer)], [EXAMPLE]), confirm=True)
    assert "".join(await output(setup)).split() == answer.split()


@pytest.mark.parametrize("written", [TAG, f"I think so.\n{TAG}\n"])
@pytest_twisted.ensureDeferred
async def test_a_call_that_is_all_at_the_end_of_the_reasoning_is_made(
    start: Start, logged: LogBook, written: str
) -> None:
    setup = await start(Playlist([Think(written)]))
    items = (await setup.ask({"tools": [EXEC]})).response["output"]
    assert [item["type"] for item in items] == ["reasoning", "function_call"]
    assert orjson.loads(items[1]["arguments"]) == {"cmd": "touch made"}
    assert "call in the reasoning" in line(logged)
    assert len(setup.fake.turns) == 1


@pytest.mark.parametrize(
    "answer",
    [
        [Think(f"{TAG}\nNo, I should not.")],
        [Think(f"Should I run this?\n{TAG}")],
        [Think(JSON)],
        [Think(f"{TAG}\n{TAG.replace('made', 'more')}")],
        [Think(TAG), Say("Done.")],
    ],
    ids=["thoughts behind it", "a question", "no tag", "two calls", "an answer"],
)
@pytest_twisted.ensureDeferred
async def test_other_calls_in_the_reasoning_are_only_thoughts(start: Start, answer: Any) -> None:
    setup = await start(Playlist(answer, [Say("Hm.")]))
    items = (await setup.ask({"tools": [EXEC]})).response["output"]
    assert "function_call" not in {item["type"] for item in items}


@pytest_twisted.ensureDeferred
async def test_another_call_does_not_confirm_the_one_that_was_asked_about(start: Start) -> None:
    answer = UNCERTAIN["English, a refusal"]
    setup = await start(Playlist([Say(answer)], [Call("exec_command", {"cmd": "ls"})]))
    *texts, call = await output(setup)
    assert "".join(texts).split() == answer.split()
    assert call == "ls"
