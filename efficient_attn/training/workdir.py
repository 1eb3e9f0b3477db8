"""A work directory belongs to one experiment: its ``config.json`` keeps what is learned apart from how it runs."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from efficient_attn.files import replacing

ABSENT = "absent"


def check_workdir(workdir: str | os.PathLike, learned: Mapping[str, Any], runs: Mapping[str, Any]) -> None:
    """Claims ``workdir`` for an experiment, or checks that it is this experiment's; the first process of a run writes.

    Args:
      workdir: a directory; made if it is not there.
      learned: JSON fields that decide what is learned (model, data, optimizer, seed): may not change.
      runs: JSON fields that decide how it runs (mesh, logging, checkpoint interval, length): the last run's are kept.

    Raises:
      ValueError: naming every field of ``learned`` that differs, with both values.
    """
    path = Path(workdir) / "config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        before, now = _flat(_read(path)["learned"]), _flat(learned)
        pairs = {name: (before.get(name, ABSENT), now.get(name, ABSENT)) for name in sorted(before.keys() | now.keys())}
        lines = [f"  {name}: {there} there, {here} here" for name, (there, here) in pairs.items() if there != here]
        if lines:
            raise ValueError(
                f"{workdir} holds another experiment; use another workdir, or its settings\n" + "\n".join(lines)
            )
    if jax.process_index() == 0:
        write_json(path, {"learned": learned, "runs": runs})


def write_json(path: Path, value: Any) -> None:
    """Writes JSON so that a reader sees the old file or the new one, never a part."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
        return {"learned": dict(content["learned"])}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the config of a run ({error!r}); use another workdir") from error


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns dotted names to JSON values, in which a tuple and a list are the same."""
    flat = {}
    for name, value in tree.items():
        nested = isinstance(value, Mapping) and value
        flat |= _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": json.dumps(value, sort_keys=True)}
    return flat
