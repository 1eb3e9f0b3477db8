"""Every config that comes with the library loads, and a small copy of it takes a training step."""

import dataclasses
import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest
from fine_tuned import write_lines, write_tokenizer
from text_to_text_examples import EXAMPLES
from text_to_text_files import write_released

from efficient_attn.data import (
    GLUE,
    ByteWords,
    CopyFirst,
    CoreferenceDocument,
    Denoising,
    HotpotQA,
    ImageClasses,
    ImageFolder,
    LabelledLines,
    OntoNotes,
    Palette,
    PaletteImages,
    ParallelText,
    SentencePieces,
    SQuAD,
    SubwordPairs,
    SubwordText,
    TextFiles,
    WikiHop,
    write_clusters,
)
from efficient_attn.experiment import load_config, load_variants, parameters, train
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.image_class_experiment import ImageClassExperiment
from efficient_attn.models import EncoderConfig
from efficient_attn.nn.embedding import AxialPositions, TablePositions
from efficient_attn.nn.sublayers import sandwich_order
from efficient_attn.permuted_experiment import PermutedExperiment
from efficient_attn.sequence_experiment import SequenceExperiment
from efficient_attn.span_corruption_experiment import SpanCorruptionExperiment
from efficient_attn.text_to_text_experiment import TextToTextExperiment
from efficient_attn.translation_experiment import TranslationExperiment

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
CONTEXT = 48


def small_positions(positions, width):
    if isinstance(positions, AxialPositions):
        return AxialPositions(sizes=(4, 12), widths=(width - 5, 5))
    return TablePositions(sizes=(4, 12)) if isinstance(positions, TablePositions) else positions


def small_decoder(model):
    heads, depth = model.heads, len(model.cycle)
    return dataclasses.replace(
        model,
        depth=depth,
        vocab=256 if model.bands is not None else max(256, model.vocab),
        bands=None if model.bands is None else dataclasses.replace(model.bands, starts=(20, 60)),
        order=None if model.order is None else sandwich_order(depth, depth),
        width=8 * heads,
        qk_width=None if model.qk_width is None else 4 * heads,
        ff_width=None if model.ff_width is None else 16 * heads,
        value_width=None if model.value_width is None else 4 * heads,
        positions=small_positions(model.positions, 8 * heads),
    )


def small_encoder(model):
    return dataclasses.replace(
        model, depth=len(model.attention.parsed()), width=8 * model.heads, ff_width=16 * model.heads
    )


def shrunken(config, path):
    """The same choices at a depth of one cycle, and small in everything that costs time."""
    if isinstance(config, SequenceExperiment):
        return shrunken_sequences(config)
    if isinstance(config, FineTuningExperiment):
        return shrunken_texts(config, path.parent)
    if isinstance(config, TranslationExperiment):
        return shrunken_translation(config, path)
    if isinstance(config, SpanCorruptionExperiment):
        return shrunken_spans(config, path)
    if isinstance(config, TextToTextExperiment):
        return shrunken_tasks(config, path.parent)
    if isinstance(config, ImageClassExperiment):
        return shrunken_classes(config, path.parent / "pictures")
    small = (small_encoder if isinstance(config.model, EncoderConfig) else small_decoder)(config.model)
    units = {"units": ByteWords()} if isinstance(config, PermutedExperiment) else {}
    return dataclasses.replace(
        config,
        **units,
        start=None,
        model=small,
        source=TextFiles(path=path, splits=(0.8, 0.1, 0.1)),
        context=CONTEXT,
        # A row for each of the tests' devices in each microbatch.
        batch_size=8 * config.accumulation,
        steps=1,
        eval_scored=None if config.eval_scored is None else 16,
        eval_batch_size=8,
        schedule=dataclasses.replace(config.schedule, warmup_steps=1),
    )


def shrunken_sequences(config):
    source = Denoising(length=20, silence=5, records=16, held_out=9, reading="in_turn")
    if isinstance(config.source, CopyFirst):
        source = CopyFirst(length=20, records=16, held_out=9)
    model = dataclasses.replace(config.model, depth=2, width=5)
    return dataclasses.replace(config, model=model, source=source, batch_size=8, eval_batch_size=8, steps=1)


def shrunken_texts(config, folder):
    """Sentences of a few words, with the model's classes, or with questions."""
    if isinstance(config.source, SQuAD):
        return shrunken_questions(config, folder)
    if isinstance(config.source, WikiHop):
        return shrunken_candidates(config, folder)
    if isinstance(config.source, HotpotQA):
        return shrunken_paragraphs(config, folder)
    if isinstance(config.source, OntoNotes):
        return shrunken_documents(config, folder)
    texts = [{"text": "ab cd", "pair": "ef gh ij", "label": label} for label in config.model.labels * 8]
    write_lines(folder, texts)
    paired = config.source.table.texts[1:] if isinstance(config.source, GLUE) else []
    model = dataclasses.replace(small_encoder(config.model), vocab=write_tokenizer(folder), pad_token=1)
    schedule = dataclasses.replace(config.schedule, warmup_steps=1)
    source = LabelledLines(path=folder, pair="pair" if paired else None)
    small = {"source": source, "model": model, "tokenizer": str(folder), "start": None, "schedule": schedule}
    return dataclasses.replace(config, **small, context=16, batch_size=8, eval_batch_size=8, steps=1)


def shrunken_paragraphs(config, folder):
    """Questions about two paragraphs."""
    read = [["the", ["ab cd", "ef gh"]], ["of", ["ij kl"]]]
    item = {"question": "is ab", "context": read, "answer": "cd", "supporting_facts": [["the", 0], ["of", 0]]}
    for name in HotpotQA(path=folder).files[:2]:
        (folder / name).write_text(json.dumps([item | {"_id": str(n)} for n in range(24)]))
    model = dataclasses.replace(small_encoder(config.model), vocab=write_tokenizer(folder) + 5, pad_token=1)
    schedule = dataclasses.replace(config.schedule, warmup_steps=1)
    small = {"source": HotpotQA(path=str(folder)), "model": model, "tokenizer": str(folder), "schedule": schedule}
    return dataclasses.replace(config, **small, start=None, context=32, batch_size=8, eval_batch_size=8, steps=1)


def shrunken_documents(config, folder):
    """Documents of one sentence, in which two words are of the same thing."""
    words = {"words": ("the", "ab", "is", "cd"), "speakers": ("-",) * 4, "sentences": (0,) * 4}
    some = [CoreferenceDocument(name=f"nw/{n}", part="000", **words, clusters=(((0, 1), (3, 3)),)) for n in range(16)]
    for name in OntoNotes(path=folder).files:
        write_clusters(folder / name, some, [document.clusters for document in some])
    linking = dataclasses.replace(config.model.linking, widest=3, hidden=8, antecedents=2)
    model = dataclasses.replace(
        small_encoder(config.model), vocab=write_tokenizer(folder), pad_token=1, linking=linking
    )
    schedule = dataclasses.replace(config.schedule, warmup_steps=1)
    small = {"source": OntoNotes(path=str(folder)), "model": model, "tokenizer": str(folder), "schedule": schedule}
    return dataclasses.replace(config, **small, start=None, context=8, batch_size=8, eval_batch_size=8, steps=1)


def shrunken_candidates(config, folder):
    """Questions with two candidates, in a vocabulary with room for their marks."""
    item = {"query": "is ab", "candidates": ["cd", "ef"], "supports": ["ab ef gh", "cd ij"], "answer": "ef"}
    for name in ("train.json", "dev.json"):
        (folder / name).write_text(json.dumps([item | {"id": str(n)} for n in range(8)]))
    vocab = write_tokenizer(folder) + 4
    model = dataclasses.replace(small_encoder(config.model), vocab=vocab, pad_token=1, labels=("score",))
    schedule = dataclasses.replace(config.schedule, warmup_steps=1)
    source = WikiHop(path=str(folder))
    small = {"source": source, "model": model, "tokenizer": str(folder), "start": None, "schedule": schedule}
    return dataclasses.replace(config, **small, context=24, batch_size=8, eval_batch_size=8, steps=1)


def shrunken_questions(config, folder):
    """Questions about a few words; in this many windows each text is read."""
    answers = [{"text": "ij", "answer_start": 6}]
    items = [{"id": f"{n}", "question": "is ab", "answers": answers} for n in range(16)]
    whole = {"data": [{"paragraphs": [{"context": "ab cd ij kl mn op", "qas": items}]}]}
    for name in ("train.json", "validation.json"):
        (folder / name).write_text(json.dumps(whole))
    files = ("train.json", "validation.json", "test.json")
    answering = dataclasses.replace(config.answering, question=4, stride=2)
    model = dataclasses.replace(small_encoder(config.model), vocab=write_tokenizer(folder), pad_token=1)
    schedule = dataclasses.replace(config.schedule, warmup_steps=1)
    source = dataclasses.replace(config.source, path=folder, files=files)
    small = {"source": source, "model": model, "tokenizer": str(folder), "start": None, "schedule": schedule}
    return dataclasses.replace(
        config, **small, answering=answering, context=16, batch_size=8, eval_batch_size=8, steps=1
    )


def shrunken_classes(config, folder):
    """Eight pictures of 4 x 4 pixels of each class in every split."""
    image, rng = pytest.importorskip("PIL.Image"), np.random.default_rng(0)
    for place in range(24 * config.model.labels):
        held = folder / ("train", "validation", "test")[place % 3] / f"class{place // 24}"
        held.mkdir(parents=True, exist_ok=True)
        image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(held / f"{place}.png")
    Palette(np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)).save(folder / "colours.npy")
    images = PaletteImages(images=ImageFolder(path=folder, size=4), palette=folder / "colours.npy")
    decoder = dataclasses.replace(small_decoder(config.model.decoder), vocab=8)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, decoder=decoder),
        source=ImageClasses(images=images),
        start=None,
        context=16,
        moving=dataclasses.replace(config.moving, distance=1),
        batch_size=8,
        eval_batch_size=8,
        steps=1,
        schedule=dataclasses.replace(config.schedule, warmup_steps=1),
    )


def shrunken_translation(config, path):
    """Every second line of the text is called the translation of the one before."""
    text = path.read_text().replace("\n", " ")
    lines = [text[n : n + 9] for n in range(0, 720, 9)]
    for split, some in {"train": lines[:60], "validation": lines[60:], "test": lines[60:]}.items():
        for language, first in (("aa", 0), ("bb", 1)):
            (path.parent / f"{split}.{language}").write_text("".join(f"{line}\n" for line in some[first::2]))
    pairs = ParallelText(path=path.parent, languages=("aa", "bb"))
    source = SubwordPairs(pairs=pairs, subwords=SentencePieces(file=path.parent / "x.model"))
    source.subwords.fit(pairs.load("train"), 360).save(source.subwords.file)
    model = dataclasses.replace(
        config.model, vocab=360, width=8 * config.model.heads, ff_width=24, encoder_depth=1, decoder_depth=1
    )
    return dataclasses.replace(
        config,
        model=model,
        source=source,
        context=CONTEXT,
        batch_size=8,
        steps=1,
        eval_batch_size=8,
        # What is written is scored in tests/tasks/test_translation.py.
        decoding=None,
        schedule=dataclasses.replace(config.schedule, warmup_steps=1),
        average_last=1,
    )


def shrunken_spans(config, path):
    """The text in lines of nine characters."""
    text = path.read_text().replace("\n", " ")
    path.write_text("".join(f"{text[n : n + 9]}\n" for n in range(0, len(text), 9)))
    source = SubwordText(
        text=TextFiles(path=path, splits=(0.8, 0.1, 0.1)), subwords=SentencePieces(file=path.parent / "x.model")
    )
    source.subwords.fit(source.sentences("train"), 360).save(source.subwords.file)
    model = dataclasses.replace(
        config.model, vocab=380, width=8 * config.model.heads, ff_width=24, encoder_depth=1, decoder_depth=1
    )
    return dataclasses.replace(
        config,
        model=model,
        source=source,
        context=CONTEXT,
        learned_pieces=360,
        sentinels=20,
        batch_size=8,
        steps=1,
        eval_batch_size=8,
        schedule=dataclasses.replace(config.schedule, warmup_steps=1),
    )


def shrunken_tasks(config, folder):
    """Twenty short examples of one task."""
    tasks = ("glue_cola",)
    benchmarks = write_released(folder, {name: EXAMPLES[name] for name in tasks})
    subwords = SentencePieces(file=folder / "x.model")
    source = dataclasses.replace(config.source, benchmarks=benchmarks, subwords=subwords, tasks=tasks)
    subwords.fit(source.sentences("train"), 320).save(subwords.file)
    model = dataclasses.replace(
        config.model, vocab=320, width=8 * config.model.heads, ff_width=24, encoder_depth=1, decoder_depth=1
    )
    small = {"source": source, "model": model, "context": 16, "target_context": 16, "longest_output": 4}
    return dataclasses.replace(config, **small, batch_size=8, steps=1, eval_batch_size=40)


def test_there_are_configs():
    assert {"quickstart", "sparse_transformer_enwik8"} <= {path.stem for path in CONFIGS}


# Published translation models differ from the small one in what a trace shows.
TRANSLATIONS = [
    path
    for path in CONFIGS
    if "translation" in path.stem or "wmt" in path.stem or (path.stem.startswith("gshard") and path.stem != "gshard_lm")
]
PAIRS = [*TRANSLATIONS, *(path for path in CONFIGS if path.stem in ("en_mix", "t5_small"))]
STEPPED = [path for path in CONFIGS if path not in TRANSLATIONS or path.stem == "small_translation"]
# T5 at its full size differs from the small one in its optimizer, which tests/tasks/test_span_corruption_learning.py has.
STEPPED = [path for path in STEPPED if path.stem != "t5_small"]


@pytest.mark.parametrize("path", STEPPED, ids=lambda path: path.stem)
def test_a_small_copy_takes_a_step(path, tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(np.random.default_rng(0).integers(32, 127, 4000).astype(np.uint8).tobytes())
    config = shrunken(load_config(str(path)), text)
    report = train(config, str(tmp_path / "run"))
    assert report["step"] == 1
    assert math.isfinite(report["loss"])
    if isinstance(config, SequenceExperiment | FineTuningExperiment):
        assert report["examples"] == (9 if isinstance(config, SequenceExperiment) else 8 * len(config.model.labels))
        return
    if isinstance(config, SpanCorruptionExperiment):
        assert report["tokens"] > 8 * 12
        return
    if isinstance(config, TranslationExperiment):
        assert report["tokens"] == len(config.source.load("validation").target.tokens)
        return
    if isinstance(config, TextToTextExperiment):
        assert report["examples"] == 20
        return
    if isinstance(config, ImageClassExperiment):
        assert report["examples"] == 8 * config.model.labels
        return
    # An encoder is scored at the tokens that are taken away.
    assert report["tokens"] == 400 or isinstance(config.model, EncoderConfig)
    assert report["bits_per_byte"] == pytest.approx(report["loss"] / math.log(2))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_docstring_is_a_recipe(path):
    text = path.read_text()
    assert f"Command: python train.py configs/{path.name} --workdir runs/{path.stem}" in text


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_variants_are_different_experiments_on_the_same_data(path):
    variants = load_variants(str(path))
    for name, config in variants.items():
        assert load_config(f"{path}:{name}" if name else str(path)) == config
        # Tasks that are learned in the same way are variants too, and so are other languages.
        same = isinstance(config, FineTuningExperiment) and type(config.reading) is type(variants[""].reading)
        # The classes of images are learned after the images, or those of other images.
        same = same or isinstance(config, TranslationExperiment | ImageClassExperiment)
        assert same or config.source == variants[""].source
    assert len(set(map(repr, variants.values()))) == len(variants)


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_every_translation_model_is_built_at_its_full_size(path):
    sizes = {name: parameters(config)["parameters"] for name, config in load_variants(str(path)).items()}
    smallest = 1.5e6 if path.stem.startswith("small") else 54e6
    assert all(size > smallest for size in sizes.values())


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_the_loss_of_a_translation_model_is_traced_at_its_full_size(path):
    config = load_config(str(path))
    blank = np.zeros((1, config.context), np.int32)
    batch = {f"{side}{what}": blank for side in ("source", "target") for what in ("", "_segments", "_positions")}
    terms, _ = jax.eval_shape(config.reading.program()["objective"], config.form.shapes(), batch, jax.random.key(0), ())
    assert terms["loss"].sum.shape == ()
    assert config.update() is not None
