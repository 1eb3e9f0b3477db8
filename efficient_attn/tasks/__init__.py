"""What is learned, and how it is scored."""

from efficient_attn.tasks.language_modelling import LanguageModelling as LanguageModelling
