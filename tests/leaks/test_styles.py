"""Each form in which models write calls: what belongs to it, and what it leaves open."""

from __future__ import annotations

import doctest
from typing import Any

import orjson
import pytest

import codex_bridge.leaks
from codex_bridge.leaks.scanner import Found, LeakScanner, Piece
from codex_bridge.leaks.styles import STYLES, dialect


def scan(*texts: str, known: str = "ls cat", **end: Any) -> list[Piece]:
    """What comes out where the functions `known` are offered and take any arguments."""
    scanner = LeakScanner(lambda name: name in known.split(), lambda call, strict: True)
    return [piece for text in texts for piece in scanner.feed(text)] + scanner.end(**end)


def read(text: str) -> tuple[str, list[tuple[str, Any]], str]:
    """The form of the calls in a text, the calls, and the text that is left."""
    pieces = scan(text)
    assert "".join(map(str, scan(*text))) == "".join(map(str, pieces)), "cutting changes it"
    found = [piece for piece in pieces if isinstance(piece, Found)]
    calls = [(call.name, call.arguments) for piece in found for call in piece.calls]
    rest = "".join(piece for piece in pieces if isinstance(piece, str))
    return " ".join(sorted({piece.style for piece in found})), calls, rest


def test_the_example_of_the_package_is_true() -> None:
    assert doctest.testmod(codex_bridge.leaks).failed == 0
    assert doctest.testmod(codex_bridge.leaks).attempted > 3


A = '{"a": 1}'
LS = ("ls", A)
NONE = ("ls", "{}")
DEEPSEEK = "<｜tool▁call▁begin｜>"
FORMS: list[tuple[str, str, list[tuple[str, str]]]] = [
    # tool_call tag: JSON
    *(
        ("tool_call tag", f'<{tag}>{{"name": "ls", "arguments": {A}}}</{tag}>', [LS])
        for tag in ("tool_call", "tools", "function_call")
    ),
    ("tool_call tag", f'<|tool_call|> {{"name": "ls", "arguments": {A}}} <|/tool_call|>', [LS]),
    *(
        ("tool_call tag", f'<tool_call>{{"{name}": "ls", "{arguments}": {A}}}', [LS])
        for name in ("name", "function", "tool", "tool_name")
        for arguments in ("arguments", "parameters", "args", "params")
    ),
    *(
        ("tool_call tag", f'<tool_call>{{"{key}": {value}, "name": "ls"}}</tool_call>', [NONE])
        for key in ("type", "id", "index", "call_id")
        for value in ('"x"', "'x'", "-1.5e+3", "null")
    ),
    ("tool_call tag", '<tool_call>{"name": "ls", "arguments": null}</tool_call>', [NONE]),
    ("tool_call tag", '<tool_call>{"name": "ls", "arguments": None}</tool_call>', [NONE]),
    ("tool_call tag", '<tool_call>{"name": "ls", "args": "x \\" y"}', [("ls", '"x \\" y"')]),
    ("tool_call tag", f"<tool_call>{{'name' : 'ls' , 'args' : {A} , }}</tool_call>", [LS]),
    ("tool_call tag", f'<tool_call>{{"function": {{"name": "ls", "args": {A}}}}}', [LS]),
    ("tool_call tag", '<tool_call>{"name": "ls"</tool_call>', [NONE]),
    ("tool_call tag", '<tool_call>[{"name": "ls"} , {"name": "cat"}]', [NONE, ("cat", "{}")]),
    ("tool_call tag", '<tool_call>[{"name": "ls"}</tool_call>', []),
    ("tool_call tag", '<tool_call>[ {"name": "ls"}', [NONE]),
    ("tool_call tag", '<tool_call>{"name": "ls", "args": {"a": [{"b": "}"}]}}',
     [("ls", '{"a": [{"b": "}"}]}')]),
    ("tool_call tag", "<tool_call>{'name': 'ls', 'args': {'a': '\\'}'}}",
     [("ls", "{'a': '\\'}'}")]),
    # tool_call tag: pairs
    ("tool_call tag", "<tool_call>ls</tool_call>", [NONE]),
    ("tool_call tag", "<tool_call> ls \n", [NONE]),
    ("tool_call tag",
     "<tool_call>ls <arg_key> a </arg_key> <arg_value> 1 \n</arg_value> <arg_key>b</arg_key>"
     "<arg_value>2</tool_call>", [("ls", '{"a":" 1 \\n","b":"2"}')]),
    # function tag
    ("function tag", "<function=ls></function>", [NONE]),
    ("function tag", "<function='ls'> </function>", [NONE]),
    ("function tag", f'<function="ls"> {A} </function>', [LS]),
    ("function tag", f"<function=ls>{A}", [LS]),
    ("function tag", "<function=ls> <parameter='a'> 1 </parameter> <parameter=b>\n2\n</parameter>"
     " </function>", [("ls", '{"a":"1","b":"2"}')]),
    ("function tag", "<function=ls><parameter=a>\n  1\n\n</parameter></function>",
     [("ls", '{"a":"  1\\n"}')]),
    ("function tag", "<function=ls><parameter=a>1\n</parameter></function>",
     [("ls", '{"a":"1\\n"}')]),
    ("function tag", "<function=ls><parameter=a>\nx\n  <parameter=b>y\n </function>",
     [("ls", '{"a":"x","b":"y"}')]),
    ("function tag", "<function=ls><parameter=a>x\n</tool_call>", [("ls", '{"a":"x"}')]),
    ("function tag", "<function=ls><parameter=a>x</parameter>", [("ls", '{"a":"x"}')]),
    ("function tag", f"<function=ls><parameter=a>x\n{' ' * 40}<parameter=b>y</parameter>",
     [("ls", '{"a":"x","b":"y"}')]),
    # invoke tag
    ("invoke tag", '<invoke name="ls"></invoke>', [NONE]),
    ("invoke tag", "<invoke name='ls'> </invoke> <invoke name=ls></invoke>", [NONE, NONE]),
    ("invoke tag", '<function_calls> <invoke name="ls"> <parameter name="a" string="true">x'
     "</parameter> <parameter name='b'>\ny\n</parameter> </invoke> </function_calls>",
     [("ls", '{"a":"x","b":"y"}')]),
    ("invoke tag", '<minimax:tool_call>\n<invoke name="ls">\n</invoke>\n</minimax:tool_call>',
     [NONE]),
    ("invoke tag", '<invoke name="ls"><parameter name="a">1</parameter>', [("ls", '{"a":"1"}')]),
    # mistral
    ("mistral", f"[TOOL_CALLS]ls{A}", [LS]),
    ("mistral", f"[TOOL_CALLS] ls[CALL_ID]x1[ARGS] {A}", [LS]),
    ("mistral", '[TOOL_CALLS] {"name": "ls"}', [NONE]),
    ("mistral", '[TOOL_CALLS][{"name": "ls"}, {"name": "cat"}]', [NONE, ("cat", "{}")]),
    # llama
    ("llama", '<|python_tag|> {"name": "ls"} ; {"name": "cat"} <|eom_id|>', [NONE, ("cat", "{}")]),
    # deepseek
    ("deepseek", f"{DEEPSEEK} ".strip() + f"ls<｜tool▁sep｜> {A} <｜tool▁call▁end｜>", [LS]),
    ("deepseek", f"<｜tool▁calls▁begin｜> {DEEPSEEK}function<｜tool▁sep｜>ls\n``` {A} ``` "
     f"<｜tool▁call▁end｜> {DEEPSEEK}cat<｜tool▁sep｜>{A}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     [LS, ("cat", A)]),
    # harmony
    ("harmony", f"<|start|>assistant<|channel|>commentary to=ls <|constrain|>json<|message|> {A} "
     "<|call|>", [LS]),
    ("harmony", f"<|channel|>analysis to=ls code {A}<|end|>", [LS]),
    ("harmony", f"<|channel|> commentary json to=ls{A}", [LS]),
    # gemma
    ("gemma", "<start_function_call>call:ls{a:<escape>x}<escape>,b:{c:1}}<end_function_call>",
     [("ls", '{a:"x}",b:{c:1}}')]),
    ("gemma", '<|tool_call>call:ls{a:<|"|>"x"<|"|>}<tool_call|>', [("ls", '{a:"\\"x\\""}')]),
    ("gemma", "<start_function_call>call:ls{a:1", [("ls", "{a:1")]),
    # json
    ("json", f'{{"name": "ls", "arguments": {A}}}', [LS]),
    ("json", f'{{"id": "1", "type": "function", "function": "ls", "parameters": {A}}}', [LS]),
    ("json", f'{{"function": {{"name": "ls", "arguments": {A}}}}}', [LS]),
    ("json", f'[{{"name": "ls", "arguments": {A}}}]', [LS]),
    ("json", '{"name": "ls", "arguments": null}', [NONE]),
    ("json", f'{{"name": "ls", "arguments": {A}}} ; {{"name": "cat", "arguments": {A}}}',
     [LS, ("cat", A)]),
    # fence
    *(
        ("fence", f'```{word}\n{{"name": "ls", "arguments": {A}}}\n```', [LS])
        for word in ("", "json", "JSON", "tool_call", "tool_calls", "tool_code", "tool", "function")
    ),
    ("fence", f'````````json\n[{{"name": "ls", "arguments": {A}}}]\n```', [LS]),
    ("fence", f"``` <function=ls>{A}</function> </tool_call> ```", [LS]),
    ("fence", f'```\n{{"name": "ls", "arguments": {A}}}\n{{"name": "cat", "arguments": {A}}}',
     [LS, ("cat", A)]),
]  # fmt: skip
KIMI = [
    f"functions.ls:0{A}",
    f"functions.ls:12 {A}",
    f"<|tool_call_begin|> functions.ls:0 <|tool_call_argument_begin|>{A} <|tool_call_end|>",
    f"<|tool_call_begin|>functions.ls {A}",
    f"<|tool_calls_section_begin|> <|tool_call_begin|>functions.ls:0 {A}<|tool_call_end|> "
    f"<|tool_call_begin|>functions.ls:1 {A} <|tool_call_end|> <|tool_calls_section_end|>",
]


@pytest.mark.parametrize(("style", "text", "calls"), FORMS)
def test_a_form_is_read_with_all_that_belongs_to_it(
    style: str, text: str, calls: list[tuple[str, str]]
) -> None:
    if calls:
        assert read(text) == (style, calls, "")
    else:
        assert read(text) == ("", [], text)


@pytest.mark.parametrize("text", KIMI)
def test_a_call_of_kimi_has_a_number_or_a_mark(text: str) -> None:
    names = "functions.ls functions.ls:0 functions.ls:1 functions.ls:12"
    (found,) = scan(text, known=names)
    assert isinstance(found, Found)
    assert found.style == "kimi"
    assert {call.arguments for call in found.calls} == {A}
    assert len(found.calls) == text.count("functions.")


NO_CALLS = [
    "<tool_call>",
    "<tool_call></tool_call>",
    "<tool_call>ls<arg_key>a</arg_key>1",
    "<tool_call>ls<arg_key>a",
    "<tool_call>{'name': 'ls', 'colour': 1}</tool_call>",
    "<tool_call>{name: 'ls'}</tool_call>",
    "<tool_call>{'name' 'ls'}</tool_call>",
    "<tool_call>{'name': ls}</tool_call>",
    "<tool_call>{'name': 'ls' 'args': {}}</tool_call>",
    "<tool_call>{'name': 'ls', 'args': 5}</tool_call>",
    "<tool_call>{'name': 'ls', 'args': nothing}</tool_call>",
    "<tool_call>{'name\": 'ls'}</tool_call>",
    "<tool_call>{'name': 'ls",
    "<tool_call>{'args': {}}</tool_call>",
    "<tool_call>{'name': 'rm'}</tool_call>",
    "<tool_call>{'id': x y, 'name': 'ls'}</tool_call>",
    "<tool_call>[{'name': 'ls'}, 5]</tool_call>",
    "<tool_call>[]</tool_call>",
    "<function=ls",
    "<function=ls><parameter=a>",
    "<function=ls><parameter=a> \n",
    "<function=ls>text",
    "<function=rm></function>",
    "<invoke name='rm'></invoke>",
    "<invoke name='ls'>text",
    "<invoke name='ls'><parameter name='a'>1",
    "<function_calls></function_calls>",
    "[TOOL_CALLS]ls",
    "[TOOL_CALLS]rm{}",
    "[TOOL_CALLS]ls[1]",
    "<|python_tag|>print(1)",
    "<|python_tag|>{'name': 'ls'}; print(1)",
    f"{DEEPSEEK}rm<｜tool▁sep｜>{A}",
    f"{DEEPSEEK}ls{A}",
    f"{DEEPSEEK}ls<｜tool▁sep｜>[1]",
    "<｜tool▁calls▁begin｜>text",
    "<|channel|>commentary ls {}",
    "<|channel|>commentary to=rm {}",
    "<|channel|>final<|message|>Hello",
    "<start_function_call>ls{a:1}",
    "<start_function_call>call:rm{a:1}",
    "<start_function_call>call:ls[a]",
    '{"name": "ls"}',
    '{"name": "ls", "args": {}}',
    '{"tool": "ls", "arguments": {}}',
    '{"name": "ls", "arguments": {}, "index": 0}',
    '{"name": "ls", "arguments": {}<',
    "```python\n{'name': 'ls', 'arguments': {}}\n```",
    "```json\n```",
    "```json\n",
    "```json\n{'name': 'ls', 'arguments': {}}\ntext\n```",
    "```json\n<invoke name='ls'></invoke>\n```",
    "`````````\n{'name': 'ls', 'arguments': {}}\n```",
]


@pytest.mark.parametrize("text", NO_CALLS)
def test_what_lacks_a_part_of_its_form_is_text(text: str) -> None:
    assert "".join(map(str, scan(text))) == text
    assert "".join(map(str, scan(*text))) == text


@pytest.mark.parametrize("size", [100, 101])
def test_a_name_has_up_to_a_hundred_bytes(size: int) -> None:
    name = "x" * size
    texts = [
        f"<tool_call>{name}</tool_call>",
        f"<function={name}></function>",
        f"[TOOL_CALLS]{name}{{}}",
        f"<start_function_call>call:{name}{{}}",
        f"<tool_call>ls<arg_key>{name}</arg_key><arg_value>1</arg_value></tool_call>",
        f"<function=ls><parameter={name}>1</parameter></function>",
        f'<invoke name="{name[2:]}"></invoke>',
        f'<tool_call>{{"id": {name}, "name": "ls"}}',
    ]
    for text in texts:
        for pieces in ([text], text):
            out = scan(*pieces, known=f"ls {name} {name[2:]}")
            assert isinstance(out[0], Found) is (size == 100), text


def test_names_may_hold_dots_slashes_colons_and_dashes() -> None:
    for text in ("<tool_call>a.b:c/d-e_f", "<function=a.b:c/d-e_f>", "[TOOL_CALLS]a.b:c/d-e_f{}"):
        (found,) = scan(text, known="a.b:c/d-e_f")
        assert isinstance(found, Found)


STRAYS = (
    "</tool_call> </tool_calls> </minimax:tool_call> </minimax:tool_calls> </tools> </function> "
    "</function_call> </function_calls> </invoke> </parameter> <end_function_call> <tool_call|> "
    "<|eom_id|> <|eot_id|> <|im_end|> <|/tool_call|> <|call|> <|end|> <|tool_calls_section_end|> "
    "<｜tool▁calls▁end｜> </seed:tool_call> <|eom|> <|eot|>"
)
PREFIXED = " ".join(
    f"</{prefix}:{tag}>" for prefix in ("antml", "atem") for tag in ("function_calls", "invoke")
)


@pytest.mark.parametrize("stray", [*STRAYS.split(), *PREFIXED.split()])
def test_end_tags_behind_a_call_are_left_out(stray: str) -> None:
    call = f'<tool_call>{{"name": "ls", "args": {A}}}</tool_call>'
    for text in (f"{call}{stray}", f"{call}\n{stray}\n", f"{call} {stray}{stray}"):
        assert read(text)[1:] == ([LS], "")
    assert read(f"{call}\n{stray}\nDone.")[2] == "\nDone."
    assert read(f"{stray} alone")[2] == f"{stray} alone"


def test_an_unknown_tag_behind_a_call_is_text() -> None:
    call = f'<tool_call>{{"name": "ls", "args": {A}}}</tool_call>'
    assert read(f"{call}</other>")[2] == "</other>"
    assert read(f"{call} <b>bold</b>")[2] == " <b>bold</b>"
    assert read(f"{call}\n<")[2] == "\n<"


def prefixed(prefix: str, *calls: str, wrapped: bool = True) -> str:
    """Calls, each "name key=value", in tags with a prefix."""
    text = ""
    for call in calls:
        name, *pairs = call.split()
        text += f'<{prefix}invoke name="{name}">\n'
        for pair in pairs:
            key, _, value = pair.partition("=")
            text += f'<{prefix}parameter name="{key}">{value}</{prefix}parameter>\n'
        text += f"</{prefix}invoke>\n"
    return f"<{prefix}function_calls>\n{text}</{prefix}function_calls>" if wrapped else text


@pytest.mark.parametrize(
    "text",
    [
        "<start_function_call>call:ls{a:<escape>rm -rf /home/me/ol",
        '<|tool_call>call:ls{a:<|"|>rm -rf /home/me/ol',
        "<tool_call>ls\n<arg_key>a</arg_key>\n<arg_value>rm -rf /home/me/ol",
    ],
)
def test_a_value_that_breaks_off_is_no_value(text: str) -> None:
    assert read(text)[1:] == ([], text)


@pytest.mark.parametrize("prefix", ["antml:", "atem:", ""])
@pytest.mark.parametrize("wrapped", [True, False])
def test_tags_may_have_a_prefix(prefix: str, wrapped: bool) -> None:
    text = prefixed(prefix, "ls a=1", "cat b=2 c=3", wrapped=wrapped)
    found = ("invoke tag", [("ls", '{"a":"1"}'), ("cat", '{"b":"2","c":"3"}')], "")
    assert read(text) == found
    assert read(f"It runs.\n{text}")[2] == "It runs.\n"
    assert read(prefixed(prefix, "other a=1"))[1] == []
    assert len(read(text.rpartition("</")[0])[1]) == 2


def test_glimmer_names_the_function_before_its_tags() -> None:
    text = "<|start|>assistant to=ls<|message|>" + prefixed("atem:", "ls a=1") + "<|eom|>"
    assert read(text) == ("harmony", [("ls", '{"a":"1"}')], "")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (f'<tool_calls>[{{"name": "ls", "arguments": {A}}}]</tool_calls>', 1),
        (f'<tool_calls>{{"name": "ls", "arguments": {A}}}</tool_calls>', 1),
        (2 * f'<tool_call>{{"name": "ls", "arguments": {A}}}</tool_call>\n', 2),
        ("<tool_calls>[]", 0),
        ("<tool_calls>\n<b>no call</b>", 0),
        ("<tool_calls> are a tag", 0),
    ],
)
def test_a_tag_around_all_calls_goes_with_them(text: str, count: int) -> None:
    text = text if text.startswith("<tool_calls>") else f"<tool_calls>\n{text}</tool_calls>"
    found = read(text)
    assert found[1] == [LS] * count
    assert found[2] == ("" if count else text)


@pytest.mark.parametrize(
    "text",
    [
        f"<function=ls>```json\n{A}\n```</function>",
        f"<function=ls>\n```\n{A}\n```\n</function>",
        f'<function name="ls">```{A}```</function>',
        f'<tool_call>```json\n{{"name": "ls", "arguments": {A}}}\n```</tool_call>',
        f"<function=ls>```json\n{A}",
        f"<tool_call>```\n<function=ls>{A}</function>\n```</tool_call>",
    ],
)
def test_a_fence_between_tags_goes_with_them(text: str) -> None:
    assert read(text)[1:] == ([LS], "")


@pytest.mark.parametrize(
    "text",
    [
        "<function=ls>```bash\nls -la\n```</function>",
        "<tool_call>```json\nls\n```</tool_call>",
        '<function name="ls">```\nx```</function>',
    ],
)
def test_a_fence_with_anything_else_is_no_call(text: str) -> None:
    assert read(text)[1:] == ([], text)


@pytest.mark.parametrize(
    ("text", "is_call"),
    [
        (f'{{"tool_calls": [{{"name": "ls", "arguments": {A}}}]}}', True),
        (f'{{ "tool_calls" : [{{"function": {{"name": "ls", "arguments": {A}}}}}] }}', True),
        (f'{{"tool_calls": [{{"name": "ls", "arguments": {A}}}], "x": 1}}', False),
        ('{"tool_calls": []}', False),
        ('{"tool_calls": 5}', False),
        ('{"tool_call_count": 5}', False),
        (f'{{"tool_calls": [{{"name": "ls", "arguments": {A}}}]', True),
    ],
)
def test_a_message_with_calls_as_a_whole_answer_is_calls(text: str, is_call: bool) -> None:
    assert read(text) == (("json", [LS], "") if is_call else ("", [], text))


@pytest.mark.parametrize(
    ("template", "taught"),
    [
        ("", None),
        ("{{ .Prompt }}", None),
        ("{%- if tools %}```json {{ tools }}{%- endif %} to=functions.x [", None),
        ("<tools>{{ .Tools }}</tools> <tool_call>{}</tool_call>", {"tool_call tag"}),
        ("<tool_call>\n<function=x>\n<parameter=y>", {"tool_call tag", "function tag"}),
        ("[TOOL_CALLS] {{ range .ToolCalls }}", {"mistral"}),
        ("<|start|>assistant<|channel|>commentary", {"harmony"}),
    ],
)
def test_a_template_tells_the_forms_with_marks_that_it_teaches(
    template: str, taught: set[str] | None
) -> None:
    assert dialect(template) == taught


def test_the_names_of_the_forms_are_those_of_the_log() -> None:
    assert [style.name for style in STYLES] == [
        "tool_call tag", "function tag", "invoke tag", "named function tag", "dsml", "lfm",
        "json tag", "json tag", "functools", "mistral", "llama", "deepseek", "kimi", "kimi",
        "harmony", "harmony", "gemma", "fence", "json",
    ]  # fmt: skip


def test_arguments_of_any_text_come_out_as_they_went_in() -> None:
    value = 'ä "quoted" \\ {[ 日本 }'
    text = f"<tool_call>ls<arg_key>a</arg_key><arg_value>{value}</arg_value></tool_call>"
    (found,) = scan(*text)
    assert isinstance(found, Found)
    assert orjson.loads(found.calls[0].arguments) == {"a": value}


def test_only_quotes_and_spaces_around_a_name_are_taken_off() -> None:
    texts = [
        "<function=\"X\"><parameter='X'>1</parameter></function>",
        "<invoke name=' X '><parameter name=X>1</parameter></invoke>",
        '<invoke name="X"><parameter name="X">1</parameter></invoke>',
    ]
    for text in texts:
        (found,) = scan(text, known="X")
        assert isinstance(found, Found)
        assert found.calls[0].name == "X"
        assert orjson.loads(found.calls[0].arguments) == {"X": "1"}


@pytest.mark.parametrize(("size", "found"), [(1999, True), (2000, False)])
def test_a_long_text_that_was_no_call_is_not_searched_again(size: int, found: bool) -> None:
    before = '<invoke name="ls"><parameter name="a">'
    call = "<tool_call>{'name': 'ls'}</tool_call>"
    text = before + "x" * (size - len(before) - len(call)) + call
    pieces = scan(text)
    assert any(isinstance(piece, Found) for piece in pieces) is found
    assert found or pieces == [text]


def test_a_huge_piece_is_read_like_many_small_ones() -> None:
    call = "<tool_call>{'name': 'ls', 'args': {'a': '" + "é" * 9000 + "'}}</tool_call>"
    text = "word " * 2000 + "\n" + call + "\n" + "word " * 2000
    pieces = scan(text)
    assert [type(piece) for piece in pieces] == [str, Found, str]
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == text.replace(call, "")


@pytest.mark.parametrize("size", [20, 21])
def test_a_key_and_the_word_of_a_fence_have_up_to_twenty_bytes(size: int) -> None:
    """What is longer is passed on before it is complete."""
    for begin in ("<tool_call>{'", "```"):
        scanner = LeakScanner(lambda name: True, lambda call, strict: True)
        given = "".join(map(str, scanner.feed(begin + "k" * size)))
        assert bool(given) is (size == 21), begin


PYTHON = {
    'ls(a="x")': '{"a":"x"}',
    "ls()": "{}",
    "ls(a=1, b=-2.5, c=True, d=None)": '{"a":1,"b":-2.5,"c":true,"d":null}',
    "ls(a=true, b=null, c=false)": '{"a":true,"b":null,"c":false}',
    "ls(a=[1, 'b'], b={'c': 'd'})": '{"a":[1,"b"],"b":{"c":"d"}}',
    'ls(a="1 ) 2 ( \\" ]")': '{"a":"1 ) 2 ( \\" ]"}',
    'ls(\n  a="x",\n)': '{"a":"x"}',
}


@pytest.mark.parametrize(("call", "arguments"), PYTHON.items(), ids=PYTHON)
def test_calls_as_in_python(call: str, arguments: str) -> None:
    for name, text in {
        "lfm": f"<|tool_call_start|>[{call}]<|tool_call_end|>",
        "invoke tag": f"<function_calls>\n{call}\n</function_calls>",
        "fence": f"```tool_code\n{call}\n```",
    }.items():
        assert read(text) == (name, [("ls", arguments)], "")
    several = f"<|tool_call_start|>[{call}, cat(f='x')]<|tool_call_end|>"
    assert read(several)[1] == [("ls", arguments), ("cat", '{"f":"x"}')]


@pytest.mark.parametrize(
    "call",
    [
        "ls('x')", "ls(a=b)", "ls(a=f())", "ls(**{'a': 1})", "ls(a=1", "ls(a=1j)", "ls(a={1})",
        "ls(a=b'x')", "ls a", "print(a=1)", "ls(a=1 if x else 2)", "ls(a='x' 1)",
    ],
)  # fmt: skip
def test_what_python_would_have_to_work_out_is_no_call(call: str) -> None:
    text = f"<|tool_call_start|>[{call}]"
    assert scan(text) == [text]
    assert scan(f"```tool_code\n{call}\n```") == [f"```tool_code\n{call}\n```"]


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("json tag", '<TOOLCALL>[{"name": "ls", "arguments": {"a": 1}}]</TOOLCALL>'),
        ("json tag", '<|START_ACTION|>{"tool_name": "ls", "parameters": {"a": 1}}<|END_ACTION|>'),
        ("functools", 'functools[{"name": "ls", "arguments": {"a": 1}}]'),
        ("named function tag", '<function name="ls"> {"a": 1} </function>'),
        ("json", '{"name": "ls", "arguments": {"a": 1}}</s>'),
        ("json", '{"name": "ls", "arguments": {"a": 1}}<|endoftext|>'),
    ],
)
def test_forms_of_later_families(style: str, text: str) -> None:
    assert read(text) == (style, [LS], "")


@pytest.mark.parametrize(
    "text",
    [
        '<function name="rm"><parameter name="a">1</parameter></function>',
        '<function name="ls"><parameter name="a">1</parameter> and so on',
        '<function name="ls"><parameter name="a">1</function>',
        "<TOOLCALL> begins a call",
        "functools[0] is a module",
        '<｜DSML｜invoke name="rm"></｜DSML｜invoke>',
        '<｜DSML｜invoke name="ls"><｜DSML｜parameter name="a" string="true">1',
        "<｜DSML｜function_calls>",
    ],
)
def test_what_only_begins_like_them_is_text(text: str) -> None:
    assert scan(text) == [text]
    assert scan(*text) == [text] or "".join(map(str, scan(*text))) == text
