"""Numbers behind each choice: uncertainty, diversity, forest scoring, windows and sampling on numpy arrays.

Names are imported on first use, so ``import kernels`` costs nothing and does not import numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what the table below says, for type checkers
    from kernels.diversity.clusters import average_linkage as average_linkage
    from kernels.diversity.clusters import cluster_margin as cluster_margin
    from kernels.diversity.coverage import density as density
    from kernels.diversity.coverage import facility_location as facility_location
    from kernels.diversity.coverage import k_center_greedy as k_center_greedy
    from kernels.diversity.coverage import novelty as novelty
    from kernels.diversity.coverage import typicality as typicality
    from kernels.diversity.gower import Gower as Gower
    from kernels.diversity.gower import gower as gower
    from kernels.diversity.isolation import isolation as isolation
    from kernels.diversity.kmeans_pp import badge as badge
    from kernels.diversity.kmeans_pp import kmeans_pp as kmeans_pp
    from kernels.diversity.kmeans_pp import robust_scale as robust_scale
    from kernels.diversity.volumes import VolumeState as VolumeState
    from kernels.diversity.volumes import determinantal as determinantal
    from kernels.diversity.volumes import volume_sample as volume_sample
    from kernels.diversity.volumes import volume_state as volume_state
    from kernels.forest.forest import Forest as Forest
    from kernels.forest.model_text import ForestModel as ForestModel
    from kernels.forest.model_text import ModelTextError as ModelTextError
    from kernels.forest.model_text import parse_model as parse_model
    from kernels.sampling.bottom_k import BottomKSample as BottomKSample
    from kernels.sampling.bottom_k import StreamingTopK as StreamingTopK
    from kernels.sampling.bottom_k import TopK as TopK
    from kernels.sampling.bottom_k import bottom_k as bottom_k
    from kernels.sampling.bottom_k import bottom_k_sample as bottom_k_sample
    from kernels.sampling.bottom_k import bottom_k_threshold as bottom_k_threshold
    from kernels.sampling.bottom_k import top_k as top_k
    from kernels.sampling.estimates import Estimate as Estimate
    from kernels.sampling.estimates import active_inference as active_inference
    from kernels.sampling.estimates import hajek as hajek
    from kernels.sampling.estimates import horvitz_thompson as horvitz_thompson
    from kernels.sampling.estimates import lure as lure
    from kernels.sampling.estimates import stratified_mean as stratified_mean
    from kernels.sampling.estimates import stratified_ratio as stratified_ratio
    from kernels.sampling.hashing import coin as coin
    from kernels.sampling.hashing import hash64 as hash64
    from kernels.sampling.hashing import hash_int64 as hash_int64
    from kernels.sampling.hashing import hash_strings as hash_strings
    from kernels.sampling.hashing import unit as unit
    from kernels.sampling.weighted import WeightedReservoir as WeightedReservoir
    from kernels.sampling.weighted import WeightedSample as WeightedSample
    from kernels.sampling.weighted import exponential_bottom_k as exponential_bottom_k
    from kernels.sampling.weighted import inclusion_probabilities as inclusion_probabilities
    from kernels.sampling.weighted import poisson_sample as poisson_sample
    from kernels.sampling.weighted import priority_sample as priority_sample
    from kernels.sampling.weighted import robust_mixture as robust_mixture
    from kernels.sampling.weighted import systematic_sample as systematic_sample
    from kernels.uncertainty.committee import bald as bald
    from kernels.uncertainty.committee import consensus_entropy as consensus_entropy
    from kernels.uncertainty.committee import mean_kl as mean_kl
    from kernels.uncertainty.committee import variation_ratio as variation_ratio
    from kernels.uncertainty.committee import virtual_ends as virtual_ends
    from kernels.uncertainty.committee import vote_entropy as vote_entropy
    from kernels.uncertainty.costs import cost_margin as cost_margin
    from kernels.uncertainty.costs import expected_cost as expected_cost
    from kernels.uncertainty.costs import recalibrated as recalibrated
    from kernels.uncertainty.costs import shifted as shifted
    from kernels.uncertainty.costs import weighted_entropy as weighted_entropy
    from kernels.uncertainty.scores import breaking_ties as breaking_ties
    from kernels.uncertainty.scores import entropy as entropy
    from kernels.uncertainty.scores import least_confidence as least_confidence
    from kernels.uncertainty.scores import margin as margin
    from kernels.uncertainty.scores import power_margin as power_margin
    from kernels.uncertainty.scores import ratio as ratio
    from kernels.uncertainty.thresholds import Chosen as Chosen
    from kernels.uncertainty.thresholds import ThresholdState as ThresholdState
    from kernels.uncertainty.thresholds import variable_uncertainty as variable_uncertainty
    from kernels.windows.sketches import QuantileLayout as QuantileLayout
    from kernels.windows.sketches import add_distinct as add_distinct
    from kernels.windows.sketches import add_quantiles as add_quantiles
    from kernels.windows.sketches import distinct_estimate as distinct_estimate
    from kernels.windows.sketches import distinct_sketch as distinct_sketch
    from kernels.windows.sketches import quantile_estimate as quantile_estimate
    from kernels.windows.sketches import quantile_layout as quantile_layout
    from kernels.windows.sketches import quantile_sketch as quantile_sketch
    from kernels.windows.state import WindowSpec as WindowSpec
    from kernels.windows.state import WindowState as WindowState

_MODULE_OF = {
    # sampling/hashing
    "coin": "sampling.hashing",
    "hash64": "sampling.hashing",
    "hash_int64": "sampling.hashing",
    "hash_strings": "sampling.hashing",
    "unit": "sampling.hashing",
    # uncertainty/scores
    "breaking_ties": "uncertainty.scores",
    "entropy": "uncertainty.scores",
    "least_confidence": "uncertainty.scores",
    "margin": "uncertainty.scores",
    "power_margin": "uncertainty.scores",
    "ratio": "uncertainty.scores",
    # windows/state
    "WindowSpec": "windows.state",
    "WindowState": "windows.state",
    # sampling/bottom_k
    "BottomKSample": "sampling.bottom_k",
    "StreamingTopK": "sampling.bottom_k",
    "TopK": "sampling.bottom_k",
    "bottom_k": "sampling.bottom_k",
    "bottom_k_sample": "sampling.bottom_k",
    "bottom_k_threshold": "sampling.bottom_k",
    "top_k": "sampling.bottom_k",
    # sampling/weighted
    "WeightedReservoir": "sampling.weighted",
    "WeightedSample": "sampling.weighted",
    "exponential_bottom_k": "sampling.weighted",
    "inclusion_probabilities": "sampling.weighted",
    "poisson_sample": "sampling.weighted",
    "priority_sample": "sampling.weighted",
    "robust_mixture": "sampling.weighted",
    "systematic_sample": "sampling.weighted",
    # forest/model_text
    "ForestModel": "forest.model_text",
    "ModelTextError": "forest.model_text",
    "parse_model": "forest.model_text",
    # sampling/estimates
    "Estimate": "sampling.estimates",
    "active_inference": "sampling.estimates",
    "hajek": "sampling.estimates",
    "horvitz_thompson": "sampling.estimates",
    "lure": "sampling.estimates",
    "stratified_mean": "sampling.estimates",
    "stratified_ratio": "sampling.estimates",
    # forest/forest
    "Forest": "forest.forest",
    # diversity/kmeans_pp
    "isolation": "diversity.isolation",
    "badge": "diversity.kmeans_pp",
    "kmeans_pp": "diversity.kmeans_pp",
    "robust_scale": "diversity.kmeans_pp",
    # windows/sketches
    "QuantileLayout": "windows.sketches",
    "add_distinct": "windows.sketches",
    "add_quantiles": "windows.sketches",
    "distinct_estimate": "windows.sketches",
    "distinct_sketch": "windows.sketches",
    "quantile_estimate": "windows.sketches",
    "quantile_layout": "windows.sketches",
    "quantile_sketch": "windows.sketches",
    # uncertainty/thresholds
    "Chosen": "uncertainty.thresholds",
    "ThresholdState": "uncertainty.thresholds",
    "variable_uncertainty": "uncertainty.thresholds",
    # diversity/coverage
    "k_center_greedy": "diversity.coverage",
    "facility_location": "diversity.coverage",
    "novelty": "diversity.coverage",
    "density": "diversity.coverage",
    "typicality": "diversity.coverage",
    # diversity/gower
    "Gower": "diversity.gower",
    "gower": "diversity.gower",
    # diversity/volumes
    "determinantal": "diversity.volumes",
    "volume_sample": "diversity.volumes",
    "volume_state": "diversity.volumes",
    "VolumeState": "diversity.volumes",
    # diversity/clusters
    "average_linkage": "diversity.clusters",
    "cluster_margin": "diversity.clusters",
    # uncertainty/committee
    "bald": "uncertainty.committee",
    "consensus_entropy": "uncertainty.committee",
    "mean_kl": "uncertainty.committee",
    "variation_ratio": "uncertainty.committee",
    "virtual_ends": "uncertainty.committee",
    "vote_entropy": "uncertainty.committee",
    # uncertainty/costs
    "cost_margin": "uncertainty.costs",
    "expected_cost": "uncertainty.costs",
    "recalibrated": "uncertainty.costs",
    "shifted": "uncertainty.costs",
    "weighted_entropy": "uncertainty.costs",
}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605  (one table, not two lists that drift apart)


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'kernels' has no attribute {name!r}")
    value: object = getattr(import_module(f"kernels.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
