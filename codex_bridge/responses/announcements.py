"""Whether an answer without a call only announces what the model does next ("Let me check:").

Small models often end a turn with such a sentence in place of the call. `announces` judges by the
last sentence, and rather says no: a user whose model stopped too early writes "go on", while a
model that is asked to go on for no reason may do what nobody wanted.

The last sentence is an announcement if

  * it has one of the forms in `announcement_phrases.py`: the model speaks of itself, then of work;
  * nothing in it puts that off ("once …", "later"), and nothing before it asks the user for
    anything;
  * it is prose, and no item of a list, quotation, code or text that the answer shows;
  * it is the only one in its paragraph: several steps are a plan, which is for the user to read.
"""

from __future__ import annotations

import re
from itertools import pairwise

from codex_bridge.responses.announcement_phrases import LANGUAGES, REQUEST, Language

WINDOW = 1000
"""Characters at the end of an answer that are looked at."""
LONGEST_SENTENCE = 400
"""Characters of an announcement at most. A longer sentence may begin before the window."""
DECORATION = (
    "*_ \n"
    + "".join(map(chr, range(0x2190, 0x2C00)))
    + "".join(map(chr, range(0x1F000, 0x1FB00)))
    + "\ufe0f\u200d"
)
"""Marks of emphasis, arrows, symbols and emoji, which may stand around a sentence."""
PARAGRAPH_END = re.compile(r"\n[ \t\r]*\n")
SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[\u3002\uff01])(?!$)")
"""Behind a mark of the end; Chinese and Japanese leave no space there."""
FENCE = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)
MARKUP = re.compile(r"\s|[-+*•]\s|\d+[.)]\s|[|>#<`{\[]|~~~")
"""How a line begins that is no prose, or that goes on with an item of a list."""
QUOTED = re.compile(r"""["'”“’»«)\]」』]$""")
"""The end of a sentence that stands in quotes or brackets."""
EXPLAINED = re.compile(r"(?<!\bnext)(?<!\bnext step):\s+\S|\uff1a.", re.IGNORECASE)
"""A colon with something behind it: what the sentence announces is there."""


def announces(text: str) -> bool:
    """Whether an answer that ends with `text` only announces the model's next step."""
    end = text[-WINDOW:].rstrip()
    if REQUEST.search(end) or len(FENCE.findall(end)) % 2:
        return False
    *before, paragraph = PARAGRAPH_END.split(end)
    if any(_shows(*pair) for pair in pairwise([*before, paragraph])):
        return False
    if MARKUP.match(paragraph.rpartition("\n")[2]):
        return False
    *earlier, last = SENTENCE_END.split(paragraph.rstrip(DECORATION))
    return _is_step(last) and not any(map(_is_step, earlier))


def _shows(paragraph: str, following: str) -> bool:
    """Whether a paragraph ends in a colon and prose follows: no mark tells where that ends."""
    return paragraph.rstrip().endswith((":", "\uff1a")) and not MARKUP.match(following)


def _is_step(sentence: str) -> bool:
    """Whether the model says in `sentence` that it does something now."""
    plain = sentence.replace("*", "").replace("’", "'").strip(DECORATION)
    plain = " ".join(plain.split())
    if len(plain) > LONGEST_SENTENCE or QUOTED.search(plain) or EXPLAINED.search(plain):
        return False
    return any(_begins(plain, language) for language in LANGUAGES)


def _begins(sentence: str, language: Language) -> bool:
    step = language.steps.match(sentence)
    return bool(step) and not language.puts_off.search(sentence)
