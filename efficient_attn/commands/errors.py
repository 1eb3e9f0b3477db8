"""How a program of this library ends when something goes wrong: one readable line, and a status for scripts.

  0    done
  1    the run failed: out of memory, a full disk, a loss that is not finite
  2    the request was wrong: a value, a file that is not there; running it again cannot help
  130  interrupted from the keyboard

``EA_DEBUG=1`` in the environment shows the traceback too. Any other exception is a defect, and keeps its traceback.
"""

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator

BAD_REQUEST = (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
# NotImplementedError is a RuntimeError: what is asked for exists, but not on this machine.
FAILED_RUN = (RuntimeError, OSError, MemoryError, FloatingPointError)


def run(main: Callable[[], object]) -> None:
    """Calls ``main()``; on an expected error prints one line to stderr and exits with the status of the table above."""
    try:
        main()
        sys.stdout.flush()
    except BAD_REQUEST as error:
        _stop(error, 2)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. What is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except FAILED_RUN as error:
        _stop(error, 1)
    except KeyboardInterrupt as error:
        _stop(error, 130)


def message(error: BaseException) -> str:
    """The error in one line: all that a bad request was told, the first line of a failure (XLA's go on for pages)."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return "; ".join(lines) if isinstance(error, BAD_REQUEST) else lines[0]


@contextlib.contextmanager
def parser_in_one_line() -> Iterator[None]:
    """Makes a ``ValueError`` of one line out of the framed page with which a command-line parser refuses and exits."""
    page = io.StringIO()
    try:
        with contextlib.redirect_stderr(page):
            yield
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(_unframed(page.getvalue())) from None


def _unframed(page: str) -> str:
    """The sentences within a frame, without the section that points to the help."""
    rows = [line.strip("│ ") for line in page.splitlines() if line.startswith("│")]
    sections = "\n".join("" if set(row) == {"─"} else row for row in rows).split("\n\n")
    sentences = [" ".join(section.split()) for section in sections if not section.startswith("For full helptext")]
    return "; ".join(sentences) or " ".join(page.split())


def _stop(error: BaseException, status: int) -> None:
    if os.environ.get("EA_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    print(f"error: {message(error)}", file=sys.stderr)
    raise SystemExit(status)
