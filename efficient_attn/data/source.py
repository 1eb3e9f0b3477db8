"""What every source offers, and how sources look at the disk: one clear line when something is not there."""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from jaxtyping import UInt8

from efficient_attn.data.splits import SPLITS, Split, SplitFractions, split_by_hash
from efficient_attn.data.stream import TokenStream

Location = Path | str


class Source(Protocol):
    """Where data comes from. A source is a frozen record of fields; it reads nothing until it is asked."""

    def load(self, split: Split) -> TokenStream:
        """Reads one split.

        Raises:
            FileNotFoundError: The data is not there; the message says what to fetch and where to put it.
            ValueError: The data is there, but is not what it should be.
        """
        ...

    def fingerprint(self) -> str:
        """Identifies the data, so that a run is not resumed on other data. Where it lies on disk does not matter."""
        ...


def hash_identity(source: object, sizes: Iterable[tuple[str, int]]) -> str:
    """Hashes a source's type, its fields other than locations, and the names and sizes of its parts.

    Args:
        source: A dataclass; its fields ``path`` and ``data_dir`` are locations and are left out.
        sizes: Name and size in bytes of each part.

    Returns:
        16 hexadecimal digits.
    """
    fields = {field.name: getattr(source, field.name) for field in dataclasses.fields(source)}  # pyright: ignore[reportArgumentType]
    identity = sorted((name, value) for name, value in fields.items() if name not in ("path", "data_dir"))
    text = repr((type(source).__name__, identity, sorted(sizes)))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def require_file(path: Location, remedy: str) -> Path:
    """Returns the file as a Path.

    Args:
        path: The file; ``~`` is the home directory.
        remedy: What to do if it is missing, as an imperative sentence.

    Raises:
        FileNotFoundError: There is nothing at ``path``.
        ValueError: ``path`` is not a file, or is empty.
    """
    file = Path(path).expanduser()
    if not file.exists():
        raise FileNotFoundError(f"no file {file}: {remedy}")
    if not file.is_file():
        raise ValueError(f"{file} is not a file: {remedy}")
    if file.stat().st_size == 0:
        raise ValueError(f"{file} is empty: {remedy}")
    return file


def require_folder(path: Location, remedy: str) -> Path:
    """Returns the folder as a Path.

    Args:
        path: The folder; ``~`` is the home directory.
        remedy: What to do if it is missing, as an imperative sentence.

    Raises:
        FileNotFoundError: There is nothing at ``path``.
        ValueError: ``path`` is not a folder.
    """
    folder = Path(path).expanduser()
    if not folder.exists():
        raise FileNotFoundError(f"no folder {folder}: {remedy}")
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: {remedy}")
    return folder


def read_file(path: Path) -> bytes:
    """Reads a whole file.

    Raises:
        ValueError: The operating system refuses to read it.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


def map_file(path: Path) -> UInt8[np.ndarray, " length"]:
    """Maps a file that is not empty into memory as bytes, read-only.

    Raises:
        ValueError: The operating system refuses to read it.
    """
    try:
        return np.memmap(path, dtype=np.uint8, mode="r")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


def list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Lists the files under a folder, at any depth, whose names end in one of ``suffixes``, sorted.

    Raises:
        ValueError: There is none.
    """
    endings = tuple(suffix.lower() for suffix in suffixes)
    files = sorted(path for path in folder.rglob("*") if path.name.lower().endswith(endings) and path.is_file())
    if not files:
        raise ValueError(f"no file under {folder} ends in {' or '.join(suffixes)}")
    return files


def assign_files(folder: Path, files: Sequence[Path], fractions: SplitFractions) -> dict[Split, list[Path]]:
    """Distributes files over the splits by a hash of their path relative to ``folder``, or where all lie in folders ``train``,
    ``validation`` and ``test``, by these.

    A file with the same contents as an earlier one is left out, and so is an empty one, so that no text stands in
    two splits.

    Cost: reads every file once.
    """
    assigned: dict[Split, list[Path]] = {split: [] for split in SPLITS}
    seen = {hashlib.blake2b(b"").digest()}
    named = {file.relative_to(folder).parts[0] for file in files} <= set(SPLITS)
    for file in files:
        path = file.relative_to(folder)
        digest = hashlib.blake2b(read_file(file)).digest()
        if digest not in seen:
            seen.add(digest)
            split = cast(Split, path.parts[0]) if named else split_by_hash(path.as_posix().encode(), fractions)
            assigned[split].append(file)
    return assigned


def files_of_split(folder: Path, files: Sequence[Path], fractions: SplitFractions, split: Split) -> list[Path]:
    """Returns the files that ``assign_files`` gives to one split.

    Raises:
        ValueError: There is none.
    """
    chosen = assign_files(folder, files, fractions)[split]
    if not chosen:
        raise ValueError(f"no file under {folder} falls to {split!r}: it has {len(files)}, splits are {fractions}")
    return chosen


def sizes_of_files(folder: Path, files: Iterable[Path]) -> list[tuple[str, int]]:
    """Returns each file's path relative to ``folder``, and its size in bytes."""
    return [(file.relative_to(folder).as_posix(), file.stat().st_size) for file in files]
