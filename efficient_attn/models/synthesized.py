"""An encoder-decoder whose self-attentions are synthesized, as the rows of the Synthesizer's tables have it.

Reference:
  Tay et al., "Synthesizer: Rethinking Self-Attention in Transformer Models", 2020, section 4.
"""

import dataclasses

from efficient_attn.models.seq2seq_config import Seq2SeqConfig
from efficient_attn.nn.mechanisms import Synthesizer
from efficient_attn.nn.synthesizer_attention import Kind


def synthesized(config: Seq2SeqConfig, *scores: Kind) -> Seq2SeqConfig:
    """The same model with these scores in both self-attentions, causally in the decoder; cross-attention is as it was."""
    encoder = Synthesizer(patterns=("Full()",), scores=scores, length=config.longest)
    decoder = dataclasses.replace(encoder, patterns=("Causal()",))
    return dataclasses.replace(config, encoder_attention=encoder, decoder_attention=decoder)
