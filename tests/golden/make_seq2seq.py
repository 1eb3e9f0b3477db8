"""Writes ``seq2seq/``: small encoder-decoders of ``transformers``, their logits, and what their beam searches find.

Needs ``torch`` and ``transformers``; made with torch 2.13.0 and transformers 5.24.0.
"""

from pathlib import Path

import numpy as np
import torch
import transformers

FOLDER = Path(__file__).parent / "seq2seq"
PAD = 2
SMALL = {
    "vocab_size": 13,
    "d_model": 8,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 12,
    "decoder_ffn_dim": 12,
    "max_position_embeddings": 16,
    "activation_function": "relu",
    "scale_embedding": True,
    "pad_token_id": PAD,
    "eos_token_id": 1,
    "decoder_start_token_id": PAD,
    "forced_eos_token_id": None,
}
# Norms after the sublayers, and before them.
CASES = {"marian": "Marian", "pegasus": "Pegasus"}
# ``early_stopping`` and ``length_penalty``.
SEARCHES = {"present": (False, 1.0), "full": (True, 0.6), "worst": ("never", 1.2)}
# Seeds with which the three searches differ, and targets have many lengths.
SEEDS = {"marian": 11, "pegasus": 9}
LONGEST = 11


def build(name: str) -> torch.nn.Module:
    """The model of a case, with weights large enough that all of them matter, norms' gains among them."""
    torch.manual_seed(SEEDS[name])
    config = getattr(transformers, f"{CASES[name]}Config")(**SMALL)
    model = getattr(transformers, f"{CASES[name]}{'MTModel' if name == 'marian' else 'ForConditionalGeneration'}")(
        config
    )
    for tensor, parameter in model.named_parameters():
        if "embed_positions" not in tensor:
            parameter.data += 0.4 * torch.randn_like(parameter)
    # Texts end where the end looks like what every token has in common.
    decoder = model.model.decoder
    last = decoder.layer_norm if name == "pegasus" else decoder.layers[-1].final_layer_norm
    model.model.shared.weight.data[SMALL["eos_token_id"]] += last.bias.data
    return model.eval()


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """Sources with padding, and targets."""
    rng = np.random.default_rng(0)
    sources = rng.integers(3, SMALL["vocab_size"], (6, 7))
    for row, length in enumerate((7, 5, 2, 6, 3, 7)):
        sources[row, length:] = PAD
    return torch.tensor(sources), torch.tensor(rng.integers(3, SMALL["vocab_size"], (6, 9)))


def searched(model: torch.nn.Module, sources: torch.Tensor, stop: bool | str, penalty: float) -> tuple[np.ndarray, ...]:
    """Targets and scores of a beam search."""
    found = model.generate(
        sources, attention_mask=(sources != PAD).long(), num_beams=3, num_return_sequences=3, max_length=LONGEST + 1,
        early_stopping=stop, length_penalty=penalty, output_scores=True, return_dict_in_generate=True, do_sample=False,
        bad_words_ids=None, forced_eos_token_id=None,
    )  # fmt: skip
    tokens = np.full((len(sources), 3, LONGEST), PAD, np.int32)
    written = found.sequences.reshape(len(sources), 3, -1)[:, :, 1:]
    tokens[:, :, : written.shape[2]] = written
    return tokens, found.sequences_scores.reshape(-1, 3).numpy()


def main() -> None:
    """Writes a file for each case."""
    FOLDER.mkdir(exist_ok=True)
    sources, targets = drawn()
    for name in CASES:
        model = build(name)
        copies = ("lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
        weights = model.state_dict().items()
        stored = {f"weight {key}": x.numpy() for key, x in weights if key not in (*copies, "final_logits_bias")}
        stored |= {"sources": sources.numpy().astype(np.int32), "targets": targets.numpy().astype(np.int32)}
        before = torch.cat([torch.full_like(targets[:, :1], PAD), targets[:, :-1]], dim=1)
        with torch.no_grad():
            output = model(input_ids=sources, attention_mask=(sources != PAD).long(), decoder_input_ids=before)
            stored["logits"] = output.logits.numpy()
            for stop, rule in SEARCHES.items():
                stored[f"{stop} tokens"], stored[f"{stop} scores"] = searched(model, sources, *rule)
        np.savez_compressed(FOLDER / f"{name}.npz", **stored)


if __name__ == "__main__":
    main()
