"""Self-attention among tokens that a hash of their queries brings together."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.nn.attention import Attention, linear
from efficient_attn.nn.cache import HashedCache, empty_hashed_cache
from efficient_attn.nn.given import Given
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops import lsh
from efficient_attn.ops.positions import rotate
from efficient_attn.patterns.algebra import Full, Pattern
from efficient_attn.patterns.local import Causal
from efficient_attn.precision import Precision
from efficient_attn.sharding import HEADS, check_over_heads, on_mesh, over_heads


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hashing:
    """How tokens are brought together."""

    chunk: int = 64
    """Tokens per chunk of the sorted order; a text that is no longer is attended to densely."""
    buckets: tuple[int, ...] | None = None
    """Even factors of the number of buckets; None: about ``2 * length / chunk``, in two factors above ``most_buckets``."""
    most_buckets: int = 128
    """Greatest number of buckets that is chosen as one factor."""
    rounds: int = 1
    """Hashes that a token is sorted by, one after the other."""
    evaluation_rounds: int | None = None
    """The same in evaluation and decoding; None: ``rounds``."""
    look_back: int = 1
    """Chunks seen before the own one."""
    look_ahead: int = 0
    """Chunks seen after it."""
    seed: int = 0
    """Of the rotations in evaluation and decoding. All layers have the same, as released code does with a fixed seed."""

    def __post_init__(self):
        for name, least in (("chunk", 1), ("rounds", 1), ("look_back", 0), ("look_ahead", 0), ("most_buckets", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.evaluation_rounds is not None and self.evaluation_rounds < 1:
            raise ValueError(f"evaluation_rounds must be at least 1, got {self.evaluation_rounds}")
        if self.buckets is not None and (not self.buckets or any(b < 2 or b % 2 for b in self.buckets)):
            raise ValueError(f"buckets must be even numbers of at least 2, got {self.buckets}")

    def factors(self, tokens: int) -> tuple[int, ...]:
        """The factors of the number of buckets for a text of this length."""
        return lsh.bucket_factors(tokens, self.chunk, self.most_buckets) if self.buckets is None else self.buckets


class LSHAttention(Attention):
    """Queries, whose directions are the keys, and values by projection; LSH attention; and a projection back.

    Args:
      width: size of the residual stream.
      heads: query heads.
      key_heads: as many.
      qk_width: size of all query heads together.
      init: standard deviations.
      precision: formats.
      hashing: how tokens are brought together.
      rotary: base of rotary positions, or None. Queries are hashed before they are rotated: content decides.
      value_width: size of all value heads together; None: ``width``.
      bias: whether the projections add one.
      rngs: randomness of the initial parameters.

    Raises:
      ValueError: if there are fewer key heads than query heads.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        key_heads: int,
        qk_width: int,
        init: Initialization,
        precision: Precision,
        *,
        hashing: Hashing,
        rotary: float | None = None,
        value_width: int | None = None,
        bias: bool = True,
        rngs: nnx.Rngs,
    ):
        if key_heads != heads:
            raise ValueError(
                f"in LSH attention a query is its own key: key_heads must be heads={heads}, got {key_heads}"
            )
        self.heads, self.key_heads, self.hashing, self.rotary = heads, key_heads, hashing, rotary
        value_width = width if value_width is None else value_width
        self.sizes = (qk_width // heads, value_width // heads)
        project = linear(precision, bias, rngs)
        self.query_key = project(width, qk_width, kernel_init=init.weight(width))
        self.value = project(width, value_width, kernel_init=init.weight(width))
        self.output = project(value_width, width, kernel_init=init.residual(value_width))

    def __call__(
        self, x: Float[Array, "B T D"], pattern: Pattern, key_mask: Bool[Array, "B T"] | None = None
    ) -> Float[Array, "B T D"]:
        """Attention among the tokens of ``x``, with the rotations of evaluation."""
        return self.recalled(x, pattern, None, Given(key_mask=key_mask), None)[0]

    def recalled(
        self,
        x: Float[Array, "B T D"],
        pattern: Pattern,
        key: jax.Array | None,
        given: Given,
        memo: Int[Array, "B T N rounds"] | None,
    ) -> tuple[Float[Array, "B T D"], Int[Array, "B T N rounds"]]:
        """``__call__`` with rotations drawn from ``key``, or from the seed if it is None; and the buckets as ``memo``.

        Raises:
          ValueError: if the pattern is neither ``Causal()`` nor ``Full()``.
        """
        if not isinstance(pattern, Causal | Full):
            raise ValueError(f"LSH attention is over Causal() or Full(), got {pattern}")
        hashed, query_key, value = self._project(x, jnp.arange(x.shape[1], dtype=jnp.int32))
        if x.shape[1] <= self.hashing.chunk:
            # One chunk holds everything: any number of rounds is one round of dense attention.
            buckets = jnp.zeros((*hashed.shape[:3], 1), jnp.int32) if memo is None else memo
        else:
            buckets = self._buckets(hashed, key, given) if memo is None else memo
        mixed = self._mix(query_key, value, buckets, isinstance(pattern, Causal), given)
        return self._back(mixed), buckets

    def empty_cache(self, batch: int, slots: int) -> HashedCache:
        """A cache without a token."""
        rounds, dtype = self._rounds(None), self.query_key.dtype
        return empty_hashed_cache(slots, batch, self.heads, self.sizes, rounds, dtype)

    def step(
        self,
        x: Float[Array, "B 1 D"],
        pattern: Pattern,
        cache: HashedCache,
        position: Int[Array, ""],
        slot: Int[Array, ""],
    ) -> tuple[Float[Array, "B 1 D"], HashedCache]:
        """One token at ``position`` over the tokens before it: the last row of ``__call__`` on those tokens."""
        hashed, query_key, value = self._project(x, position[None])
        rotations = self._rotations(None, cache.query_key.shape[-2])
        cache = cache.write(slot, query_key, value, lsh.hash_vectors(hashed, rotations))
        seen = cache.seen()
        looks = {"look_back": self.hashing.look_back, "look_ahead": self.hashing.look_ahead}
        mixed = lsh.attend_last(
            seen.query_key, seen.value, seen.buckets, position, chunk=self.hashing.chunk, **looks
        ).astype(value.dtype)
        return self._back(mixed), cache

    def _project(self, x: jax.Array, positions: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Vectors to hash, queries and values."""
        hashed = self.query_key(x).reshape(*x.shape[:2], self.heads, self.sizes[0])
        value = self.value(x).reshape(*x.shape[:2], self.heads, self.sizes[1])
        return hashed, hashed if self.rotary is None else rotate(hashed, positions, self.rotary), value

    def _buckets(self, hashed: jax.Array, key: jax.Array | None, given: Given) -> jax.Array:
        """The buckets of each device's own tokens and heads."""
        rotations = self._rotations(key, hashed.shape[1]) if given.rotations is None else given.rotations
        hashing = lsh.hash_vectors
        if (own := on_mesh(HEADS)) is not None:
            check_over_heads(hashed.shape)
            hashing = jax.shard_map(hashing, in_specs=(own, jax.P(own[2])), out_specs=own, check_vma=False)
        return hashing(jax.lax.stop_gradient(hashed), rotations)

    def _rotations(self, key: jax.Array | None, tokens: int) -> lsh.Rotations:
        rounds = self._rounds(key)
        key = jax.random.key(self.hashing.seed) if key is None else key
        return lsh.draw_rotations(key, self.heads, self.sizes[0], rounds, self.hashing.factors(tokens))

    def _rounds(self, key: jax.Array | None) -> int:
        evaluated = self.hashing.evaluation_rounds
        return self.hashing.rounds if key is not None or evaluated is None else evaluated

    def _mix(
        self, query_key: jax.Array, value: jax.Array, buckets: jax.Array, causal: bool, given: Given
    ) -> Float[Array, "B T N H"]:
        """LSH attention on every device's own batch rows and heads: no token of one row or head meets another's.

        A sort takes whole sequences: where the mesh shards them, each device has them of its share of the heads.
        """
        tokens = query_key.shape[1]
        short = tokens <= self.hashing.chunk
        drawn = math.prod(self.hashing.factors(tokens))
        run = functools.partial(
            lsh.lsh_attention,
            rotations=None,
            bucket_count=drawn if given.rotations is None else lsh.count_buckets(given.rotations),
            chunk=tokens if short else self.hashing.chunk,
            look_back=0 if short else self.hashing.look_back,
            look_ahead=0 if short else self.hashing.look_ahead,
            causal=causal,
        )
        call = lambda q, v, b, m=None: run(q, v, buckets=b, key_mask=m)  # noqa: E731
        return over_heads(call, query_key, value, buckets, rows=() if given.key_mask is None else (given.key_mask,))
