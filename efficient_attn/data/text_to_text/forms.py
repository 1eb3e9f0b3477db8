"""How examples of GLUE and SuperGLUE are put as text, as the released code of T5 puts them.

An example is a mapping with the fields that TFDS has: texts are ``str``, classes are places in the list of the task's labels, and
-1 where they are not published.

References:
  Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020, appendix D, and its
  released code.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Example = Mapping[str, Any]
Form = Callable[[Example], str]

_SENTENCE_END = re.compile(r"([.?!\"'])\n@highlight\n")
_HIGHLIGHT = "\n@highlight\n"
# What may stand right after a pronoun.
_PUNCTUATION = ".,;:!?\"')"


def listed(prefix: str, *fields: str) -> Form:
    """The form ``prefix field: text field: text ...``."""

    def written(example: Example) -> str:
        return " ".join([prefix, *(part for field in fields for part in (f"{field}:", example[field]))])

    return written


def without_markup(form: Form) -> Form:
    """``form`` without the line breaks and bold letters of HTML that MultiRC has."""
    return lambda example: re.sub("</?b>", "", form(example).replace("<br>", " "))


def rounded(number: float) -> str:
    """STS-B's similarity to the nearest fifth, as ``"3.8"``."""
    # In the precision of the data: a tie must fall to the same side.
    return f"{round(float(np.float32(number) * np.float32(5))) / 5:.1f}"


def query(example: Example) -> str:
    """ReCoRD: the query, all entities, and the passage, whose highlights become sentences."""
    passage = _SENTENCE_END.sub(r"\1 ", example["passage"]).replace(_HIGHLIGHT, ". ")
    entities = ", ".join(example["entities"])
    return f"record query: {example['query']} entities: {entities} passage: {passage}"


def pronoun_marked(example: Example) -> str:
    """WSC: the text with ``*`` on both sides of the pronoun.

    Raises:
      ValueError: if the text has no such word.
    """
    words, pronoun = example["text"].strip().split(" "), example["span2_text"]
    # Some indices of the released data are a word off, and some pronouns stand before a comma.
    places = [n for n, word in enumerate(words) if word.rstrip(_PUNCTUATION) == pronoun]
    if not places:
        raise ValueError(f"there is no word {pronoun!r} in {example['text']!r}")
    place = min(places, key=lambda n: (abs(n - example["span2_index"]), -n))
    rest = words[place].removeprefix(pronoun)
    words[place] = f"*{pronoun}*" + (f" {rest}" if rest else "")
    return "wsc: " + " ".join(words)
