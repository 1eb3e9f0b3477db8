"""Documents in CoNLL-2012's format, whose mentions are learned through ``train.py`` and linked through ``eval.py``."""

from pathlib import Path

import numpy as np
import pytest
from fine_tuned import WORDS, learned, write_config

from efficient_attn.data import CoreferenceDocument, OntoNotes, write_clusters

pytest.importorskip("tokenizers")

SPARSE = 'attention=Sparse(patterns=("Full()",)), '
LONGFORMER = "token_types=1, attention=Longformer(windows=(6,), max_globals=0, sep_token=2), "


# What a sentence says of two things, and where it mentions the first and the second.
SAYINGS = (
    ("the {0} of the {1} .", (0, 4), (3, 4)),
    ("{0} is in {1} .", (0, 0), (3, 3)),
    ("to the {0} , {1}", (1, 2), (4, 4)),
)


def documents(number, sentences):
    """Documents about three things each, which are called by one word, or by two, or by two that are within another mention."""
    rng, found = np.random.default_rng(11), []
    for n in range(number):
        things = rng.permutation(WORDS[:9])[:3]
        words, speakers, places, mentions = [], [], [], {thing: [] for thing in things}
        for sentence in range(sentences):
            pair = rng.permutation(things)[:2]
            saying, *spans = SAYINGS[rng.integers(len(SAYINGS))]
            for thing, (first, last) in zip(pair, spans, strict=True):
                mentions[thing].append((len(words) + first, len(words) + last))
            said = saying.format(*pair).split()
            words, places = words + said, places + [sentence] * len(said)
            speakers += [("Ann", "Bob")[sentence % 2]] * len(said)
        clusters = tuple(tuple(some) for some in mentions.values() if len(some) > 1)
        columns = {"words": tuple(words), "speakers": tuple(speakers), "sentences": tuple(places)}
        found.append(CoreferenceDocument(name=f"{('nw', 'bc')[n % 2]}/x{n}", part="000", **columns, clusters=clusters))
    return found


# Dropout, as published, brings spans in among those kept that would never be tried otherwise.
def resolved(folder, capsys, model, resolving, linking, **sizes):
    """The scores of twenty documents after training on them, and what is written of them."""
    some = documents(20, 4)
    for name in OntoNotes(path=folder).files:
        write_clusters(folder / name, some, [document.clusters for document in some])
    head = f"head='coreference', linking=Linking(widest=5, hidden=64, feature=8, antecedents=10, share=0.8, {linking}),"
    config = Path(write_config(folder, f"OntoNotes(path={str(folder)!r})", model + head, peak=4e-3, **sizes))
    text = config.read_text().replace("batch_size", f"resolving=Resolving({resolving}),\n    batch_size", 1)
    text = text.replace("batch_size=24", "batch_size=8")
    imports = "from efficient_attn.coreference_reading import Resolving\nfrom efficient_attn.models import Linking\n"
    config.write_text(imports + text)
    file = folder / "said.v4_gold_conll"
    scores = learned(str(config), folder, capsys, "--predictions", str(file))
    said = OntoNotes(path=folder, files=(file.name, "", "")).load("train").documents
    assert [(d.name, d.words, d.sentences) for d in said] == [(d.name, d.words, d.sentences) for d in some]
    assert np.mean([set(a.clusters) == set(b.clusters) for a, b in zip(said, some, strict=True)]) >= 0.8
    return scores


def test_mentions_of_whole_documents_with_a_longformer(tmp_path, capsys):
    scores = resolved(tmp_path, capsys, LONGFORMER, "", "", context=28, steps=180)
    assert scores["conll_f1"] >= 0.95
    assert (scores["examples"], scores["truncated"]) == (20, 0)


# The test above has all of it but the parts and the blending, which tests/models/test_coreference_head.py checks.
@pytest.mark.slow
def test_mentions_of_documents_in_parts_that_are_blended(tmp_path, capsys):
    scores = resolved(tmp_path, capsys, SPARSE, "parts=2", "depth=2, parts=2", context=18, steps=300)
    assert scores["conll_f1"] >= 0.95
    assert (scores["examples"], scores["truncated"]) == (20, 0)
