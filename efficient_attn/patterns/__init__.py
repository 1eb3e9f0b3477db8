"""Who may attend to whom: a static algebra over positions. See ``efficient_attn.patterns.algebra``."""

from efficient_attn.patterns.algebra import And as And
from efficient_attn.patterns.algebra import Full as Full
from efficient_attn.patterns.algebra import Not as Not
from efficient_attn.patterns.algebra import Or as Or
from efficient_attn.patterns.algebra import Pattern as Pattern
from efficient_attn.patterns.algebra import PerHead as PerHead
from efficient_attn.patterns.block_mask import BlockMask as BlockMask
from efficient_attn.patterns.box import Box as Box
from efficient_attn.patterns.factorized import Fixed as Fixed
from efficient_attn.patterns.factorized import Strided as Strided
from efficient_attn.patterns.factorized import fixed_heads as fixed_heads
from efficient_attn.patterns.local import Causal as Causal
from efficient_attn.patterns.local import Chunk as Chunk
from efficient_attn.patterns.local import Dilated as Dilated
from efficient_attn.patterns.local import NearChunks as NearChunks
from efficient_attn.patterns.local import Prefix as Prefix
from efficient_attn.patterns.local import Window as Window
from efficient_attn.patterns.scattered import BlockRandom as BlockRandom
from efficient_attn.patterns.scattered import GivenBlocks as GivenBlocks
from efficient_attn.patterns.scattered import Global as Global
