"""The register as a page of Markdown."""

import collections

from efficient_attn.results.record import STATUS_MEANING, Row, Table

_INTRODUCTION = """\
# Results

Every published row that this library answers to: what was printed, the configuration and the commands that train and
evaluate it here, and what was measured; [data](data.md#data-of-the-published-rows) says what must lie in `data/` first.
Written by `python -m efficient_attn results` from the records in `efficient_attn/results`;
`python -m efficient_attn results --check` (a part of `make check`) fails if the page and the records differ.
"""


def markdown(tables: tuple[Table, ...]) -> str:
    """The whole page."""
    sections = [_INTRODUCTION, _statuses(tables)]
    for system in dict.fromkeys(table.system for table in tables):
        sections.append(f"## {system}\n")
        sections += [_table(table) for table in tables if table.system == system]
    return "\n".join(sections)


def _statuses(tables: tuple[Table, ...]) -> str:
    counts = collections.Counter(row.status for table in tables for row in table.rows)
    lines = [f"| {status} | {counts[status]} | {meaning} |" for status, meaning in STATUS_MEANING.items()]
    return "\n".join(["| status | rows | meaning |", "|---|---|---|", *lines, ""])


def _table(table: Table) -> str:
    lines = [f"### {table.key}. {table.title}\n"]
    if table.note:
        lines.append(f"{table.note}\n")
    with_config = any(row.config for row in table.rows)
    header = ["", *table.columns, *(["configuration"] if with_config else []), "measured here"]
    lines += [_line(header), "|" + "---|" * len(header)]
    for row in table.rows:
        cells = [row.label, *(row.published.get(column, "") for column in table.columns)]
        if with_config:
            cells.append(f"`{row.chosen}`" if row.config else "")
        lines.append(_line([*cells, _outcome(row)]))
    commands = dict.fromkeys(command for row in table.rows for command in row.commands)
    if commands:
        lines += ["", "```", *commands, "```"]
    return "\n".join([*lines, ""])


def _outcome(row: Row) -> str:
    if row.measured is None:
        return row.status
    figures = ", ".join(f"{value} {metric}".strip() for metric, value in row.measured.values.items())
    return f"{figures} on {row.measured.data}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
