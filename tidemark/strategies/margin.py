"""Margin: the events whose two likeliest classes are nearest to each other."""

from __future__ import annotations

from tidemark.strategies.base import Strategy


class Margin(Strategy):
    """The smallest differences between the two likeliest classes."""

    name = "margin"
    source = "Scheffer et al. 2001"
    fails = "labels are noisy (it asks where nobody knows), or copies of one event come together"
