from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemark.pipeline import load, parse, schema_hash
from tidemark.pipeline.definitions import feature_ids, normalized

HEAD = """
name = "shop"
keys = ["who", "place"]
clean = [CLEAN]
raw = [{ topic = "shop.raw" }]
[time]
column = "at"
format = "epoch_us"
lateness = "10s"
[columns]
at = { type = "int" }
who = { type = "string" }
place = { type = "int" }
amount = { type = "float", required = false, missing = [-1] }
fee = { type = "float" }
kind = { type = "string", required = false }
"""
TAIL = """
[label]
classes = ["good", "bad"]
positive = "bad"
delay = "1m"
[selection]
tile = "30s"
budget = 2
explore = 1
"""
CLEAN = '"CASE WHEN amount < 0 THEN NULL ELSE amount END AS amount"'
BLOCKS = {
    "amount": '[[features]]\nname = "amount"',
    "big": '[[features]]\nname = "big"\nsql = "amount > 50"',
    "kind": '[[features]]\nname = "kind"\ncategories = ["a", "b"]',
    "fee": '[[features]]\nname = "fee"',
    "who_mean": '[[windows]]\nname = "who_mean"\nkey = "who"\naggregate = "mean"\ncolumn = "amount"\nsize = "1h"',
    "who_fee": '[[windows]]\nname = "who_fee"\nkey = "who"\naggregate = "sum"\ncolumn = "fee"\nsize = "1h"',
    "place_n": '[[windows]]\nname = "place_n"\nkey = "place"\naggregate = "count"\nsize = "2h"',
    "ratio": '[[derived]]\nname = "ratio"\nsql = "amount / who_mean"',
    "twice": '[[derived]]\nname = "twice"\nsql = "ratio * 2"',
}


def ids(blocks: dict[str, str] | None = None, head: str = HEAD, clean: str = CLEAN) -> dict[str, str]:
    text = head.replace("CLEAN", clean) + "\n".join((blocks or BLOCKS).values()) + TAIL
    return feature_ids(parse(text, "shop.toml"))


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_neither_order_nor_comments_nor_spaces_nor_the_case_of_keywords_change_what_a_feature_is(
    rng: random.Random,
) -> None:
    kinds = [list(group) for _, group in itertools.groupby(BLOCKS.items(), lambda item: item[1].split("\n")[0])]
    for group in kinds[:2]:  # derived features see those before them
        rng.shuffle(group)
    blocks = dict(itertools.chain.from_iterable(kinds))
    changed = {name: f"# a comment\n{block}" for name, block in blocks.items()}
    changed["big"] = changed["big"].replace("amount > 50", "  amount\\n >  50 -- why not")
    clean = '"case  when amount<0 then null\\n else amount end as amount /* negative */"'
    assert ids(changed, clean=clean) == ids()


@pytest.mark.parametrize(
    ("name", "before", "after", "changed"),
    [
        ("big", "> 50", "> 51", {"big"}),
        ("kind", '"a", "b"', '"b", "a"', {"kind"}),
        ("who_mean", "1h", "2h", {"who_mean", "ratio", "twice"}),
        ("who_mean", "mean", "max", {"who_mean", "ratio", "twice"}),
        ("who_mean", '"amount"', '"fee"', {"who_mean", "ratio", "twice"}),
        ("who_mean", 'size = "1h"', 'size = "1h"\ninclude_current = true', {"who_mean", "ratio", "twice"}),
        ("who_mean", 'size = "1h"', 'size = "60m"', set()),
        ("who_mean", 'size = "1h"', 'size = "1h"\nrows = 20', {"who_mean", "ratio", "twice"}),
        ("who_mean", 'size = "1h"', 'size = "1h"\ngap = "5m"', {"who_mean", "ratio", "twice"}),
        ("ratio", "/", "*", {"ratio", "twice"}),
        ("big", "amount", "fee", {"big"}),
        ("big", "amount > 50", "amount > 50 -- dollars", set()),
    ],
)
def test_a_changed_definition_changes_just_what_is_made_of_it(
    name: str, before: str, after: str, changed: set[str]
) -> None:
    other = {key: block.replace(before, after, 1) if key == name else block for key, block in BLOCKS.items()}
    if name == "who_mean" and after in {"max", '"fee"'}:  # the first of them is in its name
        block = BLOCKS[name]
        other[name] = (
            block.replace('aggregate = "mean"', 'aggregate = "max"')
            if after == "max"
            else block.replace('column = "amount"', 'column = "fee"')
        )
    was, now = ids(), ids(other)
    assert {key for key in was if was[key] != now[key]} == changed


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("missing = [-1]", "missing = [-1, 0]", {"amount", "big", "who_mean", "ratio", "twice"}),
        ('fee = { type = "float" }', 'fee = { type = "int" }', {"fee", "who_fee"}),
        ('lateness = "10s"', 'lateness = "11s"', {"who_mean", "who_fee", "place_n", "ratio", "twice"}),
        ('place = { type = "int" }', 'place = { type = "string" }', {"place_n"}),
        ('format = "epoch_us"', 'format = "epoch_ms"', {"who_mean", "who_fee", "place_n", "ratio", "twice"}),
        ('fee = { type = "float" }', 'fee = { type = "float" }\nextra = { type = "int" }', set()),
        ("amount < 0 THEN", "amount < 1 THEN", {"amount", "big", "who_mean", "ratio", "twice"}),
    ],
)
def test_a_changed_column_changes_the_features_that_read_it_and_no_other(
    before: str, after: str, changed: set[str]
) -> None:
    head = HEAD.replace("CLEAN", CLEAN)
    assert before in head
    was, now = ids(), ids(head=head.replace(before, after))
    assert {key for key in was if was[key] != now[key]} == changed


def test_a_renamed_feature_is_the_same_feature() -> None:
    renamed = dict(BLOCKS)
    renamed["who_mean"] = BLOCKS["who_mean"].replace('"who_mean"', '"mean_of_who"')
    renamed["ratio"] = BLOCKS["ratio"].replace("who_mean", "mean_of_who")
    was, now = ids(), ids(renamed)
    assert now["mean_of_who"] == was["who_mean"]


def test_texts_and_names_in_quotes_are_kept_as_they_are() -> None:
    assert normalized("""kind = 'a  -- B' OR "Who" = 'it''s'""", ["kind"]) == [
        "kind", "=", "'a  -- B'", "OR", "Who", "=", "'it''s'",
    ]  # fmt: skip


def test_windows_that_are_not_cut_have_the_definitions_that_they_had() -> None:
    """Of the version before there were `rows` and `gap`: an upgrade has nothing learn anew."""
    fraud = load(Path(__file__).parents[3] / "pipelines" / "fraud.toml")
    known = feature_ids(fraud)
    assert (known["customer_mean_7d"], known["terminal_since_last"]) == ("3536aecd", "2c581a88")
    assert schema_hash(fraud) == "963348337178cd18"
