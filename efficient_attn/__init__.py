"""Efficient attention in JAX."""
