"""Where in a text a call may stand, by the text before it."""

from __future__ import annotations

import re

from attrs import define

from codex_bridge.translate.leak_styles import STYLES, Style

LINE_LIMIT, BEFORE_LIMIT = 400, 300
"""How much is remembered of the line and of what was said before, in characters."""
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
QUOTING = "\"'`“‘«=\\"
ABBREVIATION = re.compile(r"\b(?:e\.g|z\. ?B)\.$")
EXAMPLE = re.compile(
    r"\b(?:(?:for|an?|another|this|following|simple) example|for instance|such as|"
    r"(?:looks?|like) (?:like|this)|would (?:be|look)|formatted as|(?:is|are) written|"
    r"(?:this|following|right|correct) (?:format|syntax|form|shape|structure)|"
    r"the (?:format|syntax) (?:is|for)|zum Beispiel|par exemple|por ejemplo)\b|"
    r"\be\.g\.|\bz\. ?B\.|\b(?:how|what)\b[^.:]*\bcall(?:s|ed)?\b|^\W*Examples?\b|"
    r"\b(?:like|as)\W*$|例如|比如",
    re.IGNORECASE,
)
ANNOUNCEMENT = re.compile(
    r"\b(?:I['’]?ll|I will|I['’]?m|I am|I need|I should|I want|let me|let['’]s|let us|we will|"
    r"we['’]ll|we need|going to|first|next|then|now|calling|running|using)\b|"
    r"我来|我将|我要|我会|让我|首先|现在|接下来",
    re.IGNORECASE,
)


@define
class Prose:
    """What is known of the text so far: where in it we are, and what was said last."""

    line: str = ""
    tail: str = ""
    shows_tag: bool = False
    """Whether this paragraph shows a tag; then what is inside of that is shown, too."""
    before: str = ""
    fence: str = ""

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
        self.line = (self.line + text)[:LINE_LIMIT]
        window = self.tail + text
        if "<" in window or "[" in window:
            self.shows_tag = self.shows_tag or bool(TAG.search(window))
        self.tail = window[-LONGEST_TAG:]

    def _end_line(self) -> None:
        line, self.line = self.line.strip(), ""
        self.tail = ""
        self.shows_tag = self.shows_tag and bool(line)
        if self.fence:
            if line.startswith(self.fence) and not line.strip(self.fence[0]):
                self.fence = ""
        elif mark := re.match(r"(?:(?:[-*>]|\d+\.)\s+)*(`{3,}|~{3,})[^`]*$", line):
            self.fence = mark[1]

    def admits(self, style: Style) -> bool:
        """Whether a call of this form may begin here."""
        line = self.line
        blank = not line.strip()
        if self.fence or self.shows_tag or line.count("`") % 2 or line.lstrip().startswith(">"):
            return False
        if blank and ("\t" in line or len(line) > 3):
            return False
        if style.words or style.name == "fence":
            return blank
        if not blank and line.rstrip()[-1] in QUOTING:
            return False
        return style.tagged or blank or line[-1] == ":" or line[-1].isspace()

    @property
    def is_announcement(self) -> bool:
        """Whether the last paragraph says that something will be done now."""
        return bool(ANNOUNCEMENT.search(self._paragraph))

    @property
    def is_introduction(self) -> bool:
        """Whether the last sentence says that an example follows: one that has not ended."""
        sentence = re.split(r"[.!?]\s", self._paragraph)[-1]
        ended = sentence[-1:] in {".", "!", "?"} and not ABBREVIATION.search(sentence)
        return not ended and bool(EXAMPLE.search(sentence))

    @property
    def _paragraph(self) -> str:
        """The last paragraph so far, even if a new one may just begin."""
        return self.before.rstrip().rpartition("\n\n")[2]
