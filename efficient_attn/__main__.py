"""``python -m efficient_attn <command>``: see ``COMMANDS``."""

import difflib
import importlib
import sys
from collections.abc import Sequence

import tyro

from efficient_attn.commands import errors

# Modules are imported when their command is called, so that drawing a pattern does not wait for the trainer.
COMMANDS = {
    "show": ("efficient_attn.commands.show", "draw a pattern and count its blocks"),
    "sample": ("efficient_attn.commands.sample", "continue a prompt with a trained model"),
    "tokenizer": ("efficient_attn.commands.tokenizer", "learn the pieces of words of a translation configuration"),
    "crops": (
        "efficient_attn.commands.crops",
        "crop and scale the images of a configuration to the squares that it reads",
    ),
    "translate": ("efficient_attn.commands.translate", "translate sentences with a trained model"),
    "params": ("efficient_attn.commands.params", "count the parameters of a configuration"),
    "lengths": ("efficient_attn.commands.lengths", "average and 95th percentile of a task's word pieces"),
    "plan": (
        "efficient_attn.commands.plan",
        "memory, communication and time of a training step on TPUs that are not there",
    ),
    "probe": ("efficient_attn.commands.probe", "classify labelled images by the features of each layer"),
    "heads": ("efficient_attn.commands.heads", "alphas, densities and differences of the heads of a language model"),
    "bench": ("efficient_attn.commands.bench", "time attention implementations side by side"),
    "compare": ("efficient_attn.commands.compare", "runs side by side: a table, and their losses in one picture"),
    "results": ("efficient_attn.commands.results", "write or check the register of results"),
    "figures": ("efficient_attn.commands.figures", "draw the figures of the documentation"),
}
_PROGRAM = "python -m efficient_attn"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command that the arguments name."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    name, *rest = arguments
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the commands are {', '.join(COMMANDS)}"
        print(f"error: no command is called {name!r}: {hint}", file=sys.stderr)
        raise SystemExit(2)
    errors.run(lambda: _call(name, rest))


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join([f"usage: {_PROGRAM} <command> ...", "", *lines, "", f"{_PROGRAM} <command> --help explains one."])


def _call(name: str, arguments: list[str]) -> None:
    path, summary = COMMANDS[name]
    command = importlib.import_module(path)
    description = f"{summary[0].upper()}{summary[1:]}."
    with errors.parser_in_one_line():
        request = tyro.cli(command.Args, prog=f"{_PROGRAM} {name}", description=description, args=arguments)
    command.main(request)


if __name__ == "__main__":
    main()
