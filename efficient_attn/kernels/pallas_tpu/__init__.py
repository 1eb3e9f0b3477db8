"""Block-sparse attention for TPUs in Pallas, forward and backward: only live blocks are visited, nothing of size T * S exists."""

from efficient_attn.kernels.pallas_tpu.attention import attend_pallas_tpu, why_not

__all__ = ["attend_pallas_tpu", "why_not"]
