"""What hashes and routers choose, noted for comparison, or given in place of their choices."""

import contextlib
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from efficient_attn.nn.lsh_attention import LSHAttention
from efficient_attn.nn.moe import MoE
from efficient_attn.ops import routing


def scattered(shape: tuple[int, ...], most: int) -> jax.Array:
    """Numbers below ``most`` that depend on nothing but their place."""
    place = jnp.arange(np.prod(shape), dtype=jnp.uint32).reshape(shape)
    return ((place * np.uint32(2654435761) >> 7) % most).astype(jnp.int32)


def hashes_given(self, hashed, key, given):
    rounds = self._rotations(key, hashed.shape[1])[0].shape[2]
    return scattered((*hashed.shape[:3], rounds), int(np.prod(self.hashing.factors(hashed.shape[1]))))


def experts_given(self, logits, valid, drawn):
    number, gates = self.experts.number, jax.nn.softmax(logits)
    first = scattered(logits.shape[:2], number)
    expert = jnp.stack([first, (first + 1 + scattered(logits.shape[:2], number - 1)) % number], -1)
    gate = jnp.take_along_axis(gates, expert, -1)
    balance = jnp.mean(jnp.take_along_axis(gates, expert[..., :1], -1), (1, 2))
    wanted = jnp.broadcast_to(valid[..., None], expert.shape)
    return routing.Choices(expert, gate / gate.sum(-1, keepdims=True), wanted, balance)


@contextlib.contextmanager
def watched(given: bool, seen: list[np.ndarray]):
    """What hashes and routers choose goes to ``seen``; where it is ``given``, it is not theirs to choose."""
    hashes = hashes_given if given else LSHAttention._buckets
    experts = experts_given if given else MoE._choose
    note = lambda x: jax.debug.callback(lambda x: seen.append(np.asarray(x)), x)  # noqa: E731

    def hash_noted(*arguments):
        note(buckets := hashes(*arguments))
        return buckets

    def expert_noted(*arguments):
        choices = experts(*arguments)
        note(jnp.where(choices.wanted, choices.expert, -1))
        return choices

    with mock.patch.object(LSHAttention, "_buckets", hash_noted), mock.patch.object(MoE, "_choose", expert_noted):
        yield
