"""The program `lamella`. It imports little before it is prepared for stop signals."""

from __future__ import annotations

import os
import sys

from cli import stopping


def main() -> None:
    """Run the command line of this process. A stop signal ends it with one line and leaves no unfinished file."""
    stopping.end_at_once()
    stopping.open_closed_descriptors()
    from cli.errors import one_line
    from cli.verbs import lamella
    from codec.files import remove_unfinished

    with stopping.before_end(remove_unfinished):
        try:
            lamella(prog_name="lamella")
        except OSError as error:  # only from printing the help, since the verbs turn errors into exit codes
            sys.exit(f"Error: standard output: cannot be written: {one_line(error)}")
        finally:
            stopping.ignore()
            remove_unfinished()
            discard_unwritten()


def discard_unwritten() -> None:
    """Discard what standard output does not take; else the end of the interpreter would fail for it once more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
