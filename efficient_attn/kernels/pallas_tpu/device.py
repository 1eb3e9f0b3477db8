"""What a program is compiled for. That is known when it is lowered, so that is when a kernel for another machine is refused."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

_on_tpu = Primitive("require_tpu")
_on_tpu.def_abstract_eval(lambda x: x)
batching.primitive_batchers[_on_tpu] = lambda args, axes: (_on_tpu.bind(*args), axes[0])


def _refuse(context: mlir.LoweringRuleContext, x: object) -> list:
    platforms = ", ".join(context.module_context.platforms)
    raise NotImplementedError(
        f"implementation 'pallas_tpu' runs on TPUs, and this program is compiled for {platforms}; 'xla' runs everywhere, and "
        "under jax.experimental.pallas.tpu.force_tpu_interpret_mode() the kernel is interpreted, slowly"
    )


mlir.register_lowering(_on_tpu, _refuse)
mlir.register_lowering(_on_tpu, lambda context, x: [x], platform="tpu")


def require_tpu(x: jax.Array) -> jax.Array:
    """``x``, in a program that cannot be compiled for anything but a TPU, unless Pallas interprets its TPU kernels now.

    Raises:
      NotImplementedError: when the program is compiled for something else.
    """
    return x if _interpreted() else _on_tpu.bind(x)


def _interpreted() -> bool:
    """Whether TPU kernels are interpreted. Pallas keeps that mode to itself, but writes it into every kernel it traces."""
    empty = pl.pallas_call(lambda ref: None, out_shape=jax.ShapeDtypeStruct((8, 128), jnp.float32), name="empty")
    return any(equation.params.get("interpret") for equation in jax.make_jaxpr(empty)().eqns)
