from __future__ import annotations

import msgspec
from models import pipeline_text, small_model, small_pipeline

from tidemark.observe.edit import Edit, sentences
from tidemark.pipeline import Pipeline, parse
from tidemark.records import decode, encode
from tidemark.registry.deployed import Deployed
from tidemark.registry.schema import ModelSchema

WINDOW = '[[windows]]\nname = "sum_a"\nkey = "key"\naggregate = "sum"\ncolumn = "a"\nsize = "1h"\n[label]'
TEXT = pipeline_text().replace("[label]", WINDOW)


def edited(*edits: tuple[str, str]) -> Pipeline:
    text = TEXT
    for before, after in edits:
        assert before in text
        text = text.replace(before, after)
    return parse(text, "p.toml")


OLD = edited()


def told(*edits: tuple[str, str]) -> str:
    schema = ModelSchema.of(OLD)
    manifest = msgspec.structs.replace(
        small_model(ModelSchema.of(small_pipeline()))[1], features=list(schema.features), definitions=schema.ids
    )
    return "\n".join(sentences(edited(*edits), Deployed.of(OLD), manifest, 785))


def test_a_file_that_means_the_same_costs_nothing() -> None:
    reordered = ('{ name = "a" }, { name = "b" }, { name = "c" }', '{ name = "c" }, { name = "a" }, { name = "b" }')
    assert told() == told(reordered) == "no feature, window or class differs from what the flows ran with last"


def test_an_added_feature_costs_nothing_but_its_values_in_old_rows() -> None:
    shown = told(('{ name = "c" }', '{ name = "c" }, { name = "ab", sql = "a + b" }'))
    assert "added    ab (a + b): recomputed for labeled events from p.raw as far back as it reaches" in shown
    assert "labels   all stay (785 records in p.labels)" in shown
    assert "goes on until a challenger" in shown


def test_a_changed_window_puts_the_champion_out_of_force_and_says_how_far_back_is_read() -> None:
    shown = told(('size = "1h"', 'size = "2d"'))
    assert "changed  sum_a (was sum of a over 1h by key, is sum of a over 2d by key): its old values are not" in shown
    assert "goes out of force: it takes features that the pipeline has changed: sum_a is computed by another" in shown
    assert "windows  by key reach back 2881m instead of 61m: stream reads its topics again" in shown


def test_what_an_added_removed_renamed_feature_and_class_is_called() -> None:
    edit = Edit.of(
        Deployed.of(OLD),
        Deployed.of(
            edited(
                ('{ name = "b" }, { name = "c" }', '{ name = "bb", sql = "b" }, { name = "ab", sql = "a + b" }'),
                ("classes = ['no', 'yes']", "classes = ['yes', 'maybe']"),
            )
        ),
    )
    assert (edit.added, edit.removed, edit.renamed, edit.changed) == (["ab"], ["c"], {"b": "bb"}, [])
    assert (edit.new_classes, edit.old_classes) == (["maybe"], ["no"])


def test_a_column_s_change_names_the_features_that_are_made_of_it() -> None:
    shown = told(('a = { type = "float" }', 'a = { type = "float", missing = [-1] }'))
    assert "changed  a (a: what it is made of has changed)" in shown
    assert "changed  sum_a (sum of a over 1h by key: what it is made of has changed)" in shown


def test_classes_in_another_order_are_told_with_what_becomes_of_the_champion() -> None:
    shown = told(("classes = ['no', 'yes']", "classes = ['yes', 'no']"))
    assert "classes  go yes, no, where they went no, yes: what was predicted and measured before is in the old" in shown
    assert "goes out of force: its classes are ['no', 'yes'], the pipeline's ['yes', 'no']" in shown
    further = told(("classes = ['no', 'yes']", "classes = ['no', 'maybe', 'yes']"))
    assert "classes  go" not in further


NUMBER = 'type = "number"\nunit = "h"\nmin = 0\nmax = 500'
CLASSES = "classes = ['no', 'yes']\npositive = \"yes\""


def labeled(label: str) -> Pipeline:
    assert CLASSES in TEXT
    return parse(TEXT.replace(CLASSES, label), "p.toml")


def told_of_numbers(before: str, after: str) -> str:
    return "\n".join(sentences(labeled(after), Deployed.of(labeled(before)), None, 785))


def test_an_edit_of_a_label_that_is_a_number_is_told_with_what_it_does_to_answers() -> None:
    assert told_of_numbers(NUMBER, NUMBER) == "no feature, window or class differs from what the flows ran with last"
    shown = told_of_numbers(NUMBER, NUMBER.replace('"h"', '"min"'))
    assert "label    was 'h' and is 'min': answers of before are not converted, and count as if" in shown
    shown = told_of_numbers(NUMBER, NUMBER.replace('unit = "h"\n', "").replace("500", "240.5"))
    assert "label    was 'h' and is without a unit: answers of before" in shown
    assert "label    goes from 0 to 240.5, where it went from 0 to 500: answers beyond count no more" in shown
    shown = told_of_numbers(NUMBER, NUMBER.replace("500", "600"))
    assert shown.splitlines()[1] == "label    goes from 0 to 600, where it went from 0 to 500"
    shown = told_of_numbers(CLASSES, NUMBER)
    assert "label    was a class, is a number: answers of before count no more" in shown
    assert "class    yes is gone" in shown
    assert "label    was a number, is a class: answers of before count no more" in told_of_numbers(NUMBER, CLASSES)


def test_what_was_deployed_before_numbers_were_told_is_read() -> None:
    known = Deployed.of(OLD)
    assert decode(Deployed, encode(known)) == known
    older = encode(known).replace(b',"number":null', b"")
    assert decode(Deployed, older) == known
    number = labeled(NUMBER)
    unknown = msgspec.structs.replace(Deployed.of(number), number=None)
    assert "was a class" not in "\n".join(sentences(number, unknown, None, 785))
