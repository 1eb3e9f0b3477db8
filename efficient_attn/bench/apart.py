"""Measurements in a process of their own, whose largest size is then their own too."""

import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
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


def growth_mib(run: Callable[[], object]) -> float:
    """How much larger this process is at its largest while ``run`` runs than before, on Linux.

    What it was at its largest earlier, as when it imported its packages, does not hide the growth.
    """
    # Forgets the largest size so far: proc(5).
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_mib("VmRSS")
    run()
    return _status_mib("VmHWM") - before


def _status_mib(field: str) -> float:
    found = re.search(rf"^{field}:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"/proc/self/status has no line {field}")
    return int(found[1]) / 1024
