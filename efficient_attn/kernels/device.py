"""What a program is compiled for. That is known when it is lowered, so that is when a kernel for another machine is refused."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

Kind = Literal["tpu", "gpu"]
_compiled_for = Primitive("compiled_for")
_compiled_for.def_abstract_eval(lambda x, *, kind: x)
batching.primitive_batchers[_compiled_for] = lambda args, axes, *, kind: (
    _compiled_for.bind(*args, kind=kind),
    axes[0],
)


def _refuse(context: mlir.LoweringRuleContext, x: object, *, kind: Kind) -> list:
    platforms = ", ".join(context.module_context.platforms)
    raise NotImplementedError(
        f"implementation 'pallas_{kind}' runs on {kind.upper()}s, and this program is compiled for {platforms}; 'xla' runs "
        "everywhere, and under jax.experimental.pallas.tpu.force_tpu_interpret_mode() the kernel is interpreted, slowly"
    )


mlir.register_lowering(_compiled_for, _refuse)
for _platform, _kind in (("tpu", "tpu"), ("cuda", "gpu")):

    def _pass(context, x, *, kind, own=_kind):
        return [x] if kind == own else _refuse(context, x, kind=kind)

    mlir.register_lowering(_compiled_for, _pass, platform=_platform)


def compiled_for(kind: Kind, x: jax.Array) -> jax.Array:
    """``x``, in a program that cannot be compiled for another kind of device, unless Pallas interprets its kernels now.

    Raises:
      NotImplementedError: when the program is compiled for something else.
    """
    return x if _interpreted() else _compiled_for.bind(x, kind=kind)


def _interpreted() -> bool:
    """Whether Pallas interprets kernels. It keeps that mode to itself, but writes it into every kernel it traces."""
    empty = pl.pallas_call(lambda ref: None, out_shape=jax.ShapeDtypeStruct((8, 128), jnp.float32), name="empty")
    return any(equation.params.get("interpret") for equation in jax.make_jaxpr(empty)().eqns)
