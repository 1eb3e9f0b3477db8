"""Training throughput of the quickstart's model, beside the same model in PyTorch with its fused dense attention."""

import dataclasses

from efficient_attn.bench.steps import Trainer
from efficient_attn.bench.timing import median_ms
from efficient_attn.experiment import Experiment


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
    """The trainer's own compiled step."""
    trainer = Trainer(config)
    tokens = steps * config.batch_size * config.context
    seconds = median_ms(lambda: trainer.run(steps), repeats) / 1e3
    return Throughput("efficient_attn", config.context, tokens / seconds)


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
