"""Block-sparse attention for NVIDIA GPUs in Pallas, forward and backward: only live blocks are visited, nothing is copied first."""

from efficient_attn.kernels.pallas_gpu.attention import attend_pallas_gpu, too_old, why_not

__all__ = ["attend_pallas_gpu", "too_old", "why_not"]
