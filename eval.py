"""Scores a trained config on a whole split: ``python eval.py configs/quickstart.py --workdir DIR [--split test]``."""

import sys

from efficient_attn.commands import errors
from efficient_attn.commands.launch import evaluate

if __name__ == "__main__":
    sys.exit(errors.run(evaluate))
