"""TPU chips that need not be there: what one has, and the devices of a topology of them."""

import dataclasses
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jax.experimental import topologies

GIB = 2.0**30

# libtpu, asked for a topology, must neither look for a chip of its own nor mind another process that compiles.
# jaxlib 0.10 cannot read back the text of a program that gathers, scatters or sorts on the SparseCores of a v5p.
_ON_TENSOR_CORES = " ".join(
    f"--xla_tpu_{flag}_to_sparsecore=false"
    for flag in ("offload_gather", "enable_offloading_scatter", "enable_offloading_sort")
)
ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "LIBTPU_INIT_ARGS": _ON_TENSOR_CORES,
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """Published figures of a chip."""

    memory: float
    """Bytes of high-bandwidth memory that a program may use."""
    flops: float
    """Peak floating-point operations in a second, bfloat16."""
    bandwidth: float
    """Bytes in a second from and to its memory."""
    links: float
    """Bytes in a second that it sends over all its links to other chips."""


# Google's system architecture pages of Cloud TPU; a program on v5e may use 15.75 GiB of its 16.
CHIPS: Mapping[str, Chip] = MappingProxyType(
    {
        "v5e": Chip(memory=15.75 * GIB, flops=197e12, bandwidth=819e9, links=200e9),
        "v5p": Chip(memory=95 * GIB, flops=459e12, bandwidth=2765e9, links=600e9),
        "v6e": Chip(memory=31.25 * GIB, flops=918e12, bandwidth=1640e9, links=448e9),
    }
)


def topology(name: str) -> tuple[Chip, list[Any]]:
    """The chip and the devices of a topology such as ``v5e:4x4`` or ``v5p:8x16x16``.

    Raises:
      ValueError: if there is no such chip, or the compiler knows no such arrangement of it.
    """
    kind, colon, _ = name.partition(":")
    if kind not in CHIPS or not colon:
        raise ValueError(f"a topology is one of {', '.join(CHIPS)} and its shape, as in v5e:4x4, got {name!r}")
    # libtpu reads its options when it is first asked.
    os.environ.update(ENVIRONMENT | os.environ)
    try:
        return CHIPS[kind], list(topologies.get_topology_desc(name, platform="tpu").devices)
    except RuntimeError as error:
        raise ValueError(f"the TPU compiler knows no topology {name!r}: {str(error).splitlines()[0]}") from error
