"""Published figures of GShard.

References:
  Lepikhin et al., "GShard: Scaling Giant Models with Conditional Computation and Automatic Sharding",
  2021, tables 1 to 3.
"""

from efficient_attn.results.record import Measured, Row, Table, published

_COLUMNS = ("experts per layer", "weights", "cores", "steps/s", "batch tokens", "core-years", "days", "BLEU average")
_EFFICIENCY = ("0.7", "0.6", "0.5")

# Chips of a core of each of the paper's, as the planner takes them.
_CHIPS = {"128": "v5p:4x4x8", "512": "v5p:8x8x8", "2048": "v5p:8x16x16"}


def _size(name: str, line: tuple[str, ...], flags: str = "", compiled: str = "", step: str = "") -> Row:
    """A mixture: what its step takes by the compiler, where that was asked, and the command that asks."""
    label, *figures = line
    experts, _, cores, *_ = figures
    command = f"python -m efficient_attn plan configs/gshard_{name} --topology {_CHIPS[cores]} --mesh.expert {experts}"
    measured = Measured(values={"": compiled}, data=f"the compiled step of {step}") if compiled else None
    return Row(
        label=label,
        published=published(_COLUMNS, figures),
        status="measured" if compiled else "not run",
        command=f"{command} {flags}".strip(),
        measured=measured,
    )


def _lacking(columns: tuple[str, ...], lines: list[tuple[str, ...]], lacks: str) -> tuple[Row, ...]:
    """Rows that cannot be run."""
    return tuple(
        Row(label=label, published=published(columns, figures), status="not run", lacks=lacks)
        for label, *figures in lines
    )


_PRIVATE = "data that is not public"

SIZES = Table(
    key="G1",
    system="GShard",
    title="100 languages to English",
    columns=_COLUMNS,
    rows=(
        _size(
            "600e9.py",
            ("MoE(2048E, 36L)", "2048", "600B", "2048", "0.72", "4M", "22.4", "4.0", "44.3"),
            "",
            "4.33 GiB of parameters and optimizer and 6.00 of temporaries a chip, 60 ms a step at least",
            "619e9 parameters and 4M tokens a side",
        ),
        _size(
            "lm.py:200e9",
            ("MoE(2048E, 12L)", "2048", "200B", "2048", "2.15", "4M", "7.5", "1.4", "41.3"),
            "--batch-size 16384",
            "1.18 GiB of parameters and optimizer and 3.13 of temporaries a chip, 65 ms a step at least",
            "the decoder-only twin of 206e9 parameters and 16M tokens",
        ),
        _size(
            "150e9.py",
            ("MoE(512E, 36L)", "512", "150B", "512", "1.05", "1M", "15.5", "11.0", "43.7"),
            "--batch-size 4096",
            "4.22 GiB of parameters and optimizer and 9.42 of temporaries a chip, 238 ms a step at least",
            "155e9 parameters and 4M tokens a side",
        ),
        _size(
            "lm.py:50e9",
            ("MoE(512E, 12L)", "512", "50B", "512", "3.28", "1M", "4.9", "3.5", "40.0"),
            "--batch-size 4096",
            "1.14 GiB of parameters and optimizer and 2.97 of temporaries a chip, 64 ms a step at least",
            "the decoder-only twin of 51.7e9 parameters and 4M tokens",
        ),
        _size(
            "37e9.py",
            ("MoE(128E, 36L)", "128", "37B", "128", "0.67", "1M", "6.1", "17.3", "39.0"),
            "",
            "4.20 GiB of parameters and optimizer and 9.41 of temporaries a chip, 237 ms a step at least",
            "39.5e9 parameters and 1M tokens a side",
        ),
        _size(
            "lm.py",
            ("MoE(128E, 12L)", "128", "12.5B", "128", "2.16", "1M", "1.9", "5.4", "36.7"),
            "",
            "1.13 GiB of parameters and optimizer and 2.89 of temporaries a chip, 63 ms a step at least",
            "the decoder-only twin of 13.1e9 parameters and 1M tokens",
        ),
        _size("1e12.py", ("MoE(2048E, 60L)", "2048", "1T", "2048", "", "", "", "", "")),
        *_lacking(
            _COLUMNS,
            [
                ("dense T(96L)", "", "2.3B", "2048", "", "4M", "about 235.5", "about 42", "36.9"),
                ("bilingual baselines", "", "", "", "", "", "", "", "30.8"),
            ],
            _PRIVATE,
        ),
    ),
    note="The data is not public: rows are answered by compiling the models, or their decoder-only twins, for chips of v5p, not by "
    "training. The last of a chip's figures is the least time at its published rates.",
)

EFFICIENCY = Table(
    key="G2",
    system="GShard",
    title="Billions of tokens to reach a cross-entropy",
    columns=_EFFICIENCY,
    rows=_lacking(
        _EFFICIENCY,
        [
            ("MoE(2048E, 36L)", "82", "175", "542"),
            ("MoE(2048E, 12L)", "176", "484", "1780"),
            ("MoE(512E, 36L)", "66", "170", "567"),
            ("MoE(512E, 12L)", "141", "486", ""),
            ("MoE(128E, 36L)", "321", "1074", ""),
            ("MoE(128E, 12L)", "995", "", ""),
        ],
        _PRIVATE,
    ),
)

TABLES = (SIZES, EFFICIENCY)
