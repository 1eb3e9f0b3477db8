"""Measurements in a process of their own, whose largest size is then their own too."""

import json
import resource
import subprocess
import sys
from typing import Any


def measure_apart(module: str, what: str, *arguments: Any) -> dict[str, Any]:
    """What ``python -m module arguments`` prints last, as JSON.

    Raises:
      RuntimeError: if it fails; ``what`` names it.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{what} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def largest_mib() -> float:
    """The largest size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
