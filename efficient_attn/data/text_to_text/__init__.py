"""GLUE and SuperGLUE as text to text: forms, tasks, where their examples come from, and their mixture."""

from efficient_attn.data.text_to_text.batches import MixtureBatches, shortened
from efficient_attn.data.text_to_text.forms import Example
from efficient_attn.data.text_to_text.mixture import MixedTasks, TaskExamples, TextMixture
from efficient_attn.data.text_to_text.prepared import PreparedBenchmarks
from efficient_attn.data.text_to_text.rates import mixing_rates
from efficient_attn.data.text_to_text.released import ReleasedBenchmarks
from efficient_attn.data.text_to_text.tasks import EN_MIX, TEXT_TASKS, TextTask

__all__ = [
    "EN_MIX",
    "TEXT_TASKS",
    "Example",
    "MixedTasks",
    "MixtureBatches",
    "PreparedBenchmarks",
    "ReleasedBenchmarks",
    "TaskExamples",
    "TextMixture",
    "TextTask",
    "mixing_rates",
    "shortened",
]
