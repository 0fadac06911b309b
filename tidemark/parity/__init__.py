"""The stream's definition once more over what topics hold, compared with what was recorded.

`tidemark replay` runs a `Replay` over a range of events, into a shadow topic. The monitor flow has a `Checker` look at
a few events of the sample all the time.
"""
