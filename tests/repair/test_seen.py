"""What a conversation shows of files."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.repair.seen import NotSeen, Place, Seen, SeenInPart, SeenTwice, with_seen_lines
from codex_bridge.repair.shell_words import WORD, unquoted

FILE = "class A:\n    def run(self):\n        return 1\n"
CAT = "cat src/a.py"
HEAD = "Chunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\n"
NUMBERED = "     1\tclass A:\n     2\t    def run(self):\n     3\t        return 1"
HUNK = "@@\n class A:\n-    def walk(self):\n+    def run(self):\n         return 1\n"
PATCH = f"*** Begin Patch\n*** Update File: src/a.py\n{HUNK}*** End Patch\n"
ADDED = "".join(f"+{line}\n" for line in FILE.splitlines())
ADDING = f"*** Begin Patch\n*** Add File: src/a.py\n{ADDED}*** End Patch\n"
WRITING = f"mkdir -p -- src && printf %s {shlex.quote(FILE)} > src/a.py"
DONE = "Success. Updated the following files:\nM src/a.py"
RUN = Place(("    def run(self):",), "    def ", "self):", ("class A:",), ("        return 1",))


def place(text: str, *calls: tuple[str, str], path: str = "src/a.py") -> Place:
    return Seen(calls).place(path, text)


@pytest.mark.parametrize(
    "calls",
    [
        [(CAT, HEAD + FILE.removesuffix("\n"))],
        [(CAT, FILE.removesuffix("\n").replace("\n", "\r\n"))],
        [("cat -n src/a.py", HEAD + NUMBERED)],
        [("nl -ba src/a.py", NUMBERED)],
        [("grep -n '' src/a.py", NUMBERED.replace("\t", ":"))],
        [
            (
                "grep -rn '' src",
                "".join(f"src/a.py:{n}:{line}\n" for n, line in enumerate(FILE.splitlines(), 1)),
            )
        ],
        [
            (
                "rg -n -C1 run src",
                "src/a.py-1-class A:\nsrc/a.py:2:    def run(self):\nsrc/a.py-3-        return 1\n",
            )
        ],
        [(PATCH, DONE)],
        [(f"apply_patch <<'EOF'\n{PATCH}EOF", DONE)],
        [(ADDING, DONE)],
        [(CAT, FILE.replace("run", "walk")), (PATCH, DONE)],
        [(CAT, FILE.removesuffix("\n")), ("cat src/b.py", FILE * 2), ("pytest -q", "3 passed")],
        # A longer path, or a shorter one, may be that of the same file.
        [("cat /home/me/src/a.py", FILE.removesuffix("\n"))],
        [("cd src && cat ./a.py", FILE.removesuffix("\n"))],
    ],
)
def test_the_lines_that_hold_a_text_are_found(calls: list[tuple[str, str]]) -> None:
    assert place("run(", *calls) == RUN


def test_what_a_command_writes_is_a_whole_file() -> None:
    seen = Seen([(WRITING, HEAD)])
    assert seen.place("src/a.py", "run(").lines == ("    def run(self):",)
    assert seen.place("src/a.py", "class").lines == ("class A:",)


@pytest.mark.parametrize(
    "call",
    [
        "*** Begin Patch\n*** Add File: src/a.py\n+VERSION = 1\n*** End Patch\n",
        "mkdir -p -- src && printf %s 'VERSION = 1' > src/a.py",
    ],
)
def test_in_a_file_that_the_model_wrote_no_line_needs_others_around_it(call: str) -> None:
    assert place("1", (call, f"{HEAD}{DONE}")).lines == ("VERSION = 1",)


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [(CAT, "nothing of it")],
        [("cat src/b.py", FILE), ("cat lib/a.py", FILE), ("cat xsrc/a.py", FILE)],
        # A command itself is no text of a file.
        [("grep -n 'def run(self):' src/a.py", "")],
        # What failed has written nothing.
        [(PATCH, "apply_patch verification failed: Failed to find expected lines")],
        [(WRITING, "Process exited with code 1\nOutput:\n")],
        # What may have changed since then.
        *(
            [(CAT, FILE), (changes, "")]
            for changes in (
                "black .",
                "ruff format src",
                "sed -i s/1/2/ src/a.py",
                "git checkout -- src",
                "echo x > src/a.py",
                "mv src/b.py src/a.py",
                "perl -pi -e 's/a/b/' src/a.py",
                "npx prettier --write src",
                "cp b src/a.py",
            )
        ),
    ],
)
def test_what_is_not_shown_is_not_found(calls: list[tuple[str, str]]) -> None:
    with pytest.raises(NotSeen):
        place("run(", *calls)


ONE_LINE = "*** Begin Patch\n*** Update File: src/a.py\n@@\n-{}\n+{}\n*** End Patch\n"


def test_what_was_seen_before_a_patch_is_as_it_is_after_it() -> None:
    change = (ONE_LINE.format("class A:", "class B:"), DONE)
    found = place("run(", (CAT, FILE), change)
    assert (found.above, found.below) == (("class B:",), ("        return 1",))
    with pytest.raises(NotSeen):
        place("class A", (CAT, FILE), change)
    # A patch of another file, or one that failed, changes nothing.
    other = ONE_LINE.replace("src/a.py", "src/b.py").format("class A:", "class B:")
    for call in ((other, DONE), (change[0], "apply_patch verification failed: x")):
        assert place("run(", (CAT, FILE), call) == RUN


@pytest.mark.parametrize(
    "call",
    [
        # Which of two lines was changed, or where a line was added, cannot be told; a new file.
        ONE_LINE.format("        return 1", "x"),
        "*** Begin Patch\n*** Update File: src/a.py\n@@ class A:\n+x\n*** End Patch\n",
        "*** Begin Patch\n*** Add File: src/a.py\n+x\n*** End Patch\n",
        "printf %s x > src/a.py",
    ],
)
def test_what_cannot_be_followed_is_forgotten(call: str) -> None:
    result = '{"output":"Success. Updated the following files"}\nProcess exited with code 0'
    with pytest.raises(NotSeen):
        place("class A", (CAT, FILE + FILE), (call, result))


@pytest.mark.parametrize("call", [CAT, "sed -n 1,9p src/a.py"])
def test_a_text_at_several_places_is_no_place(call: str) -> None:
    with pytest.raises(SeenTwice):
        place("s", (call, FILE))


@pytest.mark.parametrize(
    ("shown", "is_enough"),
    [
        ("        return 1", False),
        ("    def run(self):\n        return 1", False),
        (FILE.removesuffix("\n"), True),
        ("        return 1\n\n\n", False),
        ("        return 1\n\nx = 2\ny = 3", True),
    ],
)
def test_of_a_part_of_a_file_the_lines_around_are_needed(shown: str, is_enough: bool) -> None:
    call = ("sed -n 50,53p src/a.py", shown)
    if is_enough:
        assert place("return 1", call).lines == ("        return 1",)
        return
    with pytest.raises(SeenInPart):
        place("return 1", call)
    # An older text may show enough.
    assert place("return 1", (CAT, FILE), call).lines == ("        return 1",)


def test_only_lines_that_follow_each_other_are_context() -> None:
    found = "src/a.py:5:one\nsrc/a.py:9:two\nsrc/a.py:10:three\nsrc/b.py:11:four\n"
    with pytest.raises(SeenInPart):
        place("two", ("grep -rn . src", found))


def test_a_place_of_several_lines_has_them_whole() -> None:
    found = place("run(self):\n        return", (CAT, FILE))
    assert (found.lines, found.before, found.after) == (
        ("    def run(self):", "        return 1"),
        "    def ",
        " 1",
    )
    # The line end that a text ends with belongs to no line.
    found = place("return 1\n", (CAT, FILE.removesuffix("\n")))
    assert (found.lines, found.before, found.after) == (("        return 1",), "        ", "")
    found = place("irs", (CAT, "\nfirst"))
    assert (found.lines, found.before, found.after) == (("first",), "f", "t")


def test_up_to_three_lines_around_a_place_are_context() -> None:
    lines = [f"line {n}" for n in range(1, 10)]
    found = place("e 5", (CAT, "\n".join(lines)))
    assert found.above == ("line 2", "line 3", "line 4")
    assert found.below == ("line 6", "line 7", "line 8")


def test_the_newest_text_counts_and_older_ones_if_it_does_not_show_it() -> None:
    assert place("x = 1", (CAT, "x = 1"), (CAT, "    x = 1  # new")).lines == ("    x = 1  # new",)
    assert place("class", (CAT, FILE), ("cat src/a.py", "")).lines == ("class A:",)


@pytest.mark.parametrize(
    ("call", "shown", "line"),
    [
        # Numbers that are the file's own.
        (CAT, "80: web\n443: tls\n22: ssh", "443: tls"),
        (CAT, "2024-01-02 one\n2024-01-03 tls", "2024-01-03 tls"),
        (CAT, "1: x\ntls", "tls"),
        ("cat -n src/a.py", "  6\tweb\n  7\ttls\n  8\tx", "tls"),
        (CAT, "7: web\n8: tls", "8: tls"),
    ],
)
def test_numbers_before_lines_are_marks_only_of_a_listing(call: str, shown: str, line: str) -> None:
    assert place("tls", (call, shown)).lines == (line,)


def patched(*lines: str, calls: list[tuple[str, str]] | None = None) -> list[str]:
    """The lines of a hunk for a.py after what stands in the file has been taken from there."""
    head, end = ["*** Begin Patch", "*** Update File: a.py", "@@"], ["*** End Patch"]
    seen = Seen(calls if calls is not None else [("cat a.py", FILE)])
    made = with_seen_lines("\n".join([*head, *lines, *end]), seen).split("\n")
    assert (made[:3], made[-1:]) == (head, end)
    return made[3:-1]


def test_old_lines_get_the_white_space_of_the_file() -> None:
    wrong = [" class A:", "   def  run(self):", "-return 1", "+        return 2"]
    right = [" class A:", "     def run(self):", "-        return 1", "+        return 2"]
    assert patched(*wrong) == right
    assert patched(*right) == right


@pytest.mark.parametrize(
    "lines",
    [
        # Not shown; one line alone, which may be another that was not seen; blank ones.
        [" def run(self):", "-return 3", "+x"],
        ["-return 1", "+x"],
        ["-", " ", "-return 1", "+x"],
        ["+only new"],
    ],
)
def test_other_lines_stay_as_they_are(lines: list[str]) -> None:
    assert patched(*lines) == lines


TWO = ["-def run(self):", "-return 1"]


@pytest.mark.parametrize(
    "calls",
    [
        [("cat a.py", FILE), ("cat a.py", "def run(self):\nreturn 1\n")],
        [("cat a.py", f"{FILE}\ndef run(self):\n  return 1\n")],
        [("cat b.py", FILE)],
        [("cat a.py", FILE), ("black a.py", "")],
    ],
)
def test_in_doubt_nothing_is_chosen(calls: list[tuple[str, str]]) -> None:
    assert patched(*TWO, calls=calls) == TWO


def test_the_same_white_space_at_several_places_is_no_doubt() -> None:
    assert patched(*TWO, calls=[("cat a.py", f"{FILE}x\n{FILE}")]) == [
        "-    def run(self):",
        "-        return 1",
    ]


def test_old_lines_belong_together_across_a_new_one() -> None:
    calls = [("cat a.py", "one\n  two\nthree\n two\n")]
    assert patched(" one", "+new", "-two", calls=calls) == [" one", "+new", "-  two"]


def test_each_file_has_its_own_white_space() -> None:
    calls = [("cat a.py", "x\nreturn  1\n"), ("cat b.py", "x\nreturn   1\n")]
    assert patched(" x", "-return 1", calls=calls) == [" x", "-return  1"]


def test_only_the_lines_of_an_update_change() -> None:
    patch = """*** Begin Patch
*** Add File: new.py
+def run(self):
+return 1
*** Update File: b.py
*** Move to: c.py
@@
 def run(self):
- return 1
+ return 2
*** Delete File: a.py
*** End Patch"""
    expected = patch.replace(" def run(self):\n- ", "     def run(self):\n-        ")
    assert with_seen_lines(patch, Seen([("cat b.py", FILE)])) == expected


def test_a_patch_of_very_many_hunks_stays_as_it_is() -> None:
    hunks = 300 * ["@@", " def run(self):", "-return 1"]
    patch = "\n".join(["*** Begin Patch", "*** Update File: a.py", *hunks, "*** End Patch"])
    assert with_seen_lines(patch, Seen([("cat a.py", FILE)])) == patch


@given(st.lists(st.text(" \tab", max_size=6), min_size=1, max_size=12), st.data())
def test_any_lines_of_a_file_are_found_as_they_are(lines: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(lines) - 1))
    some = lines[start : start + data.draw(st.integers(1, 4))]
    patch = "\n".join(
        ["*** Begin Patch", "*** Update File: a", "@@", *(f"-{x}" for x in some), "*** End Patch"]
    )
    assert with_seen_lines(patch, Seen([("cat a", "\n".join([*lines, ""]))])) == patch


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_word_of_a_shell_is_read_back(text: str) -> None:
    word = shlex.quote(text)
    assert re.fullmatch(WORD, word, re.ASCII)
    assert unquoted(word) == text


WIDE = "            go()\n            return None\n"
NARROW = "    go()\n    return None\n"


def test_a_patch_is_not_moved_to_lines_that_look_alike() -> None:
    """Only a part of the file was seen since the model copied these lines exactly."""
    calls = [("cat a.py", WIDE + NARROW), ("python3 fix.py", ""), ("sed -n 1,2p a.py", WIDE)]
    lines = ["     go()", "-    return None", "+    return 1"]
    assert patched(*lines, calls=calls) == lines


@pytest.mark.parametrize(
    "call",
    [
        "pytest -q src/a.py",
        "git diff src/a.py",
        "git show HEAD:src/a.py",
        "grep -h . src/a.py | sed 's/^/  /'",
        "cat src/a.py src/b.py",
        "cat src/a.py|tail",
        "python3 src/a.py",
    ],
)
def test_what_programs_print_is_no_file(call: str) -> None:
    with pytest.raises(NotSeen):
        place("run(", (call, FILE))
    # What was seen before stays, where the command changes nothing.
    if not call.startswith(("python3", "grep")):
        assert place("run(", (CAT, FILE), (call, "  " + FILE)).lines == ("    def run(self):",)


def test_a_patch_with_a_command_behind_it_makes_all_unknown() -> None:
    call = f"apply_patch <<'EOF'\n{PATCH}EOF\npython -m black ."
    with pytest.raises(NotSeen):
        place("return 1", (CAT, FILE), (call, DONE))


def test_a_file_of_the_same_name_elsewhere_is_another_one() -> None:
    calls = [("cat package.json", "a\nb: 1"), ("cat web/package.json", "b: 1\nb: 1\nc")]
    assert place("b: 1", *calls, path="package.json").above == ("a",)
    assert place("c", *calls, path="web/package.json").lines == ("c",)


def test_what_codex_left_out_is_no_line_of_the_file() -> None:
    shown = f"{HEAD}Total output lines: 900\n\n{FILE}x…12 tokens truncated…y\none\ntwo\nthree\n"
    found = place("run(", (CAT, shown))
    assert (found.above, found.below) == (("class A:",), ("        return 1",))
    assert place("two", (CAT, shown)).above == ("one",)
    # It is no whole file then.
    with pytest.raises(SeenInPart):
        place("class A", (CAT, f"{HEAD}class A:\n…12 chars truncated…\nx"))


@pytest.mark.parametrize(
    ("shown", "hunk"),
    [
        # The hunk begins above what was seen; its old lines differ by white space.
        ("    x = 1\n    y = 2\n    z = 3", "-a\n-    x = 1\n+a\n+x = 1"),
        ("    x = 1\n    y = 2\n    z = 3", "-    x = 1 \n+x = 1"),
    ],
)
def test_what_a_patch_changed_in_part_is_forgotten(shown: str, hunk: str) -> None:
    patch = f"*** Begin Patch\n*** Update File: src/a.py\n@@\n{hunk}\n*** End Patch\n"
    with pytest.raises((NotSeen, SeenInPart)):
        place("y = 2", ("sed -n 7,9p src/a.py", shown), (patch, DONE))


def test_of_a_part_of_a_file_what_a_patch_changed_elsewhere_stays() -> None:
    shown = "one\ntwo\nthree"
    elsewhere = ONE_LINE.format("far away", "farther")
    found = place("two", ("sed -n 7,9p src/a.py", shown), (elsewhere, DONE))
    assert (found.above, found.below) == (("one",), ("three",))


def test_slashes_and_dots_make_no_other_path() -> None:
    assert place("run(", ("cat ./src//a.py", FILE), ("cat b/src/a.py", "x")) == RUN
