"""Sounds as pictures: the waveform and the spectrogram of each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from efficient_attn.data.audio import mu_law_decode
from efficient_attn.training.curve import empty_figure

# Samples of a spectrum, and how many of them the next one shares: 32 and 24 ms at 8 kHz.
SPECTRUM, _SHARED = 256, 192
# Below the loudest, in decibels.
_RANGE = 80


def draw_sounds(file: Path, sounds: Sequence[np.ndarray], rate: int) -> None:
    """Draws a row for each sound, its waveform above its spectrogram.

    Args:
      file: the picture.
      sounds: mu-law tokens, uint8 [length], more than ``SPECTRUM`` of each.
      rate: samples per second.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed.
    """
    figure = empty_figure(9.0, 3.2 * len(sounds))
    axes = figure.subplots(2 * len(sounds), squeeze=False)[:, 0]
    for n, sound in enumerate(sounds):
        _draw(axes[2 * n], axes[2 * n + 1], mu_law_decode(sound), rate)
    figure.savefig(file, dpi=100)


def _draw(wave: Any, spectrum: Any, amplitudes: np.ndarray, rate: int) -> None:
    seconds = np.arange(len(amplitudes)) / rate
    wave.plot(seconds, amplitudes, linewidth=0.4)
    wave.set(xlim=(0, len(amplitudes) / rate), ylim=(-1, 1), ylabel="amplitude")
    # Silence has no logarithm.
    heard = amplitudes + 1e-5 * np.random.default_rng(0).standard_normal(len(amplitudes))
    _, _, _, drawn = spectrum.specgram(heard, NFFT=SPECTRUM, noverlap=_SHARED, Fs=rate)
    drawn.set_clim(drawn.get_array().max() - _RANGE, drawn.get_array().max())
    spectrum.set(xlim=(0, len(amplitudes) / rate), xlabel="seconds", ylabel="Hz")
