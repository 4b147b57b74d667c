"""The mutants of `python -m bench mutation`: one small change of one module each."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cosmic_ray.plugins
from attrs import frozen
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator

from bench.mutation_operators import ChangeWord, DropKeywordArgument, DropStatement

ROOT = Path(__file__).parent.parent
SWAPS = re.compile(
    r"core/(?:ReplaceBinaryOperator_(?:Add_Sub|Sub_Add|Mul_FloorDiv|Div_Mul|FloorDiv_Mul|Mod_Mul"
    r"|LShift_RShift|RShift_LShift|BitOr_BitAnd|BitAnd_BitOr|BitXor_BitAnd)"
    r"|ReplaceComparisonOperator_(?:Eq_NotEq|NotEq_Eq|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE"
    r"|GtE_Gt|GtE_Lt|Is_IsNot|IsNot_Is|In_NotIn|NotIn_In)"
    r"|ReplaceUnaryOperator_(?:USub_UAdd|Delete_Not|Delete_Invert)"
    r"|(?:ReplaceTrueWith|ReplaceFalseWith|ReplaceAndWith|ReplaceOrWith)\w+"
    r"|AddNot|NumberReplacer|RemoveDecorator|ZeroIterationForLoop|ExceptionReplacer"
    r"|ReplaceBreakWithContinue|ReplaceContinueWithBreak)"
)
"""The operators of Cosmic Ray that are used. It has one for every pair of arithmetic operators
and of comparisons; most of those fail for the same reason."""
LOGGING = {"debug", "info", "warn", "error", "failure", "critical"}
Key = tuple[str, str, str, str]


@frozen(order=True)
class Site:
    """Where one operator changes one file: the place that it finds as `occurrence`th (from 0)."""

    path: str
    line: int
    operator: str
    occurrence: int


@frozen
class Mutant:
    """One changed version of one file."""

    site: Site
    code: str
    """The whole file."""
    function: str
    """`Class.method`, or `module`."""
    old: str
    new: str
    """The lines that differ, without indentation."""

    @property
    def key(self) -> Key:
        """What names the mutant after the lines above it have moved."""
        return self.site.path, self.function, self.old, self.new

    def __str__(self) -> str:
        old = "".join(f"\n- {line}" for line in self.old.splitlines())
        new = "".join(f"\n+ {line}" for line in self.new.splitlines())
        return f"{self.site.path}:{self.site.line} {self.function} {self.site.operator}{old}{new}"


# Making mutants


@cache
def operators() -> dict[str, Operator]:
    names = [name for name in cosmic_ray.plugins.operator_names() if SWAPS.fullmatch(name)]
    found = {name.removeprefix("core/"): cosmic_ray.plugins.get_operator(name)() for name in names}
    return found | {
        operator.__name__: operator()
        for operator in (DropStatement, DropKeywordArgument, ChangeWord)
    }


@cache
def source(path: str) -> str:
    return (ROOT / path).read_text()


def sites(path: str) -> Iterator[Site]:
    """Every place of a module that an operator may change."""
    tree = get_ast(source(path))
    for name, operator in operators().items():
        places = (place for node in ast_nodes(tree) for place in operator.mutation_positions(node))
        for occurrence, (start, _) in enumerate(places):
            yield Site(path, start[0], name, occurrence)


def mutant(site: Site) -> Mutant | None:
    """The mutant of a place; None if it does what the unchanged code does, or is no Python."""
    try:
        code = mutate_code(source(site.path), operators()[site.operator], site.occurrence)
        if code is None or behaviour(code) == behaviour(source(site.path)):
            return None
    except SyntaxError:
        return None
    except AttributeError:
        # Cosmic Ray cannot replace an exception with a dot in its name.
        return None
    diff = list(difflib.ndiff(source(site.path).splitlines(), code.splitlines()))
    old, new = ("\n".join(line[2:].strip() for line in diff if line[0] == mark) for mark in "-+")
    return Mutant(site, code, function_at(site.path, site.line), old, new)


@cache
def behaviour(code: str) -> str:
    """The code without what does nothing: annotations, docstrings, the texts of the log."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                node.returns = None
            case ast.arg() | ast.AnnAssign():
                node.annotation = ast.Constant(None)
            case ast.Call(func=ast.Attribute(attr=level), args=[ast.Constant(), *_]):
                if level in LOGGING:
                    node.args[0] = ast.Constant("")
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [line for line in body if not _does_nothing(line)]
    return ast.dump(tree)


def _does_nothing(line: ast.stmt) -> bool:
    match line:
        case ast.Expr(value=ast.Constant(value=str())) | ast.ImportFrom(module="__future__"):
            return True
    return False


@cache
def functions(path: str) -> list[tuple[int, int, str]]:
    """First line, last line and dotted name of every function and class of a module."""

    def below(node: ast.AST, within: str) -> Iterator[tuple[int, int, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                first = min([child.lineno, *(each.lineno for each in child.decorator_list)])
                yield first, child.end_lineno or first, within + child.name
                yield from below(child, f"{within}{child.name}.")
            else:
                yield from below(child, within)

    return list(below(ast.parse(source(path)), ""))


def function_at(path: str, line: int) -> str:
    around = [name for first, last, name in functions(path) if first <= line <= last]
    return around[-1] if around else "module"
