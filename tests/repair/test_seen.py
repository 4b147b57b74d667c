"""What a conversation shows of files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.repair.seen import NotSeen, Place, Seen, SeenTwice, with_seen_lines

FILE = "class A:\n    def run(self):\n        return 1\n"
NUMBERED = "     1\tclass A:\n     2\t    def run(self):\n     3\t        return 1"
PATCH = """*** Begin Patch
*** Update File: src/a.py
@@
 class A:
-    def walk(self):
+    def run(self):
         return 1
*** End Patch
"""
WRITTEN = "mkdir -p -- src && printf %s 'class A:\n    def run(self):\n' > src/a.py"


@pytest.mark.parametrize(
    "texts",
    [
        [("cat src/a.py", f"Output:\n{FILE}")],
        [("cat src/a.py", FILE.replace("\n", "\r\n"))],
        [("cat -n src/a.py", NUMBERED)],
        [("grep -n . src/a.py", NUMBERED.replace("\t", ":"))],
        [("grep -rn run src", "Chunk ID: 1\nOutput:\nsrc/a.py:2:    def run(self):\n")],
        [("rg -n -A1 run src", "src/a.py-2-    def run(self):\nsrc/a.py:3:\treturn 1\n")],
        [("", f"src/a.py\n{FILE}")],
        [("no file is named", FILE)],
        [(PATCH, PATCH)],
        [(WRITTEN, WRITTEN)],
        [("cat src/a.py", FILE.replace("run", "walk")), ("cat src/a.py", FILE)],
        [("cat src/a.py", FILE), ("cat src/b.py", FILE * 2)],
    ],
)
def test_the_lines_that_hold_a_text_are_found(texts: list[tuple[str, str]]) -> None:
    line = "    def run(self):"
    assert Seen(texts).place("src/a.py", "run(") == Place((line,), "    def ", "self):")


def test_what_is_not_shown_or_shown_twice_is_no_place() -> None:
    with pytest.raises(NotSeen):
        Seen([("cat a.py", FILE)]).place("a.py", "walk")
    with pytest.raises(NotSeen):
        Seen([("cat a.py", FILE), ("cat b.py", "walk")]).place("a.py", "walk")
    with pytest.raises(SeenTwice):
        Seen([("cat a.py", FILE)]).place("a.py", "s")


def test_a_place_of_several_lines_has_them_whole() -> None:
    place = Seen([("cat a.py", FILE)]).place("a.py", "run(self):\n        return")
    assert place == Place(("    def run(self):", "        return 1"), "    def ", " 1")
    # The line end that a text ends with belongs to no line.
    assert Seen([("", FILE)]).place("a.py", "return 1\n") == Place(
        ("        return 1",), "        ", ""
    )


def test_a_place_at_the_edges_of_a_text_is_whole() -> None:
    # The first line of a file that a command writes stands behind the beginning of that command.
    assert Seen([(WRITTEN, WRITTEN)]).place("src/a.py", "class").lines == ("class A:",)
    assert Seen([("cat a", "x\nlast")]).place("a", "last\n") == Place(("last",), "", "")
    assert Seen([("cat a", "\nfirst")]).place("a", "irs") == Place(("first",), "f", "t")


def test_an_older_text_is_searched_if_the_newest_does_not_show_it() -> None:
    seen = Seen([("cat a.py", FILE), ("ls a.py", "a.py")])
    assert seen.place("a.py", "class").lines == ("class A:",)


def test_the_newest_text_counts() -> None:
    seen = Seen([("cat a.py", "x = 1"), ("cat a.py", "    x = 1  # new")])
    assert seen.place("a.py", "x = 1").lines == ("    x = 1  # new",)


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        # Half of the lines have a mark: it is a listing. Fewer: they are lines of the file.
        ("1:x = 5\nother", "x = 5"),
        ("1:x = 5\nother\nlines", "1:x = 5"),
        ("1:x = 5\n\n\nother", "x = 5"),
        ("1:x = 5", "x = 5"),
    ],
)
def test_marks_are_left_out_if_most_lines_have_one(shown: str, line: str) -> None:
    assert Seen([("", shown)]).place("a", "x = 5").lines == (line,)


def patched(*lines: str, texts: list[tuple[str, str]] | None = None) -> list[str]:
    """The lines of a hunk for a.py after what stands in the file has been taken from there."""
    head, end = ["*** Begin Patch", "*** Update File: a.py", "@@"], ["*** End Patch"]
    seen = Seen(texts if texts is not None else [("cat a.py", FILE)])
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
        # Not shown, or shown with different white space.
        ["-return 3", "+x"],
        ["-", "+x"],
        ["+only new"],
    ],
)
def test_other_lines_stay_as_they_are(lines: list[str]) -> None:
    assert patched(*lines) == lines


def test_between_different_white_spaces_nothing_is_chosen() -> None:
    texts = [("cat a.py", FILE), ("cat a.py", "return 1\n")]
    assert patched("-  return 1", texts=texts) == ["-  return 1"]


def test_different_white_space_in_one_text_is_no_choice_either() -> None:
    lines = ["-  return 1"]
    assert patched(*lines, texts=[("cat a.py", "return 1\n    return 1\n")]) == lines
    assert patched(*lines, texts=[("cat a.py", "return 1\nx\nreturn 1\n")]) == ["-return 1"]


def test_old_lines_belong_together_across_a_new_one() -> None:
    texts = [("cat a.py", "one\n  two\nthree\n two\n")]
    assert patched(" one", "+new", "-two", texts=texts) == [" one", "+new", "-  two"]


def test_each_file_has_its_own_white_space() -> None:
    texts = [("cat a.py", "return  1\n"), ("cat b.py", "return   1\n")]
    assert patched("-return 1", texts=texts) == ["-return  1"]


def test_only_the_lines_of_an_update_change() -> None:
    patch = """*** Begin Patch
*** Add File: new.py
+return 1
*** Update File: b.py
*** Move to: c.py
@@
- return 1
+ return 2
*** Delete File: a.py
*** End Patch"""
    expected = patch.replace("- return 1", "-        return 1")
    assert with_seen_lines(patch, Seen([("cat b.py", FILE)])) == expected


@given(st.lists(st.text(" \tab", max_size=6), min_size=1, max_size=12), st.data())
def test_any_lines_of_a_file_are_found_as_they_are(lines: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(lines) - 1))
    some = lines[start : start + data.draw(st.integers(1, 4))]
    patch = "\n".join(
        ["*** Begin Patch", "*** Update File: a", "@@", *(f"-{x}" for x in some), "*** End Patch"]
    )
    assert with_seen_lines(patch, Seen([("cat a", "\n".join(lines))])) == patch
