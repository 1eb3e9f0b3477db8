"""Parallel text: lines stay against their translations, pieces lose nothing, and batches are functions of the step."""

import numpy as np
import pytest

from efficient_attn.data import (
    Lines,
    PairBatches,
    ParallelText,
    SentencePieces,
    SubwordPairs,
    Subwords,
    TFDSTranslation,
    by_length,
    pair_rows,
    text_rows,
)

WORDS = ["red", "blue", "green", "one", "two", "three", "cat", "dog", "bird", "sun", "moon", "star"]


def sentences(count, seed):
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, draw.integers(1, 7))) for _ in range(count)]


def write(folder, split="train", source=(), target=(), languages=("en", "de")):
    for language, lines in zip(languages, (source, target), strict=True):
        (folder / f"{split}.{language}").write_bytes("".join(f"{line}\n" for line in lines).encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Parallel text whose translations are upper case."""
    folder = tmp_path_factory.mktemp("parallel")
    for seed, (split, count) in enumerate({"train": 120, "validation": 20, "test": 20}.items()):
        some = sentences(count, seed)
        write(folder, split, some, [text.upper() for text in some])
    return folder


@pytest.fixture(scope="module")
def source(folder):
    """That text in pieces."""
    source = SubwordPairs(pairs=ParallelText(path=folder), subwords=SentencePieces(file=folder / "x.model"))
    source.subwords.fit(source.pairs.load("train"), 300).save(source.subwords.file)
    return source


def test_only_line_feeds_end_lines():
    text = "one\u2028still one\x0bstill\r\n\n last, without an end: ü".encode()
    lines = Lines(np.frombuffer(text, np.uint8), "a text")
    assert list(lines) == ["one\u2028still one\x0bstill", "", " last, without an end: ü"]
    assert lines[-1] == lines[2]
    assert len(Lines(np.zeros(0, np.uint8), "nothing")) == 0


@pytest.mark.parametrize(
    ("files", "error", "reason"),
    [
        ({"train.en": b"a\nb\n", "train.de": b"a\n"}, ValueError, r"train.en has 2 lines and .*train.de 1:"),
        ({"train.en": b"", "train.de": b"a\n"}, ValueError, "train.en is empty: a folder of parallel text has"),
        ({"train.en": b"a\n"}, FileNotFoundError, "no file .*train.de: a folder of parallel text has"),
    ],
)
def test_uneven_empty_and_missing_files(tmp_path, files, error, reason):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=reason):
        ParallelText(path=tmp_path).load("train")


def test_other_bad_parallel_text(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        ParallelText(path=tmp_path / "nowhere").load("train")
    with pytest.raises(ValueError, match="two different ones"):
        ParallelText(path=tmp_path, languages=("en", "en"))
    with pytest.raises(ValueError, match="line 2 of train is not UTF-8"):
        Lines(np.frombuffer(b"a\n\xff\n", np.uint8), "train")[1]
    before = ParallelText(path=folder).fingerprint()
    assert before != ParallelText(path=folder, languages=("de", "en")).fingerprint()


def test_pieces_keep_what_they_do_not_know(source):
    pieces = source.subwords.load()
    assert (pieces.pad, pieces.eos, pieces.bos) == (0, 1, 3)
    odd = ["red λ ✓ 猫 dog", "", "  sun   moon "]
    texts = pieces.encode(odd)
    assert [int(texts[n][-1]) for n in range(3)] == [1, 1, 1]
    assert [pieces.decode(texts[n]) for n in range(3)] == ["red λ ✓ 猫 dog", "", "sun moon"]
    assert texts.lengths.tolist()[1] == 1
    # What is after the end is not read, and a line stays a line, whatever bytes spell.
    line_feed = pieces._model.PieceToId("<0x0A>")
    spelt = np.concatenate([texts[2][:-1], [line_feed], texts[2], texts[0]])
    assert pieces.decode(spelt).split() == ["sun", "moon", "sun", "moon"]
    assert "\n" not in pieces.decode(spelt)


def test_unknown_characters_as_one_token(folder, tmp_path):
    subwords = SentencePieces(file=tmp_path / "x.model", kind="bpe", unknown="token", coverage=1.0)
    pieces = subwords.fit(ParallelText(path=folder).load("train"), 60)
    assert (len(pieces), 2) == (60, pieces.encode(["猫"])[0][-2])
    pieces.save(subwords.file)
    with pytest.raises(FileExistsError, match=r"x\.model is there already"):
        pieces.save(subwords.file)
    assert subwords.load().digest == pieces.digest


def test_pieces_that_cannot_be(folder, tmp_path):
    subwords = SentencePieces(file=tmp_path / "x.model", unknown="token")
    with pytest.raises(FileNotFoundError, match=r"x\.model: make it with `python -m efficient_attn tokenizer CONFIG`"):
        subwords.load()
    with pytest.raises(ValueError, match=r"no 9000 pieces can be made of train of .* Vocabulary size too high"):
        subwords.fit(ParallelText(path=folder).load("train"), 9000)
    with pytest.raises(ValueError, match="is no model of sentencepiece"):
        Subwords(b"nothing of the kind", "x.model")
    with pytest.raises(ValueError, match="coverage must be in"):
        SentencePieces(file="x", coverage=2.0)


def test_the_fingerprint_is_of_sentences_and_pieces(source, folder, tmp_path):
    other = SentencePieces(file=tmp_path / "x.model")
    other.fit(source.pairs.load("train"), 310).save(other.file)
    assert SubwordPairs(pairs=source.pairs, subwords=other).fingerprint() != source.fingerprint()
    assert source.load("test").description.startswith(f"test of {folder.name}, en to de: 20 pairs, ")


def batches(source, **fields):
    return PairBatches(**(dict(pairs=source.load("train"), context=30, batch_size=4, seed=3) | fields))


def pairs_in(batch):
    """Both texts of every pair of a batch, checked to lie as they should."""
    for row in range(len(batch["source"])):
        for segment in range(1, batch["source_segments"][row].max() + 1):
            texts = []
            for side in ("source", "target"):
                inside = batch[f"{side}_segments"][row] == segment
                np.testing.assert_array_equal(batch[f"{side}_positions"][row][inside], np.arange(inside.sum()))
                texts.append(tuple(batch[side][row][inside].tolist()))
            yield tuple(texts)


def test_an_epoch_holds_every_pair_once(source):
    made = batches(source, batch_size=1)
    pairs = made.pairs
    fit = [n for n, lengths in enumerate(pairs.lengths) if max(lengths) <= 30]
    assert made.too_long == len(pairs) - len(fit) > 0
    expected = sorted((tuple(pairs.source[n].tolist()), tuple(pairs.target[n].tolist())) for n in fit)
    found = [pair for step in range(made.rows_per_epoch) for pair in pairs_in(made.at(step))]
    assert sorted(found) == expected
    # Rows are well filled, or packing is pointless.
    assert made.rows_per_epoch < 1.2 * pairs.lengths[fit].sum(axis=0).max() / 30


def test_batches_are_functions_of_seed_step_and_process(source):
    made = batches(source)
    later = made.iterate(5)
    for step in (5, 6):
        found = next(later)
        halves = [batches(source, process_index=n, process_count=2).at(step) for n in (0, 1)]
        for name, whole in made.at(step).items():
            np.testing.assert_array_equal(found[name], whole)
            np.testing.assert_array_equal(np.concatenate([half[name] for half in halves]), whole)
    assert not np.array_equal(made.at(0)["source"], made.at(made.rows_per_epoch)["source"])
    assert not np.array_equal(made.at(0)["source"], batches(source, seed=4).at(0)["source"])
    with pytest.raises(ValueError, match="steps count from 0, got -1"):
        made.at(-1)
    with pytest.raises(ValueError, match="no pair fits rows of 1 tokens"):
        batches(source, context=1)


def test_empty_sides_are_not_learned_from(source, tmp_path):
    write(tmp_path, source=["red", "", "dog"], target=["RED", "BLUE", ""])
    made = batches(SubwordPairs(pairs=ParallelText(path=tmp_path), subwords=source.subwords), batch_size=1)
    assert (made.empty, made.too_long, made.rows_per_epoch) == (2, 0, 1)


def test_texts_of_about_one_length_come_together():
    lengths = np.array([3, 40, 16, 17, 90, 64, 1, 33])
    found = [(texts.tolist(), width) for texts, width in by_length(lengths, 2, 64)]
    assert found == [([0, 2], 16), ([6], 16), ([3], 32), ([1, 4], 64), ([5, 7], 64)]
    assert [width for _, width in by_length(lengths, 9, 10)] == [10]


def test_rows_of_evaluation_hold_the_beginning_of_what_is_too_long(source):
    pairs = source.load("test")
    longest = int(np.argmax(pairs.source.lengths))
    rows = [np.array([longest]), np.array([], np.int64)]
    batch = text_rows(pairs.source, rows, 4, "source")
    assert batch["source"].tolist() == [pairs.source[longest][:4].tolist(), [0] * 4]
    assert batch["source_segments"].tolist() == [[1] * 4, [0] * 4]
    assert set(pair_rows(pairs, rows, 4)) == set(batch) | {"target", "target_segments", "target_positions"}


def test_translations_prepared_by_tfds(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")

    class Phrases(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.Translation(languages=("de", "en"))
            return tfds.core.DatasetInfo(builder=self, disable_shuffling=True, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(4), "test": self._generate_examples(2)}

        def _generate_examples(self, count):
            for number in range(count):
                yield number, {"en": f"phrase\n{number}", "de": f"Satz {number}ß"}

    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    Phrases(data_dir=tmp_path, file_format="array_record").download_and_prepare(download_config=config)
    source = TFDSTranslation(name="phrases", data_dir=tmp_path)
    pairs = source.load("train")
    assert (list(pairs.source), pairs.target[3]) == ([f"phrase {n}" for n in range(4)], "Satz 3ß")
    assert pairs.description == "TFDS phrases, split train, en to de: 4 pairs"
    assert (
        source.fingerprint() != TFDSTranslation(name="phrases", data_dir=tmp_path, languages=("de", "en")).fingerprint()
    )
    with pytest.raises(ValueError, match="has no feature 'fr'"):
        TFDSTranslation(name="phrases", data_dir=tmp_path, languages=("en", "fr")).load("test")
