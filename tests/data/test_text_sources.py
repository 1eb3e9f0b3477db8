"""Text sources read real folders: nothing is lost, nothing stands in two splits, the order is stable."""

import bz2
import importlib
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from efficient_attn.data import (
    LM1B,
    SPLITS,
    Enwik8,
    StandardLibrary,
    Text8,
    TextFiles,
    TFDSText,
    WikipediaExcerpt,
    WikiText,
)


def text_of(source, split):
    return source.load(split).tokens.tobytes()


def test_standard_library_splits_are_disjoint_and_large():
    files = StandardLibrary().files()
    contents = {split: {file.read_bytes() for file in files[split]} for split in SPLITS}
    assert not contents["train"] & contents["validation"]
    assert not contents["train"] & contents["test"]
    assert not contents["validation"] & contents["test"]
    sizes = {split: sum(map(len, contents[split])) for split in SPLITS}
    if not Path(sysconfig.get_paths()["stdlib"], "test", "test_os.py").exists():
        pytest.skip(f"this interpreter comes without its tests, which are most of the text: {sizes}")
    assert sizes["train"] >= 10_000_000
    assert min(sizes["validation"], sizes["test"]) >= 1_000_000


def test_standard_library_reads_the_files_it_lists():
    files = StandardLibrary().files()["validation"]
    assert not any(part in ("site-packages", "encodings", "pydoc_data") for file in files for part in file.parts)
    stream = StandardLibrary().load("validation")
    assert stream.tokens.tobytes() == b"".join(file.read_bytes() for file in files)
    assert f"{len(files):,} files" in stream.description
    assert StandardLibrary().fingerprint() == StandardLibrary().fingerprint()
    assert StandardLibrary().fingerprint() != StandardLibrary(splits=(0.9, 0.05, 0.05)).fingerprint()


def test_one_text_file_is_cut_by_position(tmp_path):
    text = bytes(range(200))
    (tmp_path / "book").write_bytes(text)
    source = TextFiles(path=tmp_path / "book", splits=(0.5, 0.25, 0.25))
    assert [text_of(source, split) for split in SPLITS] == [text[:100], text[100:150], text[150:]]


def write_library(folder, count=60):
    (folder / "deep").mkdir(parents=True)
    for i in range(count):
        (folder / ("deep" if i % 2 else ".") / f"{i:03d}.txt").write_text(f"<{i}>")
    return TextFiles(path=folder, splits=(0.6, 0.2, 0.2))


def test_text_folder_keeps_every_document_once(tmp_path):
    source = write_library(tmp_path / "a")
    documents = [document for split in SPLITS for document in text_of(source, split).decode()[1:-1].split("><")]
    assert sorted(documents, key=int) == [str(i) for i in range(60)]


def test_text_folder_reads_repeated_and_other_files_once(tmp_path):
    source = write_library(tmp_path / "a")
    before = [text_of(source, split) for split in SPLITS]
    for i in range(60):
        (tmp_path / "a" / f"z{i}.txt").write_text(f"<{i}>")
    (tmp_path / "a" / "empty.txt").touch()
    (tmp_path / "a" / "picture.png").write_bytes(b"not text")
    assert [text_of(source, split) for split in SPLITS] == before


def test_fingerprint_follows_the_data_not_the_place(tmp_path):
    here, there = write_library(tmp_path / "a"), write_library(tmp_path / "b")
    assert here.fingerprint() == there.fingerprint()
    assert here.fingerprint() == TextFiles(path=str(tmp_path / "a"), splits=here.splits).fingerprint()
    assert here.fingerprint() != TextFiles(path=tmp_path / "a").fingerprint()
    (tmp_path / "b" / "more.txt").write_text("more")
    assert here.fingerprint() != there.fingerprint()


XML = b"<mediawiki>" + b"x" * 989
XML_NAME = "enwiki-latest-pages-articles1.xml-shortened.bz2"


def test_wikipedia_excerpt_reads_xml_and_bz2(tmp_path):
    (tmp_path / XML_NAME).write_bytes(bz2.compress(XML))
    (tmp_path / "pages.xml").write_bytes(XML)
    sources = [WikipediaExcerpt(path=path) for path in (tmp_path, tmp_path / XML_NAME, tmp_path / "pages.xml")]
    assert len({source.fingerprint() for source in sources}) == 1
    for source in sources:
        assert [len(source.load(split)) for split in SPLITS] == [900, 50, 50]
        assert text_of(source, "train") == XML[:900]


def test_wikipedia_excerpt_finds_gensim_without_importing_it(tmp_path, monkeypatch):
    folder = tmp_path / "gensim" / "test" / "test_data"
    folder.mkdir(parents=True)
    (tmp_path / "gensim" / "__init__.py").write_text("raise AssertionError('imported')")
    (folder / XML_NAME).write_bytes(bz2.compress(XML))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert text_of(WikipediaExcerpt(), "test") == XML[950:]


@pytest.mark.parametrize("source", [Enwik8, Text8])
def test_hundred_megabytes_are_split_90_5_5(source, tmp_path):
    with open(tmp_path / "corpus", "wb") as file:
        # A sparse file: it takes no room on the disk.
        file.truncate(100_000_000)
        for position in (0, 90_000_000, 95_000_000):
            file.seek(position)
            file.write(b"first")
    corpus = source(path=tmp_path / "corpus")
    streams = [corpus.load(split) for split in SPLITS]
    assert [len(stream) for stream in streams] == [90_000_000, 5_000_000, 5_000_000]
    assert all(stream.tokens[:5].tobytes() == b"first" for stream in streams)
    assert all(isinstance(stream.tokens, np.memmap) for stream in streams)
    assert Enwik8(path=tmp_path / "corpus").fingerprint() != Text8(path=tmp_path / "corpus").fingerprint()


@pytest.mark.parametrize("suffix", ["tokens", "raw"])
def test_wikitext(suffix, tmp_path):
    for name in ("train", "valid", "test"):
        (tmp_path / f"wiki.{name}.{suffix}").write_text(f" \n = {name} = \n")
    source = WikiText(path=tmp_path)
    assert [text_of(source, split) for split in SPLITS] == [
        b" \n = train = \n",
        b" \n = valid = \n",
        b" \n = test = \n",
    ]
    assert (source.load("test").words, source.load("test").lines) == (3, 2)
    assert source.fingerprint() == WikiText(path=tmp_path).fingerprint()


def test_lm1b(tmp_path):
    train, held_out = (tmp_path / f"{name}-monolingual.tokenized.shuffled" for name in ("training", "heldout"))
    train.mkdir()
    held_out.mkdir()
    for i in range(1, 100):
        (train / f"news.en-{i:05d}-of-00100").write_text(f"shard {i} .\n")
    for i in range(50):
        (held_out / f"news.en.heldout-{i:05d}-of-00050").write_text(f"held out {i} .\n")
    source = LM1B(path=tmp_path)
    assert text_of(source, "train").decode() == "".join(f"shard {i} .\n" for i in range(1, 100))
    assert text_of(source, "validation") == b"held out 1 .\n"
    assert text_of(source, "test") == b"held out 0 .\n"
    assert source.load("train").words == 3 * 99
    assert source.fingerprint() == LM1B(path=tmp_path).fingerprint()


def test_tfds_text(prepared):
    source = TFDSText(name="notes", data_dir=prepared, split_names=("train[:10]", "train[10:]", "test"))
    assert text_of(source, "train").decode() == "".join(f"note {i}\n" for i in range(10))
    assert text_of(source, "validation") == b"note 10\nnote 11\n"
    assert text_of(source, "test").decode() == "".join(f"note {i}\n" for i in range(12, 17))
    pinned = TFDSText(name="notes/1.0.0", data_dir=prepared, split_names=source.split_names, separator="")
    assert text_of(pinned, "validation") == b"note 10note 11"
    assert (
        source.fingerprint() == TFDSText(name="notes", data_dir=prepared, split_names=source.split_names).fingerprint()
    )
