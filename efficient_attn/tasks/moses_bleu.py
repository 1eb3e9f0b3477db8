"""BLEU as papers up to 2018 print it: of tokens by the rules of Moses, with compounds split. No other score is comparable to it.

What is done is that of tensor2tensor's ``get_ende_bleu.sh``: both sides through Moses' ``tokenizer.perl``, a hyphen between other
characters taken for a word, and ``multi-bleu.perl``, cased and without smoothing.

References:
  Vaswani et al., "Attention Is All You Need", 2017, and its released code.
  Post, "A Call for Clarity in Reporting BLEU Scores", 2018, section 2: how far such scores are from others.
"""

import re
from collections.abc import Sequence
from importlib import metadata
from types import ModuleType

from efficient_attn.tasks.bleu import sacrebleu

_COMPOUND = re.compile(r"(\S)-(\S)")


def compound_split_bleu(translations: Sequence[str], references: Sequence[str], language: str) -> float:
    """The score in percent.

    Args:
      translations: of a whole corpus.
      references: one for each.
      language: two letters of the targets', whose abbreviations are not the ends of sentences; English's, where Moses does not
        know it.
    """
    sides = [compound_split(texts, language) for texts in (translations, references)]
    # Taken apart already: only here may that be so.
    metric = sacrebleu().metrics.BLEU(tokenize="none", smooth_method="none", force=True)
    return float(metric.corpus_score(sides[0], [sides[1]]).score)


def compound_split(texts: Sequence[str], language: str) -> list[str]:
    """The tokens of each text with blanks between them."""
    tokenizer = sacremoses().MosesTokenizer(lang=language)
    tokens = (tokenizer.tokenize(text, return_str=True) for text in texts)
    return [_COMPOUND.sub(r"\1 ##AT##-##AT## \2", text) for text in tokens]


def signature(language: str) -> str:
    """What identifies the score, in the form of sacreBLEU's."""
    versions = f"sacremoses:{metadata.version('sacremoses')}|sacrebleu:{sacrebleu().__version__}"
    return f"nrefs:1|case:mixed|eff:no|tok:moses-{language}|compounds:split|smooth:none|{versions}"


def sacremoses() -> ModuleType:
    """The package.

    Raises:
      ModuleNotFoundError: if it is not installed.
    """
    try:
        import sacremoses as package
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "scoring translations needs sacremoses: pip install 'efficient-attn[translation]'"
        ) from error
    return package
