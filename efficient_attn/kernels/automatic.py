"""The implementation that ``attend`` takes when none is named: the fastest that the device can run."""

import functools
from collections.abc import Mapping
from types import MappingProxyType

import jax

from efficient_attn.kernels import pallas_gpu, pallas_tpu
from efficient_attn.kernels.heads import for_each_pattern
from efficient_attn.kernels.layouts import in_layouts
from efficient_attn.kernels.problem import Problem, Settings
from efficient_attn.kernels.xla import attend_xla

with_xla = for_each_pattern(in_layouts(attend_xla))
on_tpu = in_layouts(pallas_tpu.attend_pallas_tpu)
on_gpu = for_each_pattern(in_layouts(pallas_gpu.attend_pallas_gpu))

# By the platform that a program is lowered for: its kernels, and what they cannot do.
_KERNELS = MappingProxyType({"tpu": (on_tpu, pallas_tpu.why_not), "cuda": (on_gpu, pallas_gpu.why_not)})

# A device says what it is made by, and a program what it is lowered for.
_PLATFORM_OF: Mapping[str, str] = MappingProxyType({"gpu": "cuda"})


def attend_automatic(settings: Settings, problem: Problem) -> tuple[jax.Array, jax.Array]:
    """Output ``[B, T, K, G, Hv]`` in the value's format and log-sum-exp ``[B, T, K, G]`` in float32.

    The device is that of the current mesh, or else the one the program is compiled for, which is known when it is lowered: not
    the default backend, which is a CPU while a program for a TPU is compiled ahead of time.
    """
    mesh = jax.sharding.get_abstract_mesh()
    device = None if mesh.empty else mesh.abstract_device
    able = {name: functools.partial(run, settings) for name, (run, why_not) in _KERNELS.items() if not why_not(problem)}
    if pallas_gpu.too_old():
        able.pop("cuda", None)
    if device is not None:
        able = {name: run for name, run in able.items() if name == _PLATFORM_OF.get(device.platform, device.platform)}
    if not able:
        return with_xla(settings, problem)
    return jax.lax.platform_dependent(problem, **able, default=functools.partial(with_xla, settings))
