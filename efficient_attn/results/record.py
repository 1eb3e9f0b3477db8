"""The records of the register: a table of published figures, its rows, and what was measured here."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Literal

Status = Literal["not run", "quoted only", "not landed", "measured"]

STATUS_MEANING: Mapping[str, str] = {
    "not run": "the system is here, with a configuration and a command; nobody has run it yet",
    "quoted only": "a figure of somebody else's system, printed beside the paper's own; it is not ours to reproduce",
    "not landed": "the system is not in the library yet",
    "measured": "run here, on the data that the row names",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A figure of ours."""

    values: Mapping[str, str]
    """Metric to value; a value that says itself what it is has the empty metric."""
    data: str
    """The data it was measured on, and how much of the published training was done."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One published row."""

    label: str
    published: Mapping[str, str]
    """Metric to figure, as printed; an absent metric was not published."""
    status: Status
    config: str | None = None
    """Path of the configuration, from the root of the repository."""
    choice: str = ""
    """Which of its ``VARIANTS``; none: its ``CONFIG``."""
    flags: str = ""
    """Fields in which the row differs from its configuration, as both programs take them."""
    variant: str = ""
    """Short name of those differences, which sets the row's workdir apart."""
    protocol: str = ""
    """Fields of the evaluation alone."""
    split: str = "test"
    """The split that the published figure is of."""
    measured: Measured | None = None

    def __post_init__(self):
        if (self.status == "measured") != (self.measured is not None):
            raise ValueError(
                f"a row is 'measured' exactly when it holds a measurement, got {self.status!r} for {self.label!r}"
            )
        if self.status == "not run" and self.config is None:
            raise ValueError(f"a row that is 'not run' names the configuration to run, got none for {self.label!r}")

        if bool(self.flags) != bool(self.variant):
            raise ValueError(f"flags and their variant's name come together, got one of them for {self.label!r}")

    @property
    def chosen(self) -> str:
        """The configuration and its variant, as every program takes them; empty without a configuration."""
        return ":".join(filter(None, (self.config, self.choice)))

    @property
    def commands(self) -> tuple[str, ...]:
        """What trains the row's model and what evaluates it; empty without a configuration."""
        if self.config is None:
            return ()
        name = "_".join(filter(None, (PurePosixPath(self.config).stem, self.choice, self.variant)))
        trained = [self.chosen, "--workdir", f"runs/{name}", *([self.flags] if self.flags else [])]
        scored = [*trained, *([self.protocol] if self.protocol else []), "--split", self.split]
        return " ".join(["python", "train.py", *trained]), " ".join(["python", "eval.py", *scored])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """One published table."""

    key: str
    """Short name, unique in the register."""
    system: str
    title: str
    columns: tuple[str, ...]
    """Metrics, in the order printed."""
    rows: tuple[Row, ...]
    note: str = ""

    def __post_init__(self):
        for row in self.rows:
            unknown = set(row.published) - set(self.columns)
            if unknown:
                raise ValueError(f"table {self.key}, row {row.label!r}: no column is called {sorted(unknown)}")


def rows(columns: tuple[str, ...], lines: Iterable[tuple[str, ...]], status: Status = "not landed") -> tuple[Row, ...]:
    """Rows of one status from lines of a label and one figure per column; an empty figure was not published."""
    return tuple(Row(label=label, published=published(columns, figures), status=status) for label, *figures in lines)


def published(columns: tuple[str, ...], figures: Iterable[str]) -> dict[str, str]:
    """Metric to figure for one line of a table, empty figures left out."""
    return {column: figure for column, figure in zip(columns, figures, strict=True) if figure}
