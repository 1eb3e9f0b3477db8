"""The loops that write with a model."""

from efficient_attn.decoding.beam_search import BeamOptions as BeamOptions
from efficient_attn.decoding.beam_search import Hypotheses as Hypotheses
from efficient_attn.decoding.beam_search import beam_search as beam_search
from efficient_attn.decoding.sampling import SamplingOptions as SamplingOptions
from efficient_attn.decoding.sampling import sample as sample
from efficient_attn.decoding.target_sampling import greedy as greedy
from efficient_attn.decoding.target_sampling import sample_targets as sample_targets
