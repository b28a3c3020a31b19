"""The program `lamella`. It imports little before it is prepared for stop signals."""

from __future__ import annotations

from cli import stopping


def main() -> None:
    """Run the command line of this process. A stop signal ends it with one line and leaves no unfinished file."""
    stopping.end_at_once()
    stopping.open_closed_descriptors()
    from cli.verbs import lamella
    from codec.files import remove_unfinished

    with stopping.before_end(remove_unfinished):
        try:
            lamella(prog_name="lamella")
        finally:
            stopping.ignore()
            remove_unfinished()


if __name__ == "__main__":
    main()
