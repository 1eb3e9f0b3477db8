"""All tables of the register, in the order in which they are printed."""

from efficient_attn.results import (
    adaptive_span,
    adaptively_sparse,
    gshard,
    image_gpt,
    linformer,
    longformer,
    mpnet,
    recurrent,
    reformer,
    sandwich,
    sparse_transformer,
    synthesizer,
    transformer,
)
from efficient_attn.results.record import Table

TABLES: tuple[Table, ...] = (
    *sparse_transformer.TABLES,
    *transformer.TABLES,
    *image_gpt.TABLES,
    *synthesizer.TABLES,
    *longformer.TABLES,
    *linformer.TABLES,
    *adaptive_span.TABLES,
    *adaptively_sparse.TABLES,
    *reformer.TABLES,
    *sandwich.TABLES,
    *recurrent.TABLES,
    *gshard.TABLES,
    *mpnet.TABLES,
)
