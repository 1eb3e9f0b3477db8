"""Labelled texts and translations of data sets that TFDS has prepared; see ``data/tfds.py``."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from efficient_attn.data.labelled_text import LabelledTexts
from efficient_attn.data.pairs import Pairs, check_languages
from efficient_attn.data.source import Location, hash_identity
from efficient_attn.data.splits import SPLITS, Split
from efficient_attn.data.tfds import class_names, open_records, prepared_folder, split_sizes


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFDSLabelled:
    """Texts, or pairs of them, with a class or a number each, of a prepared data set; classes go by the names that TFDS has."""

    name: str
    """Data set and config as in TFDS: ``"imdb_reviews"``, ``"glue/rte"``."""
    data_dir: Location
    """The folder that TFDS prepared into."""
    text: str = "text"
    """The feature of the text."""
    pair: str | None = None
    """The feature of what it is paired with; None: texts are single."""
    label: str = "label"
    """The feature of the class or the number; a class of -1 in all of a split means that its labels are not published."""
    numbers: bool = False
    """Whether labels are numbers, and not classes."""
    split_names: tuple[str, str, str] = SPLITS
    """TFDS's own names for train, validation and test: ``("train[:90%]", "train[90%:]", "test")`` for IMDB."""

    def load(self, split: Split) -> LabelledTexts:
        """Reads one split; see ``Source.load``."""
        folder, tfds_split = prepared_folder(self.name, self.data_dir), self.split_names[SPLITS.index(split)]
        fields = (self.text, *filter(None, [self.pair]))
        opened = [open_records(folder, name, tfds_split) for name in (*fields, self.label)]
        rows = [opened[0][i] for i in range(len(opened[0]))]
        texts = [[self._text(row, field) for row in rows] for field in fields]
        labels = [row[self.label] for row in rows]
        names = None if self.numbers else class_names(folder, self.label)
        published = names is None or any(label >= 0 for label in labels)
        return LabelledTexts(
            firsts=texts[0],
            seconds=texts[1] if self.pair else None,
            labels=[str(label) if names is None else names[label] for label in labels] if published else None,
            keys=[str(row.get("idx", number)) for number, row in enumerate(rows)],
            description=f"TFDS {self.name}, split {tfds_split}: {len(rows):,} texts",
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, split_sizes(prepared_folder(self.name, self.data_dir)))

    def _text(self, row: dict[str, Any], feature: str) -> str:
        if not isinstance(row[feature], bytes):
            raise ValueError(f"feature {feature!r} of {self.name} should be text, got {type(row[feature]).__name__}")
        return row[feature].decode()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFDSTranslation:
    """Sentences and translations of a prepared data set, read when they are asked for.

    Raises:
        ValueError: The languages are not two different ones.
    """

    name: str
    """Data set, config and version as in TFDS: ``"wmt14_translate/de-en"``, ``"wmt16_translate/ro-en"``."""
    data_dir: Location
    """The folder that TFDS prepared into."""
    languages: tuple[str, str] = ("en", "de")
    """What is translated, and into what: two features of a record."""
    split_names: tuple[str, str, str] = SPLITS
    """TFDS's own names for train, validation and test; parts are allowed: ``"train[:95%]"``."""

    def __post_init__(self):
        check_languages(self.languages)

    def load(self, split: Split) -> Pairs:
        """Reads one split; see ``Source.load``."""
        tfds_split = self.split_names[SPLITS.index(split)]
        folder = prepared_folder(self.name, self.data_dir)
        source, target = (
            _Sentences(open_records(folder, language, tfds_split), language) for language in self.languages
        )
        what = f"TFDS {self.name}, split {tfds_split}, {' to '.join(self.languages)}"
        return Pairs(
            source=source, target=target, description=f"{what}: {len(source):,} pairs", language=self.languages[1]
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, split_sizes(prepared_folder(self.name, self.data_dir)))


class _Sentences(Sequence[str]):
    """One language of records, each sentence on one line."""

    def __init__(self, records: Sequence[dict[str, Any]], language: str):
        self._records, self._language = records, language

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, record: int) -> str:
        # Records beyond the last are a ValueError there; what walks through a sequence expects an IndexError.
        record = range(len(self))[record]
        return " ".join(self._records[record][self._language].decode().splitlines())
