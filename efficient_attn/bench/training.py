"""Training throughput of the quickstart's model, beside the same model in PyTorch with its fused dense attention."""

import dataclasses

import jax
import numpy as np

from efficient_attn import training
from efficient_attn.bench.timing import median_ms
from efficient_attn.experiment import Experiment
from efficient_attn.tasks import LanguageModelling


@dataclasses.dataclass(frozen=True)
class Throughput:
    """Tokens per second of one system at one context length: the median of several runs of a few steps."""

    system: str
    context: int
    tokens_per_second: float


def at_context(config: Experiment, context: int) -> Experiment:
    """The experiment at another context length, with the same tokens in a step."""
    tokens = config.batch_size * config.context
    return dataclasses.replace(config, context=context, batch_size=max(1, tokens // context), eval_scored=None)


def ours(config: Experiment, *, repeats: int = 3, steps: int = 8) -> Throughput:
    """The trainer's own compiled step, on random tokens."""
    optimizer = config.update()
    objective = LanguageModelling(config.form, config.label_smoothing, training.Mean)
    placement = training.Placement()
    state = training.TrainState.create(config.form.init(jax.random.key(0)), optimizer, jax.random.key(1))
    state = placement.put(state, optimizer)
    step = training.make_train_step(objective, optimizer, training.StepOptions(), placement, state)
    tokens = np.random.default_rng(0).integers(0, 256, (config.batch_size, config.context), np.int32)
    batch = {"tokens": tokens, "valid": np.ones_like(tokens, bool)}

    def run():
        nonlocal state
        for _ in range(steps):
            state, metrics = step(state, batch)
        return state.params, metrics

    return Throughput("efficient_attn", config.context, steps * tokens.size / median_ms(run, repeats) * 1e3)


def torch_dense(config: Experiment, *, repeats: int = 3, steps: int = 8) -> Throughput:
    """The same shapes in PyTorch: fused causal attention, ``torch.compile``, AdamW, two threads."""
    import torch

    from efficient_attn.bench.torch_model import Model

    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = torch.compile(Model(config.model))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    tokens = torch.randint(0, 256, (config.batch_size, config.context))

    def run():
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            logits = model(tokens[:, :-1])
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    return Throughput("torch, dense", config.context, steps * tokens.numel() / median_ms(run, repeats) * 1e3)
