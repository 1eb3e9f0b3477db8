"""Published figures of GShard.

References:
  Lepikhin et al., "GShard: Scaling Giant Models with Conditional Computation and Automatic Sharding",
  2021, tables 1 to 3.
"""

from efficient_attn.results.record import Table, rows

_COLUMNS = ("experts per layer", "weights", "cores", "steps/s", "batch tokens", "core-years", "days", "BLEU average")
_EFFICIENCY = ("0.7", "0.6", "0.5")

SIZES = Table(
    key="G1",
    system="GShard",
    title="100 languages to English",
    columns=_COLUMNS,
    rows=rows(
        _COLUMNS,
        [
            ("MoE(2048E, 36L)", "2048", "600B", "2048", "0.72", "4M", "22.4", "4.0", "44.3"),
            ("MoE(2048E, 12L)", "2048", "200B", "2048", "2.15", "4M", "7.5", "1.4", "41.3"),
            ("MoE(512E, 36L)", "512", "150B", "512", "1.05", "1M", "15.5", "11.0", "43.7"),
            ("MoE(512E, 12L)", "512", "50B", "512", "3.28", "1M", "4.9", "3.5", "40.0"),
            ("MoE(128E, 36L)", "128", "37B", "128", "0.67", "1M", "6.1", "17.3", "39.0"),
            ("MoE(128E, 12L)", "128", "12.5B", "128", "2.16", "1M", "1.9", "5.4", "36.7"),
            ("MoE(2048E, 60L)", "2048", "1T", "2048", "", "", "", "", ""),
            ("dense T(96L)", "", "2.3B", "2048", "", "4M", "about 235.5", "about 42", "36.9"),
            ("bilingual baselines", "", "", "", "", "", "", "", "30.8"),
        ],
    ),
    note="The data is not public: rows are answered by compiling the model for its topology, not by training it.",
)

EFFICIENCY = Table(
    key="G2",
    system="GShard",
    title="Billions of tokens to reach a cross-entropy",
    columns=_EFFICIENCY,
    rows=rows(
        _EFFICIENCY,
        [
            ("MoE(2048E, 36L)", "82", "175", "542"),
            ("MoE(2048E, 12L)", "176", "484", "1780"),
            ("MoE(512E, 36L)", "66", "170", "567"),
            ("MoE(512E, 12L)", "141", "486", ""),
            ("MoE(128E, 36L)", "321", "1074", ""),
            ("MoE(128E, 12L)", "995", "", ""),
        ],
    ),
)

TABLES = (SIZES, EFFICIENCY)
