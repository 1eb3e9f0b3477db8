"""Patterns written as text: what is read, what is refused and how, and that nothing is ever run."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pattern_strategies import leaves, random_checks

from efficient_attn import patterns as P
from efficient_attn.patterns.expression import MOST_CHARACTERS, NAMES, parse

pytestmark = [pytest.mark.fast, random_checks]

READ = {
    "Causal()": P.Causal(),
    "  Full ( ) ": P.Full(),
    "Causal() & (Window(left=127) | Strided(128))": P.Causal() & (P.Window(left=127) | P.Strided(128)),
    "Causal()\n  & Window(3,)": P.Causal() & P.Window(3),
    "~Causal() | ~~Chunk(4)": ~P.Causal() | ~~P.Chunk(4),
    "Window(left=1_000, right=0x10)": P.Window(1000, 16),
    "Dilated(4, dilation=3)": P.Dilated(4, dilation=3),
    "Fixed(128, 32, group=1)": P.Fixed(128, 32, 1),
    "Prefix(7) | Causal()": P.Prefix(7) | P.Causal(),
    "Global([0, -1], length=512)": P.Global([0, 511]),
    "Global(queries=(1,), keys=[2, 3])": P.Global(queries=[1], keys=[2, 3]),
    "BlockRandom(block=4, count=1, seed=0, length=64)": P.BlockRandom(4, 1, 0, 64),
    "PerHead([Causal(), Window(3)]) & Causal()": P.PerHead([P.Causal(), P.Window(3)]) & P.Causal(),
    "fixed_heads(heads=4, stride=8, summary=2, groups=2)": P.fixed_heads(heads=4, stride=8, summary=2, groups=2),
}

REFUSED = {
    "": "expected a pattern expression such as",
    "   ": "expected a pattern expression such as",
    "Casual()": "column 1: no pattern is called 'Casual': did you mean Causal?",
    "causal()": "column 1: no pattern is called 'causal': did you mean Causal?",
    "Causal() & Stride(3)": "column 12: no pattern is called 'Stride': did you mean Strided?",
    "  Windw(3)": "column 3: no pattern is called 'Windw': did you mean Window?",
    "zzz(3)": "column 1: no pattern is called 'zzz': known are Full, Causal",
    "Causal": "column 1: Causal is a pattern's name: write Causal(...)",
    "Causal() and Full()": "column 1: 'and' and 'or' cannot be used on patterns: use & | ~",
    "Full() & (not Causal())": "column 11: 'not' cannot be used on patterns: use & | ~",
    "Window(left=-1)": "column 1: Window.left must be at least 0, got -1",
    "Full() | Window()": "column 10: Window: missing a required argument: 'left'",
    "Window(1, 2, 3)": "column 1: Window: too many positional arguments",
    "Window(1, lef=2)": "column 1: Window: got an unexpected keyword argument 'lef'",
    "Window(left=1, left=2)": "column 16: Window: left is given twice",
    "Window(None)": "column 8: 'None' has no meaning in a pattern expression",
    "Window(True)": "column 8: 'True' has no meaning in a pattern expression",
    "Window(1.5)": "column 9: '.' has no meaning in a pattern expression",
    "Window(2147483648)": "column 8: numbers go up to 2,147,483,647",
    "Window(" + "9" * 5000 + ")": "not a pattern expression",
    "Window(2**31)": "column 9: '*' has no meaning in a pattern expression",
    "Window(1 << 40)": "column 10: '<' has no meaning in a pattern expression",
    "Window(1 | 2)": "column 8: a pattern combines only with patterns, got 1",
    "Causal() & 3": "column 12: a pattern combines only with patterns, got 3",
    "Causal() - Full()": "column 1: 'Causal() - Full()' has no meaning in a pattern expression",
    "Causal() Full()": "column 10: not a pattern expression: invalid syntax",
    "Causal(": "column 7: not a pattern expression: '(' was never closed",
    "Causal())": "column 9: not a pattern expression: unmatched ')'",
    "7": "column 1: expected a pattern, got 7",
    "[Causal()]": "column 1: expected a pattern, got (Causal(),)",
    "PerHead([PerHead([Causal()])])": "got a PerHead inside a PerHead",
    "PerHead([Full()]) & PerHead([Full(), Full()])": "the same number of heads, got [1, 2]",
    "Global([-1])": "column 1: a negative Global position counts from the end, so it needs length=",
    "Causal()()": "column 1: 'Causal()()' has no meaning in a pattern expression",
    "Causal()[0]": "column 1: 'Causal()[0]' has no meaning in a pattern expression",
    "x = Causal()": "not a pattern expression",
    "Causal() if Full() else Full()": "has no meaning in a pattern expression",
    "[Causal() for x in Full()]": "has no meaning in a pattern expression",
    "Causal(); Full()": "column 9: ';' has no meaning in a pattern expression",
    "é": "column 1: 'é' has no meaning in a pattern expression",
    "\0": "has no meaning in a pattern expression",
}

HOSTILE = [
    "__import__('os').system('true')",
    "__import__(os)",
    "().__class__.__bases__",
    "lambda: Causal()",
    "(lambda x: x)(Causal())",
    "eval(Causal())",
    "exec(1)",
    "open(1)",
    "print(1)",
    "Causal.__init__()",
    "Window(left=(yield))",
    "Window(left=(await Causal()))",
    "Window(*[1])",
    "Window(**{})",
    "f'{Causal()}'",
    "Causal() @ Full()",
    "{Causal()}",
    "(x := Causal())",
    "`id`",
    "PerHead([Causal()] * 1000000000)",
    "(" * 4000 + "Causal()" + ")" * 4000,
    "(" * 9000,
    "[" * 9000,
    "~" * 9000 + "Causal()",
    "-" * 9000 + "1",
    "not " * 2400 + "Causal()",
    "Window(" * 1200 + "1" + ")" * 1200,
    "PerHead([" * 99 + "Causal()" + "])" * 99,
    "&".join(["Causal()"] * 1100),
    "A" * MOST_CHARACTERS,
    "Causal() " * 10_000,
]


@pytest.mark.parametrize("text", READ)
def test_reads(text):
    assert parse(text) == READ[text]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_refuses_and_says_why(text):
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert REFUSED[text] in str(caught.value)
    assert_readable(caught.value)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:40])
def test_hostile_text_is_refused(text):
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert_readable(caught.value)


def assert_readable(error: ValueError):
    assert "\n" not in str(error)
    assert len(str(error)) < 250


@given(st.text(alphabet="CausalWindowPerHead()[],=&|~- 0123456789_", max_size=60))
@example("0in x")
@settings(max_examples=500, deadline=None)
def test_any_text_is_read_or_refused(text):
    try:
        assert isinstance(parse(text), P.Pattern)
    except ValueError as error:
        assert_readable(error)


combined = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
    ),
    max_leaves=5,
)


@given(combined)
@settings(max_examples=200, deadline=None)
def test_what_a_pattern_prints_can_be_read_back(pattern):
    assert parse(repr(pattern)) == pattern


@given(st.lists(combined, min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_what_a_pattern_of_heads_prints_can_be_read_back(patterns):
    pattern = P.PerHead(patterns)
    assert parse(repr(pattern)) == pattern


def test_every_public_pattern_can_be_written():
    public = {name for name in dir(P) if isinstance(getattr(P, name), type) and issubclass(getattr(P, name), P.Pattern)}
    assert public - {"And", "Or", "Not", "Pattern"} <= set(NAMES)
