"""Image GPT as it is read by a classifier: what a decoder makes of an image, and classes of it; and as it tells masked pixels.

References:
  Chen, Radford, Child, Wu, Jun, Luan, Sutskever, "Generative Pretraining from Pixels", 2020, sections 2.3, 2.4 and 4.6.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.models.decoder import Decoder
from efficient_attn.models.decoder_config import DecoderConfig
from efficient_attn.models.functional import Functional
from efficient_attn.nn.block import Block
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.sparse import Sparse
from efficient_attn.patterns.local import looks_ahead


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageReaderConfig:
    """Sizes and choices of an ImageReader."""

    decoder: DecoderConfig
    """With ``logits="tied"`` it has no parameters for logits of tokens; a classifier that goes on to learn images has some."""
    labels: int | None = None
    """Classes; None: the features of the last norm are the result."""

    def __post_init__(self):
        expected = {
            "norm": "pre",
            "slot_positions": "predicted",
            "residual": "plain",
            "experts": None,
        }
        found = {name: getattr(self.decoder, name) for name in expected}
        if found != expected:
            raise ValueError(f"the decoder of an ImageReader has {expected}, got {found}")
        if self.labels is not None and self.labels < 1:
            raise ValueError(f"labels must be at least 1, or None; got {self.labels}")


class ImageReader(nnx.Module):
    """Features of each pixel, or logits of classes from their mean.

    Its inputs are those of the slots themselves, which ``Decoder`` makes of its tokens by a shift: the number ``decoder.vocab``
    is the start. ``started(tokens)`` gives what a model that was trained to predict images reads; checkpoints that were tuned by
    ``transformers`` commonly read the pixels as they are.
    """

    def __init__(self, config: ImageReaderConfig, *, key: jax.Array):
        self.config = config
        self.decoder = Decoder(config.decoder, key=key)
        # Zero, as in released code: all classes are as likely at first.
        zero = nnx.initializers.zeros
        self.score = (
            None
            if config.labels is None
            else nnx.Linear(config.decoder.width, config.labels, use_bias=False, kernel_init=zero, rngs=nnx.Rngs(0))
        )

    def __call__(
        self, inputs: Int[Array, "B T"], key: jax.Array | None = None
    ) -> Float[Array, "B T D"] | Float[Array, "B labels"]:
        """What the config says; ``key`` None is without dropout.

        Raises:
          ValueError: if there are more inputs than positions.
        """
        x = self.decoder.final_norm(self._stream(inputs, key))
        return x if self.score is None else self.score(jnp.mean(x, axis=1))

    def both(
        self, inputs: Int[Array, "B T"], key: jax.Array | None = None
    ) -> tuple[Float[Array, "B T V"], Float[Array, "B labels"]]:
        """Logits of the tokens that the slots predict, and of the classes; arguments as in ``__call__``."""
        x = self._stream(inputs, key)
        return self.decoder.logits(x), self.score(jnp.mean(self.decoder.final_norm(x), axis=1))

    def _stream(self, inputs: Int[Array, "B T"], key: jax.Array | None) -> Float[Array, "B T D"]:
        config = self.config.decoder
        config.check_context(inputs.shape[1])
        keys = (None, None) if key is None else jax.random.split(key)
        x = drop(self.decoder.embedding.unshifted(inputs), config.dropout, keys[0])
        return self.decoder.stack(x, config.dropout, keys[1])


def without_token_logits(reader: ImageReader) -> ImageReader:
    """The same reader without its parameters for logits of tokens, as ``save_pretrained`` writes classifiers."""
    decoder = dataclasses.replace(reader.config.decoder, logits="tied")
    config = dataclasses.replace(reader.config, decoder=decoder)
    params = nnx.to_pure_dict(nnx.split(reader)[1])
    params["decoder"]["embedding"].pop("head", None)
    return Functional(lambda key: ImageReader(config, key=key)).module(params)


def started(tokens: Int[Array, "B T"], vocab: int) -> Int[Array, "B T"]:
    """The inputs of the slots that predict ``tokens``: the start, and all tokens but the last."""
    start = jnp.full((tokens.shape[0], 1), vocab, tokens.dtype)
    return jnp.concatenate([start, tokens[:, :-1]], axis=1)


def probe_features(decoder: Decoder, tokens: Int[Array, "B T"]) -> Float[Array, "L B D"]:
    """What a linear probe sees: of each block its normed input, and of the last one its normed output, averaged over pixels.

    The best are those of a block in the middle.

    Args:
      decoder: with norms before the sublayers, which are in turn.
      tokens: the images; the shift to the right happens here.

    Returns:
      Rows for ``depth`` blocks and the last norm.

    Raises:
      ValueError: for another kind of decoder, or too many tokens.
    """
    check_probed(decoder.config, tokens.shape[1])
    return _features(decoder, decoder.embedding.shifted(tokens))


def masked_probe_features(decoder: Decoder, inputs: Int[Array, "B T"]) -> Float[Array, "L B D"]:
    """``probe_features`` of a decoder that tells masked pixels, from inputs as of ``masked_logits``."""
    check_probed(decoder.config, inputs.shape[1])
    return _features(decoder, decoder.embedding.unshifted(inputs))


def check_probed(config: DecoderConfig, context: int) -> None:
    """A ValueError where there are no features for a probe."""
    if (config.norm, config.order, config.residual, config.experts) != ("pre", None, "plain", None):
        raise ValueError(f"probes read plain blocks with norms before their sublayers, got {config}")
    config.check_context(context)


def _features(decoder: Decoder, x: Float[Array, "B T D"]) -> Float[Array, "L B D"]:
    def noted(block: Block, pattern, state, key):
        x, number, features = state
        mean = jnp.mean(block.attention_norm(x), axis=1, dtype=jnp.float32)
        return block(x, pattern, 0.0, key), number + 1, features.at[number].set(mean)

    features = jnp.zeros((decoder.config.depth, x.shape[0], decoder.config.width), jnp.float32)
    x, _, features = decoder.stack.run((x, jnp.int32(0), features), None, noted)
    return jnp.concatenate([features, jnp.mean(decoder.final_norm(x), axis=1)[None]])


def masked_logits(decoder: Decoder, inputs: Int[Array, "B T"], key: jax.Array | None = None) -> Float[Array, "B T V"]:
    """Logits of every pixel from all that are shown, float32: no shift, and no start.

    Args:
      decoder: with patterns that see what comes after; see ``check_masked``.
      inputs: the image, in which ``vocab + 1`` stands for what is not shown.
      key: randomness of the dropout; None is without.
    """
    config = decoder.config
    config.check_context(inputs.shape[1])
    keys = (None, None) if key is None else jax.random.split(key)
    x = drop(decoder.embedding.unshifted(inputs), config.dropout, keys[0])
    return decoder.logits(decoder.stack(x, config.dropout, keys[1]))


def check_masked(config: DecoderConfig, context: int) -> None:
    """A ValueError where a decoder cannot tell masked pixels: it sees only those before, or has a start in place of the first."""
    if not isinstance(config.attention, Sparse) or config.experts is not None:
        raise ValueError(f"masked pixels are told by attention over patterns, without experts; got {config.attention}")
    if config.slot_positions != "predicted":
        raise ValueError(
            f"masked pixels have their own positions: slot_positions='predicted', got {config.slot_positions!r}"
        )
    if not any(looks_ahead(pattern, context) for pattern in config.attention.parsed()):
        raise ValueError(
            f"masked pixels are told from those after them too, as by Full(); got {config.attention.patterns}"
        )
