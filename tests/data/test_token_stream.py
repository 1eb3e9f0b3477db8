"""A stream counts its words and lines as Python does, whatever the size of the pieces that it scans."""

import lzma

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from efficient_attn.data import TokenStream
from efficient_attn.data import stream as stream_module

TEXT = st.binary(min_size=1, max_size=200) | st.text("ab \n\t\f", min_size=1, max_size=200).map(str.encode)


@pytest.mark.parametrize("piece", [1, 7, 1 << 24])
@hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(text=TEXT)
def test_words_and_lines(text, piece, monkeypatch):
    monkeypatch.setattr(stream_module, "_SCAN_BYTES", piece)
    stream = TokenStream(tokens=np.frombuffer(text, np.uint8), description="text")
    assert stream.words == len(text.split())
    assert stream.lines == text.count(b"\n")


def test_only_text_has_words():
    stream = TokenStream(tokens=np.zeros(12, np.uint8), unit="pixel", record_length=3, description="image")
    assert stream.words is None
    assert stream.lines is None
    assert len(stream) == 12


def test_xz_is_the_yardstick_of_short_streams():
    text = np.frombuffer(b"it was so, and so it was. " * 400, np.uint8)
    stream = TokenStream(tokens=text, description="text")
    assert stream.xz_bits == pytest.approx(8 * len(lzma.compress(text.tobytes(), preset=9)) / len(text))
    assert 0 < stream.xz_bits < 1
    assert TokenStream(tokens=np.zeros(2**24 + 1, np.uint8), description="long").xz_bits is None


def test_bits_of_frequencies():
    tokens = np.array([0, 0, 0, 0, 1, 1, 299, 2], np.uint16)
    assert TokenStream(tokens=tokens, vocab_size=300, description="four").frequency_bits == pytest.approx(1.75)
    assert TokenStream(tokens=np.zeros(9, np.uint8), description="one").frequency_bits == 0.0
