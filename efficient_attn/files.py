"""Files that are replaced only when they are whole."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a file beside ``path`` to write, which takes its place at the end: a reader sees the old one or the new one.

    Args:
      path: the file; after an error it is what it was.
    """
    partial = path.with_name(f"{path.name}.partial")
    yield partial
    os.replace(partial, path)
