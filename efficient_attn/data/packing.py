"""Packing documents of different lengths into rows of one length, so that little of a batch is padding.

Best fit: documents are taken in order, and each goes to the row with the least free space that still holds it.

References:
    Krell et al., Efficient Sequence Packing without Cross-contamination, https://arxiv.org/abs/2107.02027
"""

import bisect
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int, Integer

LongDocuments = Literal["split", "refuse"]
# Rows that are filled side by side: more would be fuller by less than a hundredth.
_OPEN_ROWS = 64


def pack(
    documents: Sequence[Integer[np.ndarray, " _"]], context: int, long_documents: LongDocuments = "refuse"
) -> dict[str, np.ndarray]:
    """Packs documents into rows of ``context`` tokens; every token is kept.

    Args:
        documents: The tokens of each document; empty ones take no space.
        context: Tokens in a row.
        long_documents: What becomes of a document longer than a row: ``"split"`` makes pieces of ``context`` tokens,
            each a document by itself; ``"refuse"`` is an error.

    Returns:
        Arrays of shape [rows, context]: ``tokens`` int32; ``positions`` int32, counted from 0 in each document;
        ``segment_ids`` int32, counted from 1 in each row, 0 in padding; ``valid`` bool, False in padding.

    Raises:
        ValueError: No document has a token, ``context`` is not positive, or a document is too long.

    Cost:
        O(documents * log(rows)) searches, and one copy of the tokens.
    """
    if context < 1:
        raise ValueError(f"context must be at least 1 token, got {context}")
    rows = _best_fit(_pieces(documents, context, long_documents), context)
    if not rows:
        raise ValueError(f"none of the {len(documents)} documents has a token")
    packed = {name: np.zeros((len(rows), context), np.int32) for name in ("tokens", "positions", "segment_ids")}
    for row, pieces in enumerate(rows):
        start = 0
        for segment, piece in enumerate(pieces, start=1):
            place = (row, slice(start, start + len(piece)))
            packed["tokens"][place] = piece
            packed["positions"][place] = np.arange(len(piece))
            packed["segment_ids"][place] = segment
            start += len(piece)
    return {**packed, "valid": packed["segment_ids"] > 0}


def _pieces(documents: Sequence[np.ndarray], context: int, long_documents: LongDocuments) -> list[np.ndarray]:
    longest = max(map(len, documents), default=0)
    if longest > context and long_documents == "refuse":
        raise ValueError(f"a document has {longest} tokens, but a row holds {context}: pass long_documents='split'")
    return [document[i : i + context] for document in documents for i in range(0, len(document), context)]


def _best_fit(pieces: list[np.ndarray], context: int) -> list[list[np.ndarray]]:
    rows: list[list[np.ndarray]] = []
    # (free tokens, row) of every row that is not full, in ascending order.
    free: list[tuple[int, int]] = []
    for piece in pieces:
        place = bisect.bisect_left(free, (len(piece), 0))
        if place < len(free):
            space, row = free.pop(place)
        else:
            space, row = context, len(rows)
            rows.append([])
        rows[row].append(piece)
        if space > len(piece):
            bisect.insort(free, (space - len(piece), row))
    return rows


def pack_pairs(lengths: Int[np.ndarray, "n 2"], context: int | tuple[int, int]) -> Int[np.ndarray, " n"]:
    """Puts pairs of texts into rows that have room for ``context`` tokens on either side, or on each.

    Pairs are taken in order, and each goes to the row with the least free space, of a few open ones, that still holds both its
    texts; where none does, the fullest of them is closed.

    Args:
        lengths: Tokens of both texts of each pair.
        context: Tokens of a row, on either side or on each.

    Returns:
        The row of each pair; rows are counted from 0, and none is empty.

    Raises:
        ValueError: A text is longer than a row.

    Cost:
        O(pairs).
    """
    if np.any(lengths > np.array(context)):
        raise ValueError(f"a text has {lengths.max()} tokens, but a row holds {context}")
    free, rows = np.full((_OPEN_ROWS, 2), context), np.arange(_OPEN_ROWS)
    chosen, following = np.empty(len(lengths), np.int64), _OPEN_ROWS
    for pair, length in enumerate(lengths):
        holding = (free >= length).all(axis=1)
        space = free.sum(axis=1)
        place = int(np.argmin(np.where(holding, space, np.iinfo(np.int64).max)))
        if not holding[place]:
            place = int(np.argmin(space))
            free[place], rows[place], following = context, following, following + 1
        free[place] -= length
        chosen[pair] = rows[place]
    return np.unique(chosen, return_inverse=True)[1]
