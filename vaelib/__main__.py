"""``python -m vaelib`` and the ``vaelib`` command."""

import sys


def main() -> None:
    """Run the command line; mistakes a person can fix are one line on stderr and exit code 2."""
    from .errors import VaelibError

    try:
        from .cli import app

        app()
    except ModuleNotFoundError as error:
        if (error.name or "vaelib").partition(".")[0] == "vaelib":
            raise  # a fault of ours, or of a study of somebody's
        sys.exit(f"this command needs {error.name}; if it is one of vaelib's extras: pip install 'vaelib[all]'")
    except VaelibError as error:
        print(f"vaelib: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
