"""LSH attention: hashing, attention among tokens of near buckets, and one token of it over a cache."""

from efficient_attn.ops.lsh.attention import lsh_attention as lsh_attention
from efficient_attn.ops.lsh.decoding import attend_last as attend_last
from efficient_attn.ops.lsh.hashing import Rotations as Rotations
from efficient_attn.ops.lsh.hashing import bucket_factors as bucket_factors
from efficient_attn.ops.lsh.hashing import count_buckets as count_buckets
from efficient_attn.ops.lsh.hashing import draw_rotations as draw_rotations
from efficient_attn.ops.lsh.hashing import hash_vectors as hash_vectors
