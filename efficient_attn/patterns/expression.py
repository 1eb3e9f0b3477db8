"""Patterns written as text: ``parse("Causal() & (Window(left=127) | Strided(128))")``.

The text has the syntax of Python, because that is what ``repr`` of a pattern prints, but it is never run as Python: it
is parsed to a syntax tree, and a walk accepts pattern names, calls, ``& | ~``, whole numbers, lists and tuples. Nothing
else has a meaning, so text from a stranger can be parsed safely.
"""

import ast
import difflib
import inspect
import re
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from efficient_attn.patterns import algebra, factorized, local, scattered
from efficient_attn.patterns.algebra import Pattern

MOST_CHARACTERS = 10_000
MOST_LEVELS = 100
# Positions are int32 throughout.
LARGEST_NUMBER = 2**31 - 1

NAMES: dict[str, Callable[..., Pattern]] = {
    "Full": algebra.Full,
    "Causal": local.Causal,
    "Window": local.Window,
    "Dilated": local.Dilated,
    "Strided": factorized.Strided,
    "Fixed": factorized.Fixed,
    "fixed_heads": factorized.fixed_heads,
    "Chunk": local.Chunk,
    "NearChunks": local.NearChunks,
    "Prefix": local.Prefix,
    "Global": scattered.Global,
    "BlockRandom": scattered.BlockRandom,
    "GivenBlocks": scattered.GivenBlocks,
    "PerHead": algebra.PerHead,
}
_OPERATORS = {ast.BitAnd: lambda a, b: a & b, ast.BitOr: lambda a, b: a | b}
_WORDS = {ast.BoolOp: "'and' and 'or'", ast.Not: "'not'"}
_STRANGE = re.compile(r"[^A-Za-z0-9_()\[\],=&|~\- ]")


def parse(text: str) -> Pattern:
    """Reads a pattern from text.

    Args:
      text: an expression of at most 10,000 characters, for example ``"PerHead([Causal(), Window(3)])"``. ``repr`` of
        every pattern of the library can be read back.

    Returns:
      The pattern.

    Raises:
      ValueError: one line that says what is wrong and at which column (counted from 1).
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"a pattern expression has at most {MOST_CHARACTERS:,} characters, got {len(text):,}")
    line = re.sub(r"\s", " ", text)
    if not line.strip():
        raise ValueError("expected a pattern expression such as 'Causal() & Window(left=127)', got an empty text")
    strange = _STRANGE.search(line)
    if strange:
        _refuse(strange.start(), f"{strange.group()!r} has no meaning in a pattern expression")
    indent = len(line) - len(line.lstrip())
    value = _value(_tree(line.lstrip(), indent), indent, 0)
    if not isinstance(value, Pattern):
        _refuse(indent, f"expected a pattern, got {value!r}")
    return value


def _tree(line: str, indent: int) -> ast.expr:
    try:
        with warnings.catch_warnings():
            # Python warns of doubtful spellings, such as "0in x", that the walk refuses anyway.
            warnings.simplefilter("ignore")
            return ast.parse(line, mode="eval").body
    except SyntaxError as error:
        _refuse(indent + max(error.offset or 1, 1) - 1, f"not a pattern expression: {error.msg.partition(':')[0]}")
    except (RecursionError, MemoryError):
        _refuse(indent, f"nested too deeply: at most {MOST_LEVELS} levels are read")


def _value(node: ast.expr, indent: int, level: int) -> Any:
    """The pattern, whole number or tuple that ``node`` stands for."""
    column = indent + node.col_offset
    if level > MOST_LEVELS:
        _refuse(column, f"nested too deeply: at most {MOST_LEVELS} levels are read")
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return _call(name, node, indent, level)
        case ast.BinOp(op=op) if type(op) in _OPERATORS:
            left, right = (_pattern(side, indent, level) for side in (node.left, node.right))
            return _attempt(column, lambda: _OPERATORS[type(op)](left, right))
        case ast.UnaryOp(op=ast.Invert()):
            return ~_pattern(node.operand, indent, level)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as number)):
            return -_number(number, column)
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            return _number(number, column)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return tuple(_value(item, indent, level + 1) for item in items)
        case ast.Name(id=name):
            _known(name, column)
            _refuse(column, f"{name} is a pattern's name: write {name}(...)")
    kind = type(node.op) if isinstance(node, ast.UnaryOp) else type(node)
    if kind in _WORDS:
        _refuse(column, f"{_WORDS[kind]} cannot be used on patterns: use & | ~")
    _refuse(column, f"{_excerpt(node)!r} has no meaning in a pattern expression")


def _call(name: str, node: ast.Call, indent: int, level: int) -> Pattern:
    column = indent + node.col_offset
    constructor = _known(name, column)
    arguments = [_value(argument, indent, level + 1) for argument in node.args]
    keywords = {}
    for keyword in node.keywords:
        if keyword.arg in keywords:
            _refuse(indent + keyword.col_offset, f"{name}: {keyword.arg} is given twice")
        keywords[keyword.arg] = _value(keyword.value, indent, level + 1)

    def construct() -> Pattern:
        bound = inspect.signature(constructor).bind(*arguments, **keywords)
        return constructor(*bound.args, **bound.kwargs)

    return _attempt(column, construct, name)


def _pattern(node: ast.expr, indent: int, level: int) -> Pattern:
    value = _value(node, indent, level + 1)
    if not isinstance(value, Pattern):
        _refuse(indent + node.col_offset, f"a pattern combines only with patterns, got {value!r}")
    return value


def _number(number: int, column: int) -> int:
    if number > LARGEST_NUMBER:
        _refuse(column, f"numbers go up to {LARGEST_NUMBER:,}, got one of {len(str(number))} digits")
    return number


def _known(name: str, column: int) -> Callable[..., Pattern]:
    if name in NAMES:
        return NAMES[name]
    by_lower_case = {known.lower(): known for known in NAMES}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    hint = f"did you mean {by_lower_case[close[0]]}?" if close else f"known are {', '.join(NAMES)}"
    _refuse(column, f"no pattern is called {name[:40]!r}: {hint}")


def _attempt(column: int, construct: Callable[[], Pattern], name: str = "") -> Pattern:
    """Runs a constructor; what it refuses is reported with its column."""
    try:
        return construct()
    except (TypeError, ValueError) as error:
        _refuse(column, f"{name}: {error}" if name and name not in str(error) else str(error), error)


def _excerpt(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _refuse(column: int, reason: str, cause: Exception | None = None) -> NoReturn:
    raise ValueError(f"column {column + 1}: {reason}") from cause
