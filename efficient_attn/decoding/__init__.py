"""The loops that write with a model."""

from efficient_attn.decoding.sampling import SamplingOptions as SamplingOptions
from efficient_attn.decoding.sampling import sample as sample
