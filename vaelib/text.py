"""Numbers and counts as a reader wants them, in tables, captions and sentences."""

import math
from collections.abc import Sequence

DECIMALS = 6  # at most; what needs more is written as 4e−08

ROUNDING = 1e-9  # of a mean: an error below is that of its own arithmetic


def number(value: float | None, signed: bool = False, digits: int | None = None) -> str:
    """Return a number as a reader wants it: 1,413 or 28.5 or 0.78 or 0.0004; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    digits = _decimals(value) if digits is None else digits
    form = f",.{digits}f" if digits <= DECIMALS else ".0e"
    return f"{value:{'+' if signed else ''}z{form}}".replace("-", "\N{MINUS SIGN}")


def as_given(value: float) -> str:
    """Return a setting's number, whole or not, as somebody gave it: 1,000 or 12.5."""
    return f"{value:,.10g}"


def with_error(
    value: float | None, error: float | None, signed: bool = False, digits: int | None = None, unit: str = ""
) -> str:
    """Return "0.090 ± 0.004": a mean and its error, both with the decimals that the error's first digit needs.

    ``digits`` decimals are the least there are. A mean stands alone where there is no error.
    """
    if value is None or error is None or not math.isfinite(value) or not math.isfinite(error):
        return number(value, signed, digits) + unit
    if error <= ROUNDING * abs(value):
        return f"{number(value, signed, digits)}{unit} ± 0{unit}"
    digits = max(_decimals(max(abs(value), error)) if digits is None else digits, _first_digit(error))
    return f"{number(value, signed, min(digits, DECIMALS))}{unit} ± {number(error, digits=digits)}{unit}"


def _decimals(value: float) -> int:
    """Return how many decimals a reader wants of a number."""
    value = abs(value)
    if value >= 9.995:
        return 0 if value >= 99.95 else 1
    return max(3 if 0 < value < 0.0995 else 2, _first_digit(value))


def _first_digit(value: float) -> int:
    """Return the decimal of a number's first significant digit, 0 for one before the point."""
    return max(0, -int(f"{value:.0e}".partition("e")[2]))


def how_many(count: int, what: str) -> str:
    """Return "1 seed" or "3 seeds"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def listed(parts: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
