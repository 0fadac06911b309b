"""Cases whose answer is a number: hours until a tool is worn, as an expert and two beginners tell them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from console_world import World, champion_of, fraud_cases, fraud_pipeline
from msgspec.structs import replace as struct_replace

from labeling_grpc.assist.ranking import FeatureRows
from labeling_grpc.client import Annotation, LabelingClient
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import Labeling, LabelSpec
from tidemark.records import Candidate
from tidemark.registry.serving import ActiveModel
from tidemark.training.dataset import Dataset

HOURS = {
    "type": "number",
    "unit": "h",
    "min": 0,
    "max": 500,
    "tolerance": 2,
    "delay": "7d",
    "question": "How many hours until the tool is worn?",
}


def wear_pipeline(**labeling: object) -> Pipeline:
    """The fraud's events, each with a number to be told. labeling: of the table of that name."""
    pipeline = fraud_pipeline()
    label = LabelSpec.model_validate({**HOURS, "context": pipeline.label.context})
    return pipeline.model_copy(update={"label": label, "labeling": Labeling.model_validate(labeling)})


def wear_model(pipeline: Pipeline, version: str = "v000003-89abcdef") -> ActiveModel:
    """A model that foretells about 20 h and a fifth of the amount, of the cases themselves."""
    rows = FeatureRows(pipeline)(fraud_cases().candidates)
    amount = rows[:, pipeline.feature_names.index("amount")]
    hours = np.clip(20 + amount / 5, 0, 500) + np.random.default_rng(0).uniform(0, 6, len(rows))
    ids = tuple(case.event_id for case in fraud_cases().candidates)
    data = Dataset(rows, np.zeros(len(rows), np.int64), ids, np.arange(len(rows)), 0, numbers=hours)
    return champion_of(pipeline, data, version)


def foretold(pipeline: Pipeline, model: ActiveModel, cases: Sequence[Candidate]) -> list[Candidate]:
    """Cases as a model has scored them."""
    said = model.estimates(FeatureRows(pipeline)(cases)).tolist()
    return [
        struct_replace(case, probabilities=None, value=value, low=low, high=high, model=model.version)
        for case, (value, low, high) in zip(cases, said, strict=True)
    ]


def tell(its: World, by: str, numbers: list[str], token: str = "") -> list[str]:
    """Answer as many cases as there are numbers, in the order in which they are given out; the event ids."""
    with LabelingClient(its.server.address, by, token=token) as client:
        tasks = client.lease(len(numbers))
        client.submit_many([Annotation(task, number) for task, number in zip(tasks, numbers, strict=True)])
    return [task.event_id for task in tasks]


def wear_desk(its: World, *, answered: int = 0, waiting: int = 8) -> None:
    """Give the queue cases. answered: by maria, from 20 h on in steps of 2."""
    cases = fraud_cases().candidates
    if answered:
        its.take_in(*cases[:answered])
        tell(its, "maria", [str(20 + 2 * number) for number in range(answered)])
    its.take_in(*cases[answered : answered + waiting])
