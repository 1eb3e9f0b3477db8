"""Writes the register of results to ``docs/results.md``, or checks that the page is what would be written."""

import dataclasses
import pathlib

from efficient_attn.results.page import markdown
from efficient_attn.results.register import TABLES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Args:
    """What to do with the register."""

    out: pathlib.Path = pathlib.Path("docs/results.md")
    """The page."""
    check: bool = False
    """Write nothing; fail if the page is not what would be written."""


def main(args: Args) -> None:
    """Writes or checks the page.

    Raises:
      RuntimeError: with ``--check``, if the page differs from the records.
    """
    page = markdown(TABLES)
    rows = sum(len(table.rows) for table in TABLES)
    if not args.check:
        args.out.write_text(page, encoding="utf-8")
        print(f"wrote {args.out}: {len(TABLES)} tables, {rows} rows")
    elif args.out.read_text(encoding="utf-8") != page:
        raise RuntimeError(f"{args.out} is not what the records say: run `python -m efficient_attn results`")
    else:
        print(f"{args.out} is up to date: {len(TABLES)} tables, {rows} rows")
