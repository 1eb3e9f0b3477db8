"""Writes ``image_gpt/``: small checkpoints of ``transformers``, what they answer, and gradients of a loss.

Needs ``torch`` and ``transformers``; made with torch 2.13.0 and transformers 5.24.0.
"""

from pathlib import Path

import numpy as np
import torch
import transformers

FOLDER = Path(__file__).parent / "image_gpt"
SMALL = {"n_embd": 8, "n_head": 2, "n_layer": 2, "n_positions": 9, "vocab_size": 12}
# Class of the model, whether its biases are 0 as in the published checkpoints, and the config.
CASES = {
    "causal": ("ImageGPTForCausalImageModeling", False, {"n_inner": 12}),
    "published": ("ImageGPTForCausalImageModeling", True, {}),
    "classes": ("ImageGPTForImageClassification", True, {"num_labels": 3}),
    "bare": ("ImageGPTModel", False, {"activation_function": "gelu_new", "n_layer": 1}),
}


def build(name: str) -> torch.nn.Module:
    """The model of a case, with weights large enough that all of them matter."""
    kind, without, changes = CASES[name]
    torch.manual_seed(0)
    model = getattr(transformers, kind)(transformers.ImageGPTConfig(**SMALL | changes)).eval()
    for tensor, parameter in model.named_parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
        if without and tensor.endswith(".bias"):
            parameter.data.zero_()
    return model


def drawn(name: str) -> np.ndarray:
    """Inputs of a case: the start, and all pixels but the last; or pixels."""
    tokens = np.random.default_rng(len(name)).integers(0, SMALL["vocab_size"] - 1, (2, 8))
    if name in ("causal", "published"):
        tokens[:, 0] = SMALL["vocab_size"] - 1
    return tokens


def answer(model: torch.nn.Module, inputs: np.ndarray) -> torch.Tensor:
    """Logits, or the features of the last norm; in double precision."""
    output = model.double()(input_ids=torch.tensor(inputs))
    return output.logits if "logits" in output else output.last_hidden_state


def main() -> None:
    """Writes a folder for each case; the loss is the mean of the cubes of the result."""
    for name in CASES:
        model, inputs = build(name), drawn(name)
        model.save_pretrained(FOLDER / name)
        (FOLDER / name / "generation_config.json").unlink(missing_ok=True)
        result = answer(model, inputs)
        result.pow(3).mean().backward()
        gradients = {
            f"d {n}": p.grad.float().numpy() for n, p in model.named_parameters() if "c_attn" in n or "wte" in n
        }
        gradients = {n: x for n, x in gradients.items() if not n.endswith("bias")}
        stored = {"inputs": inputs.astype(np.int32), "result": result.detach().float().numpy()}
        np.savez(FOLDER / name / "answers.npz", **stored, **gradients)


if __name__ == "__main__":
    main()
