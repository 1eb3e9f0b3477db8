"""Writes ``encoders/``: small checkpoints of ``transformers``, what they answer, and gradients of a loss.

Needs ``torch`` and ``transformers``; made with torch 2.13.0 and transformers 5.24.0.
"""

import itertools
from pathlib import Path

import numpy as np
import torch
import transformers

FOLDER = Path(__file__).parent / "encoders"
SMALL = {
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 12,
    "vocab_size": 13,
    "id2label": {0: "low", 1: "mid", 2: "high"},
    "label2id": {"low": 0, "mid": 1, "high": 2},
}
FAMILIES = {
    "Bert": {"max_position_embeddings": 19, "type_vocab_size": 3, "pad_token_id": 0},
    "Roberta": {"max_position_embeddings": 21, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5},
    # Windows that differ by layer, and are wider than short texts.
    "Longformer": {
        "max_position_embeddings": 21,
        "type_vocab_size": 1,
        "pad_token_id": 1,
        "sep_token_id": 2,
        "attention_window": [4, 8],
    },
    # Blocks so small that the longer texts below are attended to sparsely.
    "BigBird": {"max_position_embeddings": 40, "block_size": 4, "num_random_blocks": 1, "sep_token_id": 2},
    "MPNet": {"max_position_embeddings": 21, "layer_norm_eps": 1e-5},
}
# Shape of the tokens, which of the last row are hidden, and changes of the config.
HEADS = {
    "Model": ((2, 17), slice(11, None), {}),
    "ForMaskedLM": ((3, 11), slice(None, 4), {}),
    "ForSequenceClassification": ((2, 7), slice(5, None), {"hidden_act": "gelu_new"}),
    "ForQuestionAnswering": ((2, 13), slice(3, 5), {"id2label": None, "label2id": None, "num_labels": 2}),
    "ForTokenClassification": ((1, 5), slice(4, None), {"hidden_act": "relu"}),
    "ForMultipleChoice": ((2, 3, 7), slice(2, None), {}),
}
# Long enough for all buckets of offsets, or for more blocks than random ones are drawn from.
LONG = {
    "MPNetModel": (2, 151),
    "BigBirdModel": (2, 37),
    "BigBirdForMaskedLM": (3, 32),
    "BigBirdForSequenceClassification": (2, 39),
    "BigBirdForQuestionAnswering": (2, 31),
}
CASES = [f"{family}{head}" for family in FAMILIES for head in HEADS]
RESULTS = ("last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits")
# Names without the prefix, of which the gradients are kept.
GRADIENTS = (
    "embeddings.word_embeddings.weight",
    "embeddings.position_embeddings.weight",
    "encoder.layer.0.attention.self.query.weight",
    "encoder.layer.0.attention.attn.q.weight",
    "encoder.layer.0.attention.self.value_global.weight",
    "encoder.layer.1.output.LayerNorm.weight",
    "encoder.relative_attention_bias.weight",
)


def parts(name: str) -> tuple[str, str]:
    """The family and the head of a case."""
    family = next(f for f in FAMILIES if name.startswith(f))
    return family, name.removeprefix(family)


def build(name: str) -> torch.nn.Module:
    """The model of a case, with weights large enough that masks and positions matter."""
    family, head = parts(name)
    torch.manual_seed(0)
    rows = {"max_position_embeddings": 160} if name == "MPNetModel" else {}
    changes = {k: v for k, v in (SMALL | FAMILIES[family] | HEADS[head][2] | rows).items() if v is not None}
    model = getattr(transformers, name)(getattr(transformers, f"{family}Config")(**changes)).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def drawn(name: str) -> dict[str, np.ndarray]:
    """Tokens, mask and perhaps token types of a case."""
    family, head = parts(name)
    shape, hidden, _ = HEADS[head]
    shape = LONG.get(name, shape)
    rng = np.random.default_rng(len(name))
    tokens, mask = rng.integers(2, SMALL["vocab_size"], shape), np.ones(shape, int)
    mask[-1, ..., hidden] = 0
    if hidden.stop is None or hidden.start is None:
        tokens[mask == 0] = FAMILIES[family].get("pad_token_id", 1)
    if name == "BigBirdForQuestionAnswering":
        tokens[[0, 1], [3, 9]] = FAMILIES[family]["sep_token_id"]
    typed = {"Bert": 3, "BigBird": 0 if head == "ForQuestionAnswering" else 2}.get(family, 0)
    types = {"token_type_ids": rng.integers(0, typed, shape)} if typed else {}
    more = global_tokens(head, tokens, rng) if family == "Longformer" else {}
    return {"input_ids": tokens, "attention_mask": mask, **types, **more}


def global_tokens(head: str, tokens: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Different ones in each row, hidden ones too; or separators by which the model finds its own."""
    separator = FAMILIES["Longformer"]["sep_token_id"]
    tokens[tokens == separator] += 1
    if head in ("ForQuestionAnswering", "ForMultipleChoice"):
        for row, (first, *rest) in zip(tokens.reshape(-1, tokens.shape[-1]), itertools.cycle([(1, 2, 6), (3, 4, 6)])):
            row[[first, *rest]] = separator
        return {}
    if head == "ForSequenceClassification":
        return {}
    return {"global_attention_mask": (rng.random(tokens.shape) < 0.3).astype(int)}


def answer(model: torch.nn.Module, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The model's results, computed in double precision."""
    outputs = model.double()(**{key: torch.tensor(x) for key, x in inputs.items()})
    return {name: outputs[name].detach().float().numpy() for name in RESULTS if name in outputs}


def gradients(model: torch.nn.Module, inputs: dict[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Gradients of the logits' sum with these weights."""
    # Longformer's gradients with global tokens are NaN in double precision.
    model = model.float() if "global_attention_mask" in inputs else model.double()
    logits = model(**{key: torch.tensor(x) for key, x in inputs.items()}).logits
    (logits * torch.tensor(weights)).sum().backward()
    kept = {name: p for name, p in model.named_parameters() if name.endswith(GRADIENTS)}
    return {f"gradient {name}": p.grad.float().numpy() for name, p in kept.items()}


def main() -> None:
    """Writes a folder for each case."""
    for name in CASES:
        model, inputs = build(name), drawn(name)
        model.save_pretrained(FOLDER / name)
        stored = inputs | answer(model, inputs)
        if name.endswith("MaskedLM"):
            # Rows of hidden tokens mean nothing.
            weights = np.random.default_rng(3).normal(size=stored["logits"].shape) * inputs["attention_mask"][..., None]
            stored |= {"weights": weights.astype(np.float32)}
            stored |= gradients(model, inputs, stored["weights"].astype(np.float64))
        small = {key: x.astype(np.int32) if x.dtype == np.int64 else x for key, x in stored.items()}
        np.savez_compressed(FOLDER / name / "answers.npz", **small)


if __name__ == "__main__":
    main()
