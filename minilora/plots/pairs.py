"""Two sides that ran with the same seeds: by how much do they differ, seed by seed, and is that a difference?"""

from collections.abc import Sequence
from statistics import mean, stdev


def differences(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """one - other, seed by seed."""
    return [a - b for a, b in zip(one, other, strict=True)]


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of independent values."""
    return stdev(values) / len(values) ** 0.5


def differ(one: Sequence[float], other: Sequence[float]) -> bool:
    """Does every seed point the same way, and is the mean difference beyond two standard errors?"""
    values = differences(one, other)
    one_way = min(values) > 0 or max(values) < 0
    return one_way and abs(mean(values)) > 2 * standard_error(values)


def signed(one: Sequence[float], other: Sequence[float], digits: int = 3) -> str:
    """The mean difference and its standard error: "+0.012 ± 0.004"."""
    values = differences(one, other)
    return f"{mean(values):+.{digits}f} ± {standard_error(values):.{digits}f}"


def compared(one: Sequence[float], other: Sequence[float], nothing: str = "no difference beyond the seeds") -> str:
    """How losses of `one` stand to those of `other` with the same seeds, in words; infinity is a run that diverged.

    "better in every seed": all of one lie below all of the other. "lower with each seed, within their spread": each lies
    below the other of its own seed only, a weaker finding. "worse", "higher": the reverse. Else `nothing`.
    """
    if max(one) < min(other):
        return "better in every seed"
    if min(one) > max(other):
        return "worse in every seed"
    if all(a < b for a, b in zip(one, other, strict=True)):
        return "lower with each seed, within their spread"
    if all(a > b for a, b in zip(one, other, strict=True)):
        return "higher with each seed, within their spread"
    return nothing
