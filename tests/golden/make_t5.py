"""Writes ``t5/``: small checkpoints of ``transformers``, their logits, and what their searches find.

Needs ``torch`` and ``transformers``; made with torch 2.13.0 and transformers 5.24.0.
"""

from pathlib import Path

import numpy as np
import torch
import transformers

FOLDER = Path(__file__).parent / "t5"
PAD = 0
SMALL = {
    "vocab_size": 13,
    "d_model": 8,
    "d_kv": 5,
    "d_ff": 12,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 2,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 10,
    "decoder_start_token_id": PAD,
}
# Version 1.0, and 1.1.
CASES = {
    "first": {},
    "gated": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
}
# Seeds with which targets have many lengths.
SEEDS = {"first": 28, "gated": 6}
# A gate multiplies two products: what is large becomes larger.
NOISE = {"first": 0.7, "gated": 0.3}
LONGEST = 15


def build(name: str) -> torch.nn.Module:
    """The model of a case, with weights large enough that all of them matter, norms' gains among them."""
    torch.manual_seed(SEEDS[name])
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**SMALL | CASES[name]))
    if name == "gated":
        # transformers ties the logits' table whatever the config says, unless a checkpoint has one that differs.
        model.lm_head.weight = torch.nn.Parameter(torch.randn(model.lm_head.weight.shape) / 4)
    for parameter in model.parameters():
        parameter.data += NOISE[name] * torch.randn_like(parameter)
    # Texts end oftener with an end that stands out.
    model.shared.weight.data[1] *= 2.0
    return model.eval()


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """Sources with padding, longer than the last bucket's first offset, and targets."""
    rng = np.random.default_rng(0)
    sources = rng.integers(2, SMALL["vocab_size"], (6, 24))
    for row, length in enumerate((24, 5, 2, 16, 3, 20)):
        sources[row, length:] = PAD
    return torch.tensor(sources), torch.tensor(rng.integers(2, SMALL["vocab_size"], (6, 17)))


def answered(model: torch.nn.Module, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The logits of targets, in double precision."""
    before = torch.cat([torch.full_like(targets[:, :1], PAD), targets[:, :-1]], dim=1)
    with torch.no_grad():
        mask = (sources != PAD).long()
        found = model.double()(input_ids=sources, attention_mask=mask, decoder_input_ids=before).logits
    model.float()
    return found.float()


def slopes(model: torch.nn.Module, sources: torch.Tensor, targets: torch.Tensor) -> dict[str, np.ndarray]:
    """Gradients of the mean cross-entropy of targets in the two biases of offsets, in double precision."""
    mask = (sources != PAD).long()
    model.double()(input_ids=sources, attention_mask=mask, labels=targets).loss.backward()
    named = {name: x for name, x in model.named_parameters() if "relative_attention_bias" in name}
    found = {name: x.grad.float().numpy() for name, x in named.items()}
    model.zero_grad()
    model.float()
    return found


def searched(model: torch.nn.Module, sources: torch.Tensor, beams: int) -> np.ndarray:
    """Targets of a greedy search, or of a beam search; without a cache, which fails where the depths differ."""
    found = model.generate(
        sources, attention_mask=(sources != PAD).long(), num_beams=beams, max_length=LONGEST + 1, do_sample=False,
        early_stopping=False, length_penalty=1.0, use_cache=False,
    )  # fmt: skip
    tokens = np.full((len(sources), LONGEST), PAD, np.int32)
    tokens[:, : found.shape[1] - 1] = found[:, 1:]
    # What a beam search puts after the end is not always padding.
    after = np.cumsum(tokens == model.config.eos_token_id, axis=1) - (tokens == model.config.eos_token_id) > 0
    tokens[after] = PAD
    return tokens


def main() -> None:
    """Writes a folder for each case."""
    sources, targets = drawn()
    for name in CASES:
        model = build(name)
        model.save_pretrained(FOLDER / name)
        read = transformers.T5ForConditionalGeneration.from_pretrained(FOLDER / name).state_dict()
        assert all(bool((read[tensor] == weight).all()) for tensor, weight in model.state_dict().items())
        (FOLDER / name / "generation_config.json").unlink(missing_ok=True)
        stored = {"sources": sources.numpy().astype(np.int32), "targets": targets.numpy().astype(np.int32)}
        stored["logits"] = answered(model, sources, targets).numpy()
        stored |= {f"slope {tensor}": x for tensor, x in slopes(model, sources, targets).items()}
        stored |= {"greedy": searched(model, sources, 1), "beams": searched(model, sources, 3)}
        np.savez_compressed(FOLDER / name / "answers.npz", **stored)


if __name__ == "__main__":
    main()
