"""The register of results: every published row that this library answers to, and what was measured here.

One module per source of published figures; ``register.TABLES`` lists them all; ``python -m efficient_attn results``
writes the register as ``docs/results.md``.
"""
