"""The few numbers in which repeated measurements are summed up."""

from __future__ import annotations

import math
from statistics import median


def geometric_mean(values):
    """exp of the mean of logarithms: the mean that suits ratios. None if there are no values.

    Raises
    ------
    ValueError
        If a value is not positive.
    """
    values = list(values)
    if not values:
        return None
    if min(values) <= 0:
        raise ValueError(f"values: expected positive numbers, got {min(values)}")
    return math.exp(sum(map(math.log, values)) / len(values))


def spread(values):
    """Distance between the quartiles, as a share of the median: how much repetitions differ. 0 for fewer than 3."""
    values = sorted(values)
    middle = median(values)
    if len(values) < 3 or middle <= 0:
        return 0.0
    return (quantile(values, 0.75) - quantile(values, 0.25)) / middle


def quantile(ordered, share):
    """The value below which ``share`` of the ordered values lie, linear between two of them."""
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


def paired_ratio(numerators, denominators):
    """Median of the ratios formed within each round, so that what slows one round slows both of its numbers."""
    return median(a / b for a, b in zip(numerators, denominators))
