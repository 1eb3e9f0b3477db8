"""Examples of both benchmarks as TFDS has prepared them; see ``data/tfds.py``."""

import dataclasses
from typing import Any

import numpy as np

from efficient_attn.data.source import Location
from efficient_attn.data.splits import Split
from efficient_attn.data.text_to_text.forms import Example
from efficient_attn.data.text_to_text.tasks import TextTask
from efficient_attn.data.tfds import open_records, prepared_folder, split_sizes


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedBenchmarks:
    """``glue`` and ``super_glue`` with the configs of all tasks; TFDS calls that of WSC ``wsc.fixed``."""

    data_dir: Location
    """The folder that TFDS prepared into."""

    def load(self, task: TextTask, split: Split) -> list[Example]:
        """The examples of a split; errors as of ``Source.load``."""
        name = task.split_name(split)
        if name is None:
            raise ValueError(f"{task.name} has no {split} split")
        records = open_records(prepared_folder(task.tfds, self.data_dir), "idx", name)
        return [_plain(records[place]) for place in range(len(records))]

    def sizes(self, task: TextTask) -> list[tuple[str, int]]:
        """Names and sizes of the parts of a task."""
        folder = prepared_folder(task.tfds, self.data_dir)
        return [(f"{task.tfds} {name}", size) for name, size in split_sizes(folder)]


def _plain(value: Any) -> Any:
    """A record with texts for bytes, and plain numbers and lists."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
        return [_plain(part) for part in value]
    return value.item() if isinstance(value, np.generic | np.ndarray) else value
