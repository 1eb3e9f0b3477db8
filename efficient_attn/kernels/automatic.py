"""The implementation that ``attend`` takes when none is named: the fastest that the device can run."""

import jax

from efficient_attn.kernels.heads import for_each_pattern
from efficient_attn.kernels.layouts import in_layouts
from efficient_attn.kernels.pallas_gpu import attend_pallas_gpu
from efficient_attn.kernels.pallas_tpu import attend_pallas_tpu, why_not
from efficient_attn.kernels.problem import Problem, Settings
from efficient_attn.kernels.xla import attend_xla

with_xla = for_each_pattern(in_layouts(attend_xla))
on_tpu = in_layouts(attend_pallas_tpu)
on_gpu = for_each_pattern(in_layouts(attend_pallas_gpu))


def attend_automatic(settings: Settings, problem: Problem) -> tuple[jax.Array, jax.Array]:
    """Output ``[B, T, K, G, Hv]`` in the value's format and log-sum-exp ``[B, T, K, G]`` in float32.

    The device is that of the current mesh, or else the one the program is compiled for, which is known when it is lowered: not
    the default backend, which is a CPU while a program for a TPU is compiled ahead of time.
    """
    mesh = jax.sharding.get_abstract_mesh()
    device = None if mesh.empty else mesh.abstract_device
    if why_not(problem) is not None or (device is not None and device.platform != "tpu"):
        return with_xla(settings, problem)
    return jax.lax.platform_dependent(
        problem, tpu=lambda p: on_tpu(settings, p), default=lambda p: with_xla(settings, p)
    )
