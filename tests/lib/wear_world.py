"""Cases whose answer is a number: hours until a tool is worn, as an expert and two beginners tell them."""

from __future__ import annotations

from console_world import World, fraud_cases, fraud_pipeline

from labeling_grpc.client import Annotation, LabelingClient
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import Labeling, LabelSpec

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
