"""How often each task of a mixture is seen.

References:
  Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020, section 3.5.2.
"""

from collections.abc import Mapping


def mixing_rates(examples: Mapping[str, int], limit: int | None = 2**19, temperature: float = 1.0) -> dict[str, float]:
    """The share of each task among the examples that are seen; the shares add up to 1.

        share(m) = min(e(m), K)^(1 / T) / sum_n min(e(n), K)^(1 / T)

    Args:
      examples: e, of each task, as it is learned: one for each right answer.
      limit: K, what a task counts as at most; None: there is no limit. T5's is 2^19, above every task of GLUE and SuperGLUE.
      temperature: T; 1 is in proportion, and a large one makes all tasks equal.

    Raises:
      ValueError: if there is no task, a task has no example, or the limit or the temperature is not positive.
    """
    if not examples or min(examples.values()) < 1:
        raise ValueError(f"every task of a mixture needs examples, got {dict(examples)}")
    if temperature <= 0.0 or (limit is not None and limit < 1):
        raise ValueError(f"limit and temperature must be positive, got {limit} and {temperature}")
    counted = {name: float(min(count, limit or count)) ** (1.0 / temperature) for name, count in examples.items()}
    return {name: count / sum(counted.values()) for name, count in counted.items()}
