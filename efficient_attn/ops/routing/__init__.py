"""Which experts a token goes to: GShard's top-2 routing, Switch's top-1, expert choice, and how rows travel there and back.

    choices = top2(logits)                         which experts, with what weights, and the auxiliary loss
    places = place_by_sorting(choices, E, C)       which choices an expert has room for, and where
    rows = dispatch(x, choices, places, E, C)      [G E C D], what each expert computes on
    y = combine(experts(rows), choices, places)    [G S D], 0 for a token that no expert had room for

Tokens are routed in groups of ``S`` that share nothing, each expert taking at most ``C`` tokens of a group. Within a group all
first choices outrank all second choices, and earlier tokens outrank later ones. That is not causal: where capacity binds, a later
token's first choice takes the place of an earlier token's second.

Cost: with sorting, ``O(S k log(S k))`` time and ``O(S k + E C D)`` memory for a group; with one-hot masks ``O(S E C D)`` and
``O(S E C)``.

References:
  Lepikhin et al., "GShard: Scaling Giant Models with Conditional Computation and Automatic Sharding", 2020, algorithms 1 and 2.
  Fedus, Zoph and Shazeer, "Switch Transformers", 2021, section 2.
  Zhou et al., "Mixture-of-Experts with Expert Choice Routing", 2022.
  Zoph et al., "ST-MoE: Designing Stable and Transferable Sparse Expert Models", 2022, equation 5.
"""

from efficient_attn.ops.routing.capacity import Rule as Rule
from efficient_attn.ops.routing.capacity import capacity as capacity
from efficient_attn.ops.routing.choices import Choices as Choices
from efficient_attn.ops.routing.choices import router_z_loss as router_z_loss
from efficient_attn.ops.routing.choices import switch as switch
from efficient_attn.ops.routing.choices import top2 as top2
from efficient_attn.ops.routing.dispatch import combine as combine
from efficient_attn.ops.routing.dispatch import dispatch as dispatch
from efficient_attn.ops.routing.expert_choice import expert_choice as expert_choice
from efficient_attn.ops.routing.one_hot import combine_one_hot as combine_one_hot
from efficient_attn.ops.routing.one_hot import dispatch_one_hot as dispatch_one_hot
from efficient_attn.ops.routing.places import Places as Places
from efficient_attn.ops.routing.places import place_by_counting as place_by_counting
from efficient_attn.ops.routing.places import place_by_sorting as place_by_sorting
