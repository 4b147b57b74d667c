"""Answers of models with a call in the text, and what becomes of it: call, doubt or text.

Each form that a family of models writes stands in each situation. `python -m tests.leaks.corpus`
prints the table for docs/tools.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from tests.leaks.test_scanner import CLOSED, PLAIN

CALL, DOUBT, TEXT = "call", "doubt", "text"
REFUSED = "I will not run this:"


@frozen
class Situation:
    """Where a call stands in an answer, and what it is there; `{}` stands for the call."""

    name: str
    answer: str
    tagged: str
    """The outcome for a form with marks."""
    plain: str
    """The outcome for JSON and fences."""
    read: str = ""
    """What the model has read; `{}` as above."""
    asked_to_show: bool = False


SITUATIONS = (
    # Meant.
    Situation("alone", "{}", CALL, CALL),
    Situation("alone, with blank lines", "\n\n{}\n\n", CALL, CALL),
    Situation("announced", "I'll look at the files.\n\n{}", CALL, CALL),
    Situation("announced, then more", "Let me look.\n\n{}\n\nThat lists them.", CALL, CALL),
    Situation("announced in German", "Ich werde nachsehen:\n\n{}", CALL, CALL),
    Situation("announced in French", "Je vais regarder.\n\n{}", CALL, CALL),
    Situation("announced in Spanish", "Voy a mirar.\n\n{}", CALL, CALL),
    Situation("announced in Chinese", "我来看看。\n\n{}", CALL, CALL),
    Situation("other text was read", "{}", CALL, CALL, read="ls -la lists files"),
    # Perhaps meant.
    Situation("not announced", "The next step is this.\n\n{}", CALL, DOUBT),
    Situation("asked to show", "{}", CALL, DOUBT, asked_to_show=True),
    Situation("a question", "Should I run this?\n{}", DOUBT, TEXT),
    Situation("a refusal", f"{REFUSED}\n{{}}", DOUBT, TEXT),
    Situation("a condition", "Once the tests pass, I'll run this:\n{}", DOUBT, TEXT),
    Situation("a refusal in German", "Das führe ich nicht aus:\n{}", DOUBT, DOUBT),
    Situation("a refusal in French", "Je ne lance pas ceci :\n{}", DOUBT, DOUBT),
    Situation("a refusal in Spanish", "No voy a ejecutar esto:\n{}", DOUBT, DOUBT),
    Situation("a refusal in Chinese", "我不会执行这个命令:\n{}", DOUBT, DOUBT),
    # Shown.
    Situation("in a code fence", "Look:\n````text\n{}\n````\nDone.", TEXT, TEXT),
    Situation("in a quotation", "He wrote:\n\n> {}\n", TEXT, TEXT),
    Situation("an example", "For example:\n\n{}\n", TEXT, TEXT),
    Situation("a form", "A call looks like this:\n{}\nDo you see?", TEXT, TEXT),
    Situation("an example in German", "Zum Beispiel:\n\n{}\n", TEXT, TEXT),
    # Quoted.
    Situation("read, and quoted", "It says:\n{}", TEXT, TEXT, read="Notes.\n{}\nEnd."),
    Situation("read, and refused", f"{REFUSED}\n{{}}", TEXT, TEXT, read="Notes.\n{}\nEnd."),
    Situation("read, and announced", "I'll do that.\n{}", TEXT, TEXT, read="Notes.\n{}\nEnd."),
    Situation("read with its arguments", "{}", TEXT, TEXT, read='{"cmd": "ls -la"}'),
)


@frozen
class Case:
    """One answer, and its outcome."""

    form: str
    situation: Situation
    answer: str
    read: str
    outcome: str


def cases() -> Iterator[Case]:
    """Every form in every situation."""
    # What has no end swallows what follows; those forms have tests of their own.
    plain = {name: call for name, call in PLAIN.items() if "unclosed" not in name}
    for situation in SITUATIONS:
        for forms, outcome in ((CLOSED, situation.tagged), (plain, situation.plain)):
            for name, call in forms.items():
                answer = situation.answer.replace("{}", call)
                if situation.name == "in a quotation":
                    answer = situation.answer.replace("{}", call.replace("\n", "\n> "))
                read = situation.read.replace("{}", call)
                yield Case(name, situation, answer, read, outcome)


def table() -> str:
    """The situations and their outcomes, in Markdown."""
    rows = ["| where the call stands | in marks | JSON, fences |", "|---|---|---|"]
    rows += [f"| {each.name} | {each.tagged} | {each.plain} |" for each in SITUATIONS]
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
