"""Which experts a token goes to: GShard's top-2 routing, Switch's top-1, expert choice, and how rows travel there and back.

    choices = top2(logits)                         which experts, with what weights, and the auxiliary loss
    places = place_by_sorting(choices, E, C)       which choices an expert has room for, and where
    rows = dispatch(x, choices, places, E, C)      [G E C D], what each expert computes on
    y = combine(experts(rows), choices, places)    [G S D], 0 for a token that no expert had room for

or, with room for all that is asked for,

    blocks = place_in_blocks(choices, E, C)        where the rows of each expert lie, in blocks of C
    rows = dispatch_to_blocks(x, blocks, C)        [rows D]
    rows = grouped_product(rows, matrices, blocks) each row times the matrix of its expert
    y = combine_from_blocks(rows, choices, blocks) [G S D]

Tokens are routed in groups of ``S`` that share nothing, each expert taking at most ``C`` tokens of a group. Within a group all
first choices outrank all second choices, and earlier tokens outrank later ones. That is not causal: where capacity binds, a later
token's first choice takes the place of an earlier token's second.

Cost: with sorting, ``O(S k log(S k))`` time and ``O(S k + E C D)`` memory for a group; with one-hot masks ``O(S E C D)`` and
``O(S E C)``; in blocks as with sorting, and of the products only those of blocks that are used.

References:
  Lepikhin et al., "GShard: Scaling Giant Models with Conditional Computation and Automatic Sharding", 2020, algorithms 1 and 2.
  Fedus, Zoph and Shazeer, "Switch Transformers", 2021, section 2.
  Zhou et al., "Mixture-of-Experts with Expert Choice Routing", 2022.
  Gale, Narayanan, Young and Zaharia, "MegaBlocks: Efficient Sparse Training with Mixture-of-Experts", 2022.
  Zoph et al., "ST-MoE: Designing Stable and Transferable Sparse Expert Models", 2022, equation 5.
"""

from efficient_attn.ops.routing.blocks import Blocks as Blocks
from efficient_attn.ops.routing.blocks import block_size as block_size
from efficient_attn.ops.routing.blocks import combine_from_blocks as combine_from_blocks
from efficient_attn.ops.routing.blocks import dispatch_to_blocks as dispatch_to_blocks
from efficient_attn.ops.routing.blocks import place_in_blocks as place_in_blocks
from efficient_attn.ops.routing.capacity import Rule as Rule
from efficient_attn.ops.routing.capacity import capacity as capacity
from efficient_attn.ops.routing.choices import Choices as Choices
from efficient_attn.ops.routing.choices import router_z_loss as router_z_loss
from efficient_attn.ops.routing.choices import switch as switch
from efficient_attn.ops.routing.choices import thinned as thinned
from efficient_attn.ops.routing.choices import top2 as top2
from efficient_attn.ops.routing.dispatch import combine as combine
from efficient_attn.ops.routing.dispatch import dispatch as dispatch
from efficient_attn.ops.routing.expert_choice import expert_choice as expert_choice
from efficient_attn.ops.routing.grouped import grouped_product as grouped_product
from efficient_attn.ops.routing.one_hot import combine_one_hot as combine_one_hot
from efficient_attn.ops.routing.one_hot import dispatch_one_hot as dispatch_one_hot
from efficient_attn.ops.routing.places import Places as Places
from efficient_attn.ops.routing.places import place_by_counting as place_by_counting
from efficient_attn.ops.routing.places import place_by_sorting as place_by_sorting
