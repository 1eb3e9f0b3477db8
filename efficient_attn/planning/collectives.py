"""What a compiled program sends between devices, read from its text, each collective as often as its loops run it."""

import collections
import dataclasses
import math
import re
from collections.abc import Mapping

KINDS = ("all-gather", "all-reduce", "all-to-all", "reduce-scatter", "collective-permute")
_BYTES = {
    "pred": 1,
    "s8": 1,
    "u8": 1,
    "bf16": 2,
    "f16": 2,
    "s16": 2,
    "u16": 2,
    "f32": 4,
    "s32": 4,
    "u32": 4,
    "f64": 8,
    "s64": 8,
}
_HEAD = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:body|condition|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_WHILE = re.compile(r" while\(.*condition=%?([\w.\-]+)")
_KNOWN = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_LIMIT = re.compile(r" s32\[\]\S* constant\((\d+)\)")
_CHANNEL = re.compile(r" channel_id=(\d+)")
_COLLECTIVE = re.compile(rf" = (.*?) ({'|'.join(KINDS)})(-start)?\(")


@dataclasses.dataclass(frozen=True)
class Sent:
    """Collectives of one kind, on each device."""

    count: int
    """How many run in a step."""
    bytes: int
    """Bytes of their results."""


def collectives(text: str) -> Mapping[str, Sent]:
    """Returns what each kind of collective amounts to, from the text of a compiled program."""
    bodies = _computations(text)
    entry = next(name for name, (is_entry, _) in bodies.items() if is_entry)
    found: dict[str, Sent] = {}
    apart = _started(bodies)
    for name, times in _times(bodies, entry).items():
        for line in bodies[name][1]:
            if (match := _COLLECTIVE.search(line)) and apart.get(_channel(line), name) == name:
                shapes, kind, started = match.groups()
                # The result of a start holds the operand beside what comes of it.
                size = max(_sizes(shapes)) if started else sum(_sizes(shapes))
                found[kind] = _add(found.get(kind), times, size)
            # A TPU's reduce-scatter is a fusion around an all-reduce, of which a device keeps its part.
            elif "calls=%all-reduce-scatter" in line:
                found["reduce-scatter"] = _add(found.get("reduce-scatter"), times, sum(_sizes(line.split("(")[0])))
    return found


def _started(bodies: Mapping[str, tuple[bool, list[str]]]) -> Mapping[str, str]:
    """Where each collective begins that a TPU does a piece at a time, beside computations of which each has it in its text."""
    begins = {}
    for name, (_, lines) in bodies.items():
        if any('custom_call_target="AsyncCollectiveStart"' in line for line in lines):
            begins |= {_channel(line): name for line in lines if _COLLECTIVE.search(line)}
    return begins


def _channel(line: str) -> str:
    found = _CHANNEL.search(line)
    return found[1] if found else ""


def _add(before: Sent | None, times: int, size: int) -> Sent:
    before = before or Sent(0, 0)
    return Sent(before.count + times, before.bytes + times * size)


def _sizes(shapes: str) -> list[int]:
    found = _SHAPE.findall(shapes)
    return [_BYTES.get(kind, 4) * math.prod(int(n) for n in axes.split(",") if n) for kind, axes in found] or [0]


def _computations(text: str) -> dict[str, tuple[bool, list[str]]]:
    """The lines of each computation, and whether the program begins there."""
    bodies: dict[str, tuple[bool, list[str]]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if head := _HEAD.match(line):
            lines = []
            bodies[head[1]] = (line.startswith("ENTRY"), lines)
        else:
            lines.append(line)
    return bodies


def _times(bodies: Mapping[str, tuple[bool, list[str]]], entry: str) -> Mapping[str, int]:
    """How often each computation runs; one that is called by fusions of reduce-scatters is counted there."""
    times: dict[str, int] = collections.defaultdict(int)
    waiting = [(entry, 1)]
    while waiting:
        name, runs = waiting.pop()
        times[name] += runs
        for line in bodies[name][1]:
            loop = _WHILE.search(line)
            trips = _trips(line, bodies[loop[1]][1]) if loop else 1
            branches = [part.strip().lstrip("%") for some in _BRANCHES.findall(line) for part in some.split(",")]
            called = [part for part in _CALLED.findall(line) + branches if not part.startswith("all-reduce-scatter")]
            waiting += [(part, runs * trips) for part in called if part in bodies]
    return times


def _trips(loop: str, condition: list[str]) -> int:
    """How often a loop runs, which some compilers note; a scan counts from 0 to the one constant of its condition.

    Other loops are taken to run once.
    """
    if known := _KNOWN.search(loop):
        return int(known[1])
    limits = [int(match[1]) for line in condition if (match := _LIMIT.search(line))]
    counts = any("direction=LT" in line for line in condition)
    return limits[0] if counts and len(limits) == 1 else 1
