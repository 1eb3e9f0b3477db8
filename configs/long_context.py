"""Bytes of enwik8 in contexts of 131,072 and 1,048,576, the sequence over the chips of a pod slice: five attentions, one decoder.

Command: python train.py configs/long_context.py --workdir runs/long_context --mesh.sequence 16
  That is a window over 131,072 bytes; configs/long_context.py:dense, :strided, :fixed and :lsh are the others, and :window_1m,
  :dense_1m and so on the same over 1,048,576. lsh takes 16 devices along the sequence at most, one for each head.
Planning: python -m efficient_attn plan configs/long_context.py:lsh_1m --topology v5e:4x4 --mesh.sequence 16
Hardware: 16 chips of v5e; strided_1m needs v5p. Measured here: what a step needs, by the compiler (docs/measurements.md, "A million
  tokens over sixteen chips"). Not run: no loss is known.
"""

import dataclasses

from efficient_attn.data import Enwik8
from efficient_attn.experiment import Experiment
from efficient_attn.models import LSH, DecoderConfig, Sparse
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, InverseSquareRoot, Schedule

# The width of the Reformer's model of images at twice its depth; heads of 64, as many as chips.
_MODEL = DecoderConfig(
    depth=12,
    width=1024,
    heads=16,
    remat="block",
    ff_stretch=8192,
    logits_stretch=8192,
    initialization="unit",
    precision=Precision(compute="bfloat16"),
)
_HASHED = dataclasses.replace(
    _MODEL, remat="none", residual="reversible", logits="untied", attention=LSH(chunk=128, rounds=2)
)
_STEM = Experiment(
    model=_MODEL,
    source=Enwik8(path="data/enwik8"),
    context=131_072,
    batch_size=1,
    steps=20_000,
    schedule=Schedule(peak=2.5e-4, warmup_steps=2_000, decay=InverseSquareRoot()),
    optimizer=AdamW(b2=0.98, weight_decay=0.01),
    eval_batch_size=1,
)


def _models(stride: int) -> dict[str, DecoderConfig]:
    """Each attention; the stride of the factorized ones is near the square root of the length, as published."""
    patterns = {
        "dense": "Causal()",
        "window": "Causal() & Window(left=511)",
        "strided": f"Causal() & (Window(left={stride - 1}) | Strided({stride}))",
        "fixed": f"Causal() & Fixed(stride={stride}, summary=32)",
    }
    sparse = {n: dataclasses.replace(_MODEL, attention=Sparse(patterns=(p,))) for n, p in patterns.items()}
    return {**sparse, "lsh": _HASHED}


def _over(context: int, stride: int) -> dict[str, Experiment]:
    return {name: dataclasses.replace(_STEM, model=model, context=context) for name, model in _models(stride).items()}


_SHORT = _over(131_072, 512)
CONFIG = _SHORT.pop("window")
VARIANTS = _SHORT | {f"{name}_1m": config for name, config in _over(1_048_576, 1024).items()}
