from benchmarks.labels.proposal_streams import pipeline
from tidemark.monitoring.retention import DAY, predictions_retention
from tidemark.records.topics import Topics
from tidemark.selection.retention import proposals_retention

HOUR = 3_600_000_000


def test_predictions_are_kept_until_their_truth_has_come_and_been_measured() -> None:
    pipe = pipeline(budget=2, explore=1)
    assert predictions_retention(pipe) == 1_000_000 + pipe.label.grace + 7 * DAY + DAY


def test_proposals_are_kept_for_three_tiles_and_at_least_six_hours() -> None:
    assert proposals_retention(pipeline(budget=2, explore=1)) == 6 * HOUR
    assert proposals_retention(pipeline(budget=2, explore=1, tile="1d")) == 72 * HOUR


def test_topics_are_made_with_the_longer_of_both_retentions() -> None:
    made = {
        needed: {
            spec.name: spec.config["retention.ms"]
            for spec in Topics("p").specs(
                raw=["r"], hops=[], partitions=2, retention_ms=50, short_retention_ms=7, predictions_retention_ms=needed
            )
            if "retention.ms" in spec.config
        }
        for needed in (40, 60)
    }
    assert (made[40]["p.predictions"], made[60]["p.predictions"]) == ("50", "60")
    assert made[60]["r"] == "50"
    assert made[60]["p.proposals"] == "7"


def test_a_decision_outlives_the_prediction_that_it_was_made_of() -> None:
    segment = 7 * 24 * 3_600_000  # Kafka removes whole segments, which it writes to for a week
    for needed in (40, 60 * segment):
        specs = Topics("p").specs(
            raw=[], hops=[], partitions=2, retention_ms=50, predictions_retention_ms=needed, decisions=True
        )
        kept = {spec.name: int(spec.config.get("retention.ms", 0)) for spec in specs}
        assert kept["p.decisions"] > kept["p.predictions"] + segment
