"""Data: sources that yield streams of tokens or examples, windows over them, and batches of named numpy arrays.

This package stands by itself: it knows no model and needs no accelerator. It never downloads anything.
"""

from efficient_attn.data.audio import AudioFiles, mu_law_decode, mu_law_encode
from efficient_attn.data.batches import (
    Batch,
    ContiguousBatches,
    TrainingBatches,
    evaluation_batches,
    process_rows,
)
from efficient_attn.data.choices import ChoiceLines, Choices
from efficient_attn.data.codes import yardsticks
from efficient_attn.data.conll import CoNLL, TaggedSentences, write_tagged
from efficient_attn.data.copying import Copying
from efficient_attn.data.corpora import LM1B, Enwik8, Text8, WikiText
from efficient_attn.data.crops import CroppedImages
from efficient_attn.data.digits import PaddedDigits
from efficient_attn.data.examples import ExampleBatches, Examples, ExampleSource, every_example
from efficient_attn.data.glue import GLUE
from efficient_attn.data.grey_digits import GreyDigits
from efficient_attn.data.hotpot import EvidenceQuestion, EvidenceQuestions, Fact, HotpotQA, Paragraph
from efficient_attn.data.images import ImageArray, ImageFolder
from efficient_attn.data.labelled import ImageClasses, LabelledImages, LabelledSource
from efficient_attn.data.labelled_text import LabelledLines, LabelledTexts, write_submission
from efficient_attn.data.long_memory import CopyFirst, Denoising
from efficient_attn.data.masking import Masking, masked
from efficient_attn.data.moving import Moving, moved
from efficient_attn.data.ontonotes import (
    Cluster,
    CoreferenceDocument,
    CoreferenceDocuments,
    OntoNotes,
    write_clusters,
)
from efficient_attn.data.packing import LongDocuments, pack
from efficient_attn.data.pair_batches import PairBatches, by_length, pair_rows, text_rows
from efficient_attn.data.pairs import Lines, Pairs, PairSource, ParallelText
from efficient_attn.data.palette import Palette, PaletteImages, fit_palette, load_palette
from efficient_attn.data.permuting import ByteWords, SingleTokens, Units, permuted, told_tokens
from efficient_attn.data.source import Location, Source
from efficient_attn.data.span_corruption import SpanCorruption, corrupted
from efficient_attn.data.splits import SPLITS, Split, SplitFractions
from efficient_attn.data.squad import Question, Questions, SQuAD
from efficient_attn.data.standard_library import StandardLibrary
from efficient_attn.data.stream import TokenStream, Unit
from efficient_attn.data.subword_text import SubwordText
from efficient_attn.data.subwords import SentencePieces, SubwordPairs, Subwords, Texts, TokenPairs
from efficient_attn.data.text_files import TextFiles
from efficient_attn.data.text_pieces import EncodedTexts, Pieces, padded
from efficient_attn.data.tfds import TFDSImages, TFDSText
from efficient_attn.data.tfds_texts import TFDSLabelled, TFDSTranslation
from efficient_attn.data.tokenized_text import PieceWords, TokenizedText
from efficient_attn.data.wikihop import CandidateQuestions, WikiHop, write_candidates
from efficient_attn.data.wikipedia import WikipediaExcerpt
from efficient_attn.data.windows import EvaluationWindows, Window, side_by_side, with_minimum_context
from efficient_attn.data.words import Words

__all__ = [
    "GLUE",
    "LM1B",
    "SPLITS",
    "AudioFiles",
    "Batch",
    "ByteWords",
    "CandidateQuestions",
    "ChoiceLines",
    "Choices",
    "Cluster",
    "CoNLL",
    "ContiguousBatches",
    "CopyFirst",
    "Copying",
    "CoreferenceDocument",
    "CoreferenceDocuments",
    "CroppedImages",
    "Denoising",
    "EncodedTexts",
    "Enwik8",
    "EvaluationWindows",
    "EvidenceQuestion",
    "EvidenceQuestions",
    "ExampleBatches",
    "ExampleSource",
    "Examples",
    "Fact",
    "GreyDigits",
    "HotpotQA",
    "ImageArray",
    "ImageClasses",
    "ImageFolder",
    "LabelledImages",
    "LabelledLines",
    "LabelledSource",
    "LabelledTexts",
    "Lines",
    "Location",
    "LongDocuments",
    "Masking",
    "Moving",
    "OntoNotes",
    "PaddedDigits",
    "PairBatches",
    "PairSource",
    "Pairs",
    "Palette",
    "PaletteImages",
    "Paragraph",
    "ParallelText",
    "PieceWords",
    "Pieces",
    "Question",
    "Questions",
    "SQuAD",
    "SentencePieces",
    "SingleTokens",
    "Source",
    "SpanCorruption",
    "Split",
    "SplitFractions",
    "StandardLibrary",
    "SubwordPairs",
    "SubwordText",
    "Subwords",
    "TFDSImages",
    "TFDSLabelled",
    "TFDSText",
    "TFDSTranslation",
    "TaggedSentences",
    "Text8",
    "TextFiles",
    "Texts",
    "TokenPairs",
    "TokenStream",
    "TokenizedText",
    "TrainingBatches",
    "Unit",
    "Units",
    "WikiHop",
    "WikiText",
    "WikipediaExcerpt",
    "Window",
    "Words",
    "by_length",
    "corrupted",
    "evaluation_batches",
    "every_example",
    "fit_palette",
    "load_palette",
    "masked",
    "moved",
    "mu_law_decode",
    "mu_law_encode",
    "pack",
    "padded",
    "pair_rows",
    "permuted",
    "process_rows",
    "side_by_side",
    "text_rows",
    "told_tokens",
    "with_minimum_context",
    "write_candidates",
    "write_clusters",
    "write_submission",
    "write_tagged",
    "yardsticks",
]
