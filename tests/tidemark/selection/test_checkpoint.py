import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.errors import ConfigError, TopicError
from tidemark.selection.checkpoint import LONG_AGO, MAX_BYTES, Checkpoint, check_fits, encoded_size
from tidemark.selection.clock import Watermarks
from tidemark.selection.ledger import Ledger

numbers = st.integers(-(2**63) + 1, 2**63 - 1)
watermarks = st.integers(0, 60).flatmap(
    lambda n: st.builds(
        Watermarks,
        st.lists(st.none() | numbers, min_size=n, max_size=n).map(tuple),
        st.lists(st.booleans(), min_size=n, max_size=n).map(tuple),
    )
)
spent = st.integers(0, 2**62)
ledgers = st.builds(Ledger, spent) | st.builds(Ledger, spent, st.integers(1, 2**62), spent, spent, spent)
checkpoints = st.builds(Checkpoint, numbers, st.none() | st.integers(0, 2**62), watermarks, numbers, numbers, ledgers)


@given(checkpoints)
def test_a_checkpoint_comes_back_as_it_was_from_short_ascii_text(checkpoint: Checkpoint) -> None:
    text = checkpoint.encode()
    assert text.isascii()
    windows = checkpoint.ledger.hour > 0
    assert len(text) == encoded_size(len(checkpoint.watermarks.times), windows=windows) <= MAX_BYTES
    assert Checkpoint.decode(text) == checkpoint


@given(st.integers(1, 10_000))
def test_a_number_of_partitions_is_refused_exactly_where_its_checkpoint_would_not_fit(partitions: int) -> None:
    if encoded_size(partitions) <= MAX_BYTES:
        check_fits(partitions)
    else:
        with pytest.raises(ConfigError, match="use at most 387"):
            check_fits(partitions)


@given(checkpoints, st.integers(0, 200))
def test_cut_or_foreign_metadata_is_refused(checkpoint: Checkpoint, length: int) -> None:
    text = checkpoint.encode()
    for wrong in (text[: min(length, len(text) - 1)], text.replace("select1:", "monitor1:"), text + "é"):
        with pytest.raises(TopicError, match="tidemark reset FILE select --to earliest"):
            Checkpoint.decode(wrong)


def test_the_longest_checkpoint_of_one_partition_is_short() -> None:
    checkpoint = Checkpoint(1, None, Watermarks.unknown(1), LONG_AGO, LONG_AGO, Ledger())
    assert len(checkpoint.encode()) < 100
