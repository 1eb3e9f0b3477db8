"""JAX's splash attention and tokamax's, which grew out of it, measured as ``bench/kernels.py`` says."""

import dataclasses
import functools
import importlib
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from efficient_attn.bench.kernels import BLOCK, Kernel, Work
from efficient_attn.patterns import Pattern
from efficient_attn.patterns.expression import parse

# Blocks along the side of the mask whose lists are given the shapes of a longer one's.
_FEW = 4


@dataclasses.dataclass(frozen=True)
class Package:
    """Where kernels of the family are."""

    path: str
    """Of the folder with its three modules."""

    def module(self, name: str) -> ModuleType:
        """One of ``kernel``, ``mask`` and ``mask_info``."""
        return importlib.import_module(f"{self.path}.splash_attention_{name}")

    def mask(self, pattern: Pattern, length: int) -> Any:
        """A pattern as a mask that the kernel computes."""
        return _mask_class(self.module("mask")._ComputableMask)(pattern, length)


@functools.cache
def _mask_class(base: type) -> type:
    class PatternMask(base):
        def __init__(self, pattern: Pattern, length: int):
            super().__init__((length, length), pattern.allows)
            self.pattern = pattern

        def __eq__(self, other: object) -> bool:
            return isinstance(other, PatternMask) and (self.pattern, self.shape) == (other.pattern, other.shape)

        def __hash__(self) -> int:
            return hash((self.pattern, self.shape))

    return PatternMask


def _worked(process: Any, mask: Any, heads: int, length: int) -> Work:
    start = time.process_time()
    info, _ = process(mask, (BLOCK, BLOCK))
    seconds = time.process_time() - start
    kinds = np.asarray(info.block_mask)
    # One list for all heads, or one that leads with them.
    times = heads if kinds.ndim == 1 else heads // kinds.shape[0]
    live = int(np.count_nonzero(kinds)) * times
    return Work(seconds=seconds, steps=kinds.size * times, live=live, blocks=(length // BLOCK) ** 2 * heads)


def _lengthened(kernel: Any, sizes: dict[int, int]) -> Any:
    """The shapes of a kernel's lists with other sizes, of the numbers that those need."""

    def shape(x: Any) -> jax.ShapeDtypeStruct:
        kind = jnp.int16 if x.dtype == jnp.int8 else x.dtype
        return jax.ShapeDtypeStruct(tuple(sizes.get(n, n) for n in x.shape), kind)

    return jax.tree.map(shape, kernel)


class Splash:
    """The kernels that come with JAX; the backward pass in two kernels, as ours."""

    name = "splash attention"
    package = Package("jax.experimental.pallas.ops.tpu.splash_attention")

    def work(self, heads: Sequence[Pattern], length: int) -> Work:
        """Of one pattern a head, in blocks of ``BLOCK``."""
        mask = self.package.module("mask").MultiHeadMask([self.package.mask(x, length) for x in heads])
        return _worked(self.package.module("mask_info").process_mask, mask, len(heads), length)

    def kernel(self, pattern: Pattern, length: int, heads: int, block: int) -> Kernel:
        """Attention of ``heads`` of one pattern in the kernel's own layout; scores are not scaled."""
        kernels = self.package.module("kernel")
        sides = ("q", "kv", "q_dkv", "kv_dkv", "q_dq", "kv_dq")
        sizes = kernels.BlockSizes(**{f"block_{side}": block for side in sides})
        mask = self.package.module("mask").MultiHeadMask([self.package.mask(pattern, length)] * heads)
        return kernels.make_splash_mha_single_device(mask, block_sizes=sizes)

    def causal(self, length: int) -> Kernel:
        """The shape of a causal kernel of one head: its lists would take hours to build."""
        kernel = self.kernel(parse("Causal()"), _FEW * BLOCK, 1, BLOCK)
        return _lengthened(kernel, {_FEW: length // BLOCK, _FEW * BLOCK: length})


class Tokamax:
    """The kernels of tokamax; the backward pass in one kernel, its default."""

    name = "tokamax"
    package = Package("tokamax._src.ops.experimental.tpu.splash_attention")

    def work(self, heads: Sequence[Pattern], length: int) -> Work | str:
        """Of one pattern a head, in blocks of ``BLOCK``; it takes one for all heads."""
        if len(set(heads)) > 1:
            return "one mask for all heads"
        process = self.package.module("mask_info").process_mask
        return _worked(process, self.package.mask(heads[0], length), len(heads), length)

    def kernel(self, pattern: Pattern, length: int, heads: int, block: int) -> Kernel:
        """Attention of ``heads`` of one pattern in the kernel's own layout; scores are not scaled."""
        kernels = self.package.module("kernel")
        config = kernels.SplashConfig(**{f"block_{side}": block for side in ("q", "kv", "q_dkv", "kv_dkv")})
        return kernels.make_splash_mha_single_device(self.package.mask(pattern, length), config=config)

    def causal(self, length: int) -> Kernel:
        """The shape of a causal kernel of one head: its lists would take hours to build."""
        kernel, many = self.kernel(parse("Causal()"), _FEW * BLOCK, 1, BLOCK), length // BLOCK
        # Forward it lists the live blocks, backward all blocks.
        sides = {_FEW * (_FEW + 1) // 2: many * (many + 1) // 2, _FEW**2: many**2}
        return _lengthened(kernel, {**sides, _FEW * BLOCK: length})
