"""The commands of ``python -m efficient_attn``: one module each, with a frozen ``Args`` and ``main(args)``."""
