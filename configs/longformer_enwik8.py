"""The Longformer's character models on enwik8: windows that widen by layer and double by phase, dilated in two heads.

Rows: Beltagy et al. 2020, tables 2 and 3: 1.00 bits per character with 41M parameters, 0.99 with 102M.
Command: python train.py configs/longformer_enwik8.py --workdir runs/longformer_enwik8
  That is the first of five phases of the small model. Each begins where the one before ended, which the names of the workdirs say:
  configs/longformer_enwik8.py:phase2 in runs/longformer_enwik8_phase2, and so on; :large, :large_phase2 ... (VARIANTS) are the
  other model. configs/longformer_text8.py is the small one on text8.
Evaluation: python eval.py configs/longformer_enwik8.py:phase5 --workdir runs/longformer_enwik8_phase5 --split test \
  --context 32256 --eval-scored 512 --eval-batch-size 1
Where we differ: bytes, where the paper has the 204 symbols that occur; windows between the lowest layer's and the highest's are not
  published: these have the average that the paper prints (229, printed as 230). Which two heads are dilated is not published: the
  first two here. A dilation of 1 in the paper's table is read as every second token. Each phase has a new optimizer.
Hardware: the paper used 4 and 8 RTX 8000 for 16 and 13 days. Measured here: not run.
"""

from efficient_attn.data import Enwik8
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Relative
from efficient_attn.nn.embedding import NoPositions
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, Constant, Schedule

HEADS, WINDOWS = 8, (32, 64, 128, 256, 512)
# Every how many tokens two heads see, by sixths of the layers.
_SPACINGS = (1, 1, 1, 2, 3, 4)
_CONTEXTS, _BATCHES = (2048, 4096, 8192, 16_384, 23_040), (32, 32, 16, 16, 16)
_STEPS = {12: (430_000, 50_000, 50_000, 35_000, 5_000), 30: (350_000, 25_000, 10_000, 5_000, 5_000)}
# Layers with each window, by depth: of the large model as near to the shares of the small one as whole layers come.
_LAYERS = {12: (2, 2, 2, 3, 3), 30: (5, 5, 5, 8, 7)}


def _patterns(depth: int, phase: int) -> tuple[str, ...]:
    """The pattern of each layer."""
    windows = [w << (phase - 1) for w, count in zip(WINDOWS, _LAYERS[depth], strict=True) for _ in range(count)]
    return tuple(_pattern(w, _SPACINGS[layer * len(_SPACINGS) // depth]) for layer, w in enumerate(windows))


def _pattern(window: int, spacing: int) -> str:
    if spacing == 1:
        return f"Causal() & Window(left={window - 1})"
    dilated, near = f"Dilated(left={window - 1}, dilation={spacing})", f"Window(left={window - 1})"
    return f"Causal() & PerHead(({', '.join([dilated] * 2 + [near] * (HEADS - 2))}))"


def _phase(number: int, depth: int = 12, name: str = "") -> Experiment:
    before = "" if number <= 2 else f"_phase{number - 1}"
    steps = _STEPS[depth][number - 1]
    rate = 2.5e-4 / 2 ** (number - 1)
    return Experiment(
        model=DecoderConfig(
            depth=depth,
            width=512,
            heads=HEADS,
            ff_width=2048,
            attention=Relative(patterns=_patterns(depth, number)),
            attention_bias=False,
            positions=NoPositions(),
            activation="gelu",
            logits="tied",
            initialization="unit",
            dropout=0.2 if depth == 12 else 0.4,
            remat="block",
            precision=Precision(compute="bfloat16"),
        ),
        source=Enwik8(path="data/enwik8"),
        context=_CONTEXTS[number - 1],
        batch_size=_BATCHES[number - 1],
        steps=steps,
        start=None if number == 1 else f"runs/longformer_enwik8{name}{before}",
        schedule=Schedule(peak=rate, warmup_steps=min(steps // 10, 10_000), decay=Constant()),
        optimizer=AdamW(weight_decay=0.01),
        clip_norm=0.25,
        checkpoint_every=5_000,
    )


CONFIG = _phase(1)
VARIANTS = {
    **{f"phase{number}": _phase(number) for number in range(2, 6)},
    "large": _phase(1, 30, "_large"),
    **{f"large_phase{number}": _phase(number, 30, "_large") for number in range(2, 6)},
}
