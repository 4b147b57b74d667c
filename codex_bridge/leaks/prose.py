"""Where in a text a call may stand, by the text before it."""

from __future__ import annotations

import re

from attrs import define

from codex_bridge.leaks.styles import STYLES, Style

LINE_LIMIT = 400
"""Characters of the current line that are kept, counted from its end."""
LINE_START_LIMIT = 20
"""Characters of the current line that are kept, counted from its beginning."""
RECENT_LIMIT = 300
"""Characters that are kept to find the last sentence."""
TAGS = [
    opener.decode()
    for style in STYLES
    if style.tagged
    for opener in style.openers
    if opener[:1] in (b"<", b"[")
]
"""The openers that are tags and not words."""
TAG = re.compile("|".join(map(re.escape, TAGS)))
LONGEST_TAG = max(map(len, TAGS))
RESULT_TAGS = (
    *("<tool_response>", "<tool_result>", "<function_result>", "<function_results>"),
    "[TOOL_RESULTS]",
)
"""The beginning of a call's result, which only the client may give."""
RESULT = re.compile("|".join(map(re.escape, RESULT_TAGS)))
LONGEST_RESULT = max(map(len, RESULT_TAGS))
QUOTING = tuple("\"'`“‘«=\\(|+/#")
"""What follows one of these is quoted or part of some code."""
TRIPLES = ('"' * 3, "'" * 3)
FENCE = re.compile(r"(?:(?:[-*>]|\d+\.)\s+)*(`{3,}|~{3,})[^`]*$")
"""A line that opens a code fence, perhaps in a list or a quotation."""
INTENT = re.compile(
    r"\b(?:I['’]?ll|I will|I['’]?m going to|I am going to|let me|let['’]s|let us|we will|"
    r"we['’]ll|ich werde|ich (?:führe|schaue|prüfe|lese|starte|sehe)|lass mich|je vais|"
    r"laisse[zr]?[- ]moi|voy a|d[ée]jame|vamos a|vou|deixe-me|сейчас я|я (?:сейчас|запущу|"
    r"проверю|посмотрю|выполню|прочитаю))\b|我来|我将|我要|我会|让我|(?:し|見|読み)ます|しましょう|"
    r"겠습니다|할게요",
    re.IGNORECASE,
)
"""The model says that it does something now."""
CONDITION = re.compile(
    r"\?|\b(?:if|once|unless|until|confirm\w*|would|you (?:can|could|should|may|might)|earlier|"
    r"(?:should|shall|could|may) I|never|not|cannot|can['’]t|don['’]t|won['’]t|show you)\b",
    re.IGNORECASE,
)
"""The model asks about something, refuses it, reports it or puts it off."""
HESITATION = re.compile(
    r"[?\uff1f]\W*$|"
    r"\b(?:(?:will|do|should|must|would) not|(?:wo|do|should|would)n['’]t|never|refuse\w*|"
    r"not (?:going to|be|run)|unless|if you|(?<!\bat )once|confirm\w*|(?:should|shall|may|could) I|"
    r"nicht|niemals|soll ich|falls|sobald|"
    r"ne \w+ pas|jamais|dois-je|si vous|dès que|une fois|"
    r"no (?:voy|lo|la|debo|se|haré|ejecut\w*)|nunca|una vez|si (?:usted|quiere\w*)|"
    r"não|devo|se você|assim que|"
    r"не|никогда|если|после того)\b|"
    r"不会|不要|不能|不应|(?<![特识类分区个级差性])别(?![的人名])|是否|如果|一旦|しません|ません|しないで|(?<!か)もし|않|마세요|할까요|만약",
    re.IGNORECASE,
)
"""The model refuses what follows, asks about it or puts it off: in English, German, French,
Spanish, Portuguese, Russian, Chinese, Japanese, Korean."""
EXAMPLE = re.compile(
    r"\b(?:examples?|for instance|such as|(?:looks?|like) (?:like|this)|would (?:be|look)|"
    r"formatted as|(?:is|are) written|(?:this|following|right|correct) "
    r"(?:format|syntax|form|shape|structure)|the (?:format|syntax) (?:is|for)|zum Beispiel|"
    r"par exemple|por ejemplo|never|emits?|outputs?|wrote|writes|produces?|generates?|logged)\b|"
    r"\be\.g\.|\bz\. ?B\.|\b(?:how|what)\b[^.:]*\bcall(?:s|ed)?\b|\b(?:like|as)\W*$|例如|比如",
    re.IGNORECASE,
)
"""The model says that what follows is only shown."""
SENTENCE_END = re.compile(r"(?<!\bz)[.!?]\s")
"""The end of a sentence; the first full stop of the German "z. B." is none."""
ABBREVIATION = re.compile(r"\b(?:e\.g|z\. ?B)\.$")


def refuses(text: str) -> bool:
    """Whether the last sentence of `text` refuses what follows, asks about it or only shows it."""
    prose = Prose()
    prose.add(text)
    return prose.hesitates or (not prose.announces and bool(EXAMPLE.search(prose.last_sentence)))


@define
class Prose:
    """What matters of the text so far: the state of the current line, and the last sentence."""

    line: str = ""
    """The end of the current line."""
    line_start: str = ""
    """The first characters of the current line behind its indentation."""
    backticks: int = 0
    """How many the current line has; an odd number leaves inline code open."""
    fence: str = ""
    """The mark that opened the code fence or triple-quoted string we are in, if any."""
    recent: str = ""
    """The end of the text, for its last sentence."""
    shows_tag: bool = False
    """Whether this paragraph shows a tag as text; then what stands inside of it is text, too."""
    shows_result: bool = False
    """Whether the model made up the result of a call; then its further calls rely on that."""
    _line_tail: str = ""
    """The end of the current line, in which a tag may begin."""

    def add(self, text: str) -> None:
        """Take note of `text`, which comes next."""
        first, *others = text.split("\n")
        self._continue_line(first)
        for line in others:
            self._end_line()
            self._continue_line(line)
        self.recent = (self.recent + text)[-RECENT_LIMIT:]

    def forget_tags(self) -> None:
        """Forget that a tag was shown: what looked like a tag was not one."""
        self._line_tail, self.shows_tag = "", False

    def _continue_line(self, text: str) -> None:
        self.backticks += text.count("`")
        if len(self.line_start) < LINE_START_LIMIT:
            self.line_start = (self.line_start + text[:LINE_LIMIT]).lstrip()[:LINE_START_LIMIT]
        if ">" in text or "]" in text:
            window = self.line[-LONGEST_RESULT:] + text
            self.shows_result = self.shows_result or bool(RESULT.search(window))
        self.line = (self.line + text)[-LINE_LIMIT:]
        window = self._line_tail + text
        if "<" in window or "[" in window:
            self.shows_tag = self.shows_tag or bool(TAG.search(window))
        self._line_tail = window[-LONGEST_TAG:]

    def _end_line(self) -> None:
        line = self.line.strip()
        self.line, self.line_start, self.backticks, self._line_tail = "", "", 0, ""
        if not line:
            # The paragraph ends.
            self.shows_tag = False
        self.fence = self._fence_after(line)

    def _fence_after(self, line: str) -> str:
        """The fence that is open behind `line`, a whole line without the space around it."""
        if self.fence in TRIPLES:
            return "" if line.count(self.fence) % 2 else self.fence
        if self.fence:
            content = line.lstrip("> ")
            closes = content.startswith(self.fence) and not content.strip(self.fence[0])
            return "" if closes else self.fence
        for mark in TRIPLES:
            if line.count(mark) % 2:
                return mark
        opening = FENCE.match(line)
        return opening[1] if opening else ""

    def admits(self, style: Style) -> bool:
        """Whether a call of this form may begin here."""
        if self.shows_result or self.fence or self.shows_tag:
            return False
        if self.backticks % 2 or self.line_start.startswith(">"):
            return False
        line = self.line
        if not self.line_start:
            # Four spaces or a tab make an indented block of code.
            return "\t" not in line and len(line) <= 3
        if style.words or style.name == "fence" or line.rstrip().endswith(QUOTING):
            return False
        return style.tagged or line.endswith(":") or line[-1:].isspace()

    @property
    def announces(self) -> bool:
        """Whether the last sentence says that the model does something now."""
        sentence = self.last_sentence
        is_put_off = CONDITION.search(sentence) or HESITATION.search(sentence)
        return bool(INTENT.search(sentence)) and not is_put_off

    @property
    def hesitates(self) -> bool:
        """Whether the last sentence refuses what follows, asks about it or puts it off."""
        return bool(HESITATION.search(self.last_sentence))

    def introduces_example(self, style: Style) -> bool:
        """Whether the last sentence says that what follows is only shown."""
        sentence = self.last_sentence
        if self.announces:
            return False
        if not style.tagged and CONDITION.search(sentence):
            return True
        # A sentence that has ended describes something before it, not what follows.
        ended = sentence[-1:] in {".", "!", "?"} and not ABBREVIATION.search(sentence)
        return not ended and bool(EXAMPLE.search(sentence))

    @property
    def last_sentence(self) -> str:
        """The last sentence of the last paragraph."""
        # White space at the end may be the beginning of a new paragraph; it does not count.
        paragraph = self.recent.rstrip().rpartition("\n\n")[2]
        return SENTENCE_END.split(paragraph)[-1]
