"""One run over several processes: who they are, and how they find each other."""

import dataclasses

import jax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes that share a run, each started by the same command; one by itself needs none of these fields."""

    cluster: bool = False
    """Join the other processes, which JAX finds by itself on a TPU pod, under Slurm, Open MPI or Kubernetes."""
    coordinator: str | None = None
    """Where JAX does not find them: ``host:port`` of process 0, a free port there ..."""
    processes: int | None = None
    """... how many processes there are ..."""
    process: int | None = None
    """... and which of them this is, from 0."""

    def join(self) -> None:
        """Connects this process to the others; before any array is made.

        Raises:
          ValueError: if only some of ``coordinator``, ``processes`` and ``process`` are given, or they do not fit.
        """
        by_hand = {"coordinator": self.coordinator, "processes": self.processes, "process": self.process}
        missing = [name for name, value in by_hand.items() if value is None]
        if len(missing) == len(by_hand):
            if self.cluster:
                _connect()
            return
        if missing:
            raise ValueError(f"coordinator, processes and process come together; missing: {', '.join(missing)}")
        if self.cluster:
            raise ValueError("cluster finds the processes by itself: leave out coordinator, processes and process")
        if not 0 <= self.process < self.processes:
            raise ValueError(f"process must be in 0..{self.processes - 1}, got {self.process}")
        _connect(self.coordinator, self.processes, self.process)


def _connect(*where) -> None:
    # Its handler of SIGTERM would take the place of the trainer's, which agrees on a step by itself.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(*where)
    except ValueError as error:
        if where:
            raise
        raise ValueError(
            "cluster: none that JAX knows was found here (Cloud TPU, GKE, SLURM, MPI); say --coordinator HOST:PORT "
            f"--processes N --process I ({error})"
        ) from error
