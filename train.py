"""Trains a config: ``python train.py configs/quickstart.py --workdir DIR [--any-field VALUE ...]``."""

import sys

from efficient_attn.commands import errors
from efficient_attn.commands.launch import train

if __name__ == "__main__":
    sys.exit(errors.run(train))
