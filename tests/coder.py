"""A reference arithmetic coder: exact integers, no carries to get wrong, one symbol at a time (Rissanen & Langdon 1979).

The code interval [low, low + range) / 2^m starts as [0, 1); a symbol with the counts [start, start + width) of a table
whose counts sum to 2^32 narrows it to that part. Python's integers grow as needed, so nothing is ever rounded: the code
is the shortest binary fraction in the final interval, at most 2 bits longer than -log2 of the product of the tables'
probabilities. Meant to check likelihoods, not to be fast.
"""

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor

TOTAL_BITS = 32


def frequencies(probabilities: Tensor) -> list[int]:
    """Return whole counts, each at least 1, in proportion to ``probabilities`` (A,), that sum to 2^32."""
    total = 2**TOTAL_BITS
    weights = probabilities.double() / probabilities.double().sum()
    counts = (weights * (total - len(weights))).floor().long() + 1
    counts[counts.argmax()] += total - counts.sum()
    return counts.tolist()


def encode(symbols: Sequence[int], tables: Iterable[Sequence[int]]) -> tuple[int, int]:
    """Return the code of ``symbols`` as an integer and its length in bits; table i belongs to symbol i."""
    low, width, bits = 0, 1, 0
    for symbol, table in zip(symbols, tables, strict=True):
        low, width, bits = (low << TOTAL_BITS) + width * sum(table[:symbol]), width * table[symbol], bits + TOTAL_BITS
    # The shortest c / 2^n within [low, low + width) / 2^bits.
    length = max(bits - width.bit_length(), 0)
    while True:
        code = -(-low >> (bits - length))  # rounded up
        if code << (bits - length) < low + width:
            return code, length
        length += 1


def decode(code: int, length: int, count: int, table_after: Callable[[list[int]], Sequence[int]]) -> list[int]:
    """Return the ``count`` symbols of a code; ``table_after(symbols)`` is the table of the next one."""
    symbols: list[int] = []
    low, width, bits = 0, 1, 0
    for _ in range(count):
        table = table_after(symbols)
        bits += TOTAL_BITS
        low <<= TOTAL_BITS
        # The code as a number with max(bits, length) binary places; the interval's unit is the coarser of the two.
        places = max(bits, length)
        target = ((code << (places - length)) - (low << (places - bits))) >> (places - bits)
        start = symbol = 0
        while (start + table[symbol]) * width <= target:
            start, symbol = start + table[symbol], symbol + 1
        symbols.append(symbol)
        low, width = low + width * start, width * table[symbol]
    return symbols
