"""Checkpoints of Hugging Face's ``transformers``: folders with ``config.json`` and safetensors, in and out."""

from efficient_attn.pretrained.folder import load_pretrained as load_pretrained
from efficient_attn.pretrained.folder import save_pretrained as save_pretrained
