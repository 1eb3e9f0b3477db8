"""The product of each row with the matrix of its expert, of rows that lie in blocks.

    y_r = x_r W_e(r)        dx_r = dy_r W_e(r)^T        dW_e = sum over its rows of x_r^T dy_r

``jax.lax.ragged_dot`` is that product too, but for CPUs, GPUs and the TPUs v5e and v6e XLA makes ``E`` products of all rows of it,
most of them with zeros. On TPUs ours is the megablox kernel, elsewhere a loop over blocks that reads one matrix at a time and skips
unused blocks.

Cost: ``2 D F`` operations for each row of a used block, three times that with gradients; no memory but the results, float32
where the gradients of matrices are added up.

Reference:
  Gale, Narayanan, Young and Zaharia, "MegaBlocks: Efficient Sparse Training with Mixture-of-Experts", 2022, section 4.
"""

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.megablox.gmm import gmm, tgmm
from jaxtyping import Array, Float

from efficient_attn.ops.routing.blocks import Blocks

# Greatest sides of a matrix's tile in the kernel: two of them in float32, twice each, are an eighth of a TPU's vector memory.
_TILE = 512

Gradients = tuple[Float[Array, "rows D"], Float[Array, "E D F"]]


@jax.custom_vjp
def grouped_product(
    rows: Float[Array, "rows D"], matrices: Float[Array, "E D F"], blocks: Blocks
) -> Float[Array, "rows F"]:
    """Each row times the matrix of the expert that its block belongs to; 0 in unused blocks.

    Args:
      rows: as of ``dispatch_to_blocks``.
      matrices: of all experts, in the format of the rows.
      blocks: where the rows lie.
    """
    return jax.lax.platform_dependent(rows, matrices, blocks, tpu=product_by_kernel, default=product_by_blocks)


def _forward(
    rows: jax.Array, matrices: jax.Array, blocks: Blocks
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, Blocks]]:
    return grouped_product(rows, matrices, blocks), (rows, matrices, blocks)


def _backward(kept: tuple[jax.Array, jax.Array, Blocks], gradient: jax.Array) -> tuple[jax.Array, jax.Array, None]:
    by_rows, by_matrices = jax.lax.platform_dependent(
        *kept, gradient, tpu=gradients_by_kernel, default=gradients_by_blocks
    )
    return by_rows, by_matrices, None


grouped_product.defvjp(_forward, _backward)


def product_by_blocks(
    rows: Float[Array, "rows D"], matrices: Float[Array, "E D F"], blocks: Blocks
) -> Float[Array, "rows F"]:
    """The product, a block at a time."""
    split = _split(rows, blocks)
    zeros = jnp.zeros((split.shape[1], matrices.shape[2]), rows.dtype)

    def visit(_: None, block: tuple[jax.Array, ...]) -> tuple[None, jax.Array]:
        used, expert, x = block
        return None, jax.lax.cond(used, lambda: x @ matrices[expert], lambda: zeros)

    return jax.lax.scan(visit, None, (_used(blocks), blocks.expert, split))[1].reshape(rows.shape[0], -1)


def gradients_by_blocks(
    rows: Float[Array, "rows D"], matrices: Float[Array, "E D F"], blocks: Blocks, gradient: Float[Array, "rows F"]
) -> Gradients:
    """The gradients by the rows and by the matrices, a block at a time."""
    split = _split(rows, blocks), _split(gradient, blocks)
    zeros = jnp.zeros(split[0].shape[1:], rows.dtype)

    def visit(total: jax.Array, block: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        used, expert, x, dy = block

        def add(total: jax.Array) -> tuple[jax.Array, jax.Array]:
            own = jnp.einsum("cd,cf->df", x, dy, preferred_element_type=jnp.float32)
            return total.at[expert].add(own), jnp.einsum("cf,df->cd", dy, matrices[expert])

        return jax.lax.cond(used, add, lambda total: (total, zeros), total)

    nothing = jnp.zeros(matrices.shape, jnp.float32)
    by_matrices, by_rows = jax.lax.scan(visit, nothing, (_used(blocks), blocks.expert, *split))
    return by_rows.reshape(rows.shape), by_matrices.astype(matrices.dtype)


def _split(rows: Float[Array, "rows D"], blocks: Blocks) -> Float[Array, "blocks C D"]:
    return rows.reshape(blocks.expert.size, -1, rows.shape[1])


def _used(blocks: Blocks) -> jax.Array:
    """Which blocks hold a row."""
    return jnp.arange(blocks.expert.size) < blocks.counts.sum()


def product_by_kernel(
    rows: Float[Array, "rows D"], matrices: Float[Array, "E D F"], blocks: Blocks, interpret: bool = False
) -> Float[Array, "rows F"]:
    """The product by a kernel for TPUs; ``interpret`` runs it, slowly, elsewhere."""
    sizes, tiling = _tiles(rows, blocks)
    return _known(gmm(rows, matrices, sizes, rows.dtype, tiling, interpret=interpret), blocks)


def gradients_by_kernel(
    rows: Float[Array, "rows D"],
    matrices: Float[Array, "E D F"],
    blocks: Blocks,
    gradient: Float[Array, "rows F"],
    interpret: bool = False,
) -> Gradients:
    """The gradients by the rows and by the matrices, by kernels for TPUs."""
    sizes, tiling = _tiles(rows, blocks)
    by_rows = gmm(gradient, matrices, sizes, rows.dtype, tiling, transpose_rhs=True, interpret=interpret)
    by_matrices = tgmm(rows.T, gradient, sizes, matrices.dtype, tiling, interpret=interpret)
    return _known(by_rows, blocks), by_matrices


def _tiles(rows: jax.Array, blocks: Blocks) -> tuple[jax.Array, tuple[int, int, int]]:
    """The rows of each expert, whole blocks of them, and the sides of tiles."""
    size = rows.shape[0] // blocks.expert.size
    return blocks.counts * size, (size, _TILE, _TILE)


def _known(rows: jax.Array, blocks: Blocks) -> jax.Array:
    """Rows of which those of unused blocks, which the kernel does not write, are 0."""
    used = jnp.repeat(_used(blocks), rows.shape[0] // blocks.expert.size)
    return jnp.where(used[:, None], rows, 0)
