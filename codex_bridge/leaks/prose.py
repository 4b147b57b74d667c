"""Where in a text a call may stand, by the text before it."""

from __future__ import annotations

import re

from attrs import define

from codex_bridge.leaks.styles import STYLES, Style

LINE_LIMIT, BEGIN_LIMIT, BEFORE_LIMIT = 400, 20, 300
"""How much is remembered of the line's end, its beginning and what was said before it."""
TAGS = [
    opener.decode()
    for style in STYLES
    if style.tagged
    for opener in style.openers
    if opener[:1] in (b"<", b"[")
]
"""The openers that are tags, and no words."""
TAG = re.compile("|".join(map(re.escape, TAGS)))
LONGEST_TAG = max(map(len, TAGS))
RESULT = re.compile(r"<(?:tool_response|tool_result|function_results?)>|\[TOOL_RESULTS\]")
QUOTING = "\"'`“‘«=\\(|+/#"
TRIPLES = ('"' * 3, "'" * 3)
INTENT = re.compile(
    r"\b(?:I['’]?ll|I will|I['’]?m going to|I am going to|let me|let['’]s|let us|we will|"
    r"we['’]ll)\b|我来|我将|我要|我会|让我",
    re.IGNORECASE,
)
"""Says that something will be done now."""
CONDITION = re.compile(
    r"\?|\b(?:if|once|unless|until|confirm\w*|would|you (?:can|could|should|may|might)|earlier|"
    r"(?:should|shall|could|may) I|never|not|cannot|can['’]t|don['’]t|won['’]t|show you)\b",
    re.IGNORECASE,
)
"""Says that it is asked, refused, told or put off."""
EXAMPLE = re.compile(
    r"\b(?:examples?|for instance|such as|(?:looks?|like) (?:like|this)|would (?:be|look)|"
    r"formatted as|(?:is|are) written|(?:this|following|right|correct) "
    r"(?:format|syntax|form|shape|structure)|the (?:format|syntax) (?:is|for)|zum Beispiel|"
    r"par exemple|por ejemplo|never|emits?|outputs?|wrote|writes|produces?|generates?|logged)\b|"
    r"\be\.g\.|\bz\. ?B\.|\b(?:how|what)\b[^.:]*\bcall(?:s|ed)?\b|\b(?:like|as)\W*$|例如|比如",
    re.IGNORECASE,
)
"""Says that what follows is shown and not done."""


ABBREVIATION = re.compile(r"\b(?:e\.g|z\. ?B)\.$")


@define
class Prose:
    """What is known of the text so far: where in it we are, and what was said last."""

    line: str = ""
    """The end of the line so far."""
    ticks: int = 0
    begins: str = ""
    """The first characters of the line that are no space."""
    tail: str = ""
    shows_tag: bool = False
    """Whether this paragraph shows a tag; then what is inside of that is shown, too."""
    before: str = ""
    fence: str = ""
    invents: bool = False
    """Whether the model wrote the result of a call itself; what it does then rests on that."""

    def add(self, text: str) -> None:
        """Go on behind `text`."""
        first, *others = text.split("\n")
        self._continue(first)
        for line in others:
            self._end_line()
            self._continue(line)
        self.before = (self.before + text)[-BEFORE_LIMIT:]

    def forget_tags(self) -> None:
        """What was shown last was no tag after all."""
        self.tail, self.shows_tag = "", False

    def _continue(self, text: str) -> None:
        self.ticks += text.count("`")
        if len(self.begins) < BEGIN_LIMIT:
            self.begins = (self.begins + text[:LINE_LIMIT]).lstrip()[:BEGIN_LIMIT]
        self.line = (self.line + text)[-LINE_LIMIT:]
        window = self.tail + text
        if "<" in window or "[" in window:
            self.shows_tag = self.shows_tag or bool(TAG.search(window))
            self.invents = self.invents or bool(RESULT.search(window))
        self.tail = window[-LONGEST_TAG:]

    def _end_line(self) -> None:
        line, self.line = self.line.strip(), ""
        self.ticks, self.begins = 0, ""
        self.tail = ""
        self.shows_tag = self.shows_tag and bool(line)
        if self.fence:
            bare = line.lstrip("> ")
            if self.fence in TRIPLES:
                self.fence = "" if bare.count(self.fence) % 2 else self.fence
            elif bare.startswith(self.fence) and not bare.strip(self.fence[0]):
                self.fence = ""
        elif odd := [mark for mark in TRIPLES if line.count(mark) % 2]:
            self.fence = odd[0]
        elif mark := re.match(r"(?:(?:[-*>]|\d+\.)\s+)*(`{3,}|~{3,})[^`]*$", line):
            self.fence = mark[1]

    def admits(self, style: Style) -> bool:
        """Whether a call of this form may begin here."""
        line = self.line
        blank = not self.begins
        if self.invents or self.fence or self.shows_tag:
            return False
        if self.ticks % 2 or self.begins.startswith(">"):
            return False
        if blank and ("\t" in line or len(line) > 3):
            return False
        if style.words or style.name == "fence":
            return blank
        if not blank and line.rstrip()[-1:] in QUOTING:
            return False
        return style.tagged or blank or line[-1] == ":" or line[-1].isspace()

    @property
    def announces(self) -> bool:
        """Whether the last sentence says that something will be done now."""
        said = self._sentence
        return bool(INTENT.search(said)) and not CONDITION.search(said)

    def introduces(self, style: Style) -> bool:
        """Whether the last sentence says that what follows is shown, and not done."""
        said = self._sentence
        if self.announces:
            return False
        if not style.tagged and CONDITION.search(said):
            return True
        # A sentence that has ended speaks of itself.
        ended = said[-1:] in {".", "!", "?"} and not ABBREVIATION.search(said)
        return not ended and bool(EXAMPLE.search(said))

    @property
    def _sentence(self) -> str:
        return re.split(r"[.!?]\s", self._paragraph)[-1]

    @property
    def _paragraph(self) -> str:
        """The last paragraph so far, even if a new one may just begin."""
        return self.before.rstrip().rpartition("\n\n")[2]
