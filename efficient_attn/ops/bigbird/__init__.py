"""BigBird's attention: windows of blocks, global blocks at both ends, and random blocks."""

from efficient_attn.ops.bigbird.attention import bigbird_attention as bigbird_attention
from efficient_attn.ops.bigbird.attention import bigbird_pattern as bigbird_pattern
from efficient_attn.ops.bigbird.draw import draw_blocks as draw_blocks
from efficient_attn.ops.bigbird.draw import draw_early_blocks as draw_early_blocks
