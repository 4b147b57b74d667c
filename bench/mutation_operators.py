"""Mutation operators that Cosmic Ray does not have; it works on the syntax trees of parso."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Keyword

Position = tuple[tuple[int, int], tuple[int, int]]


def _place(node: Any) -> Position:
    return node.start_pos, node.end_pos


class DropStatement(Operator):
    """Replaces a statement that has an effect by `pass`: a call, a raise, a change of an object.

    Assignments to local names stay, as most of their mutants only end in a NameError.
    """

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type == "simple_stmt" and _has_effect(node.children[0]):
            yield _place(node)

    def mutate(self, node: Any, index: int) -> Any:
        first = node.get_first_leaf()
        node.children[0] = Keyword("pass", first.start_pos, prefix=first.prefix)
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("def f(x):\n    x.a = 1\n", "def f(x):\n    pass\n"),)


def _has_effect(statement: Any) -> bool:
    if not statement.search_ancestor("funcdef"):
        return False
    if statement.type != "expr_stmt":
        return statement.type in {"atom_expr", "raise_stmt", "del_stmt", "yield_expr"}
    target, operator = statement.children[:2]
    if operator.type == "annassign":
        return False
    return operator.value != "=" or "." in target.get_code() or "[" in target.get_code()


class DropKeywordArgument(Operator):
    """Leaves out one `name=value` of a call."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        for argument in _keyword_arguments(node):
            yield _place(argument)

    def mutate(self, node: Any, index: int) -> Any:
        place = node.children.index(_keyword_arguments(node)[index])
        # The comma behind it goes with it.
        end = place + 2 if node.type == "arglist" else place + 1
        del node.children[place:end]
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("f(1, a=2, b=3)", "f(1, b=3)"), Example("f(a=2)", "f()"))


def _keyword_arguments(node: Any) -> list[Any]:
    if node.type not in {"arglist", "trailer"}:
        return []
    return [
        child
        for child in node.children
        if child.type == "argument" and getattr(child.children[1], "value", "") == "="
    ]


class ChangeWord(Operator):
    """Adds XX to a string that programs read: one without a space, or a raw one (a pattern).

    Sentences are for people. Tests quote the parts of them that matter.
    """

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type == "string" and (" " not in node.value or "r" in node.string_prefix):
            yield _place(node)

    def mutate(self, node: Any, index: int) -> Any:
        quote = 3 if node.value.endswith(('"""', "'''")) else 1
        node.value = f"{node.value[:-quote]}XX{node.value[-quote:]}"
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("x = 'a'", "x = 'aXX'"),)
