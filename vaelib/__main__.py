"""``python -m vaelib`` and the ``vaelib`` command."""

import sys


def main() -> None:
    """Run the command line; mistakes a person can fix are one line on stderr and exit code 2."""
    try:
        from .cli import app
    except ModuleNotFoundError as error:
        sys.exit(f"the command line needs {error.name}; install it with: pip install 'vaelib[all]'")
    from .errors import VaelibError

    try:
        app()
    except VaelibError as error:
        print(f"vaelib: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
