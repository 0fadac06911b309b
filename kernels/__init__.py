"""Numbers behind each choice: uncertainty, diversity, forest scoring, windows and sampling on numpy arrays.

Names are imported on first use, so ``import kernels`` costs nothing and does not import numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what the table below says, for type checkers
    from kernels.clusters import average_linkage as average_linkage
    from kernels.clusters import cluster_margin as cluster_margin
    from kernels.committee import bald as bald
    from kernels.committee import consensus_entropy as consensus_entropy
    from kernels.committee import mean_kl as mean_kl
    from kernels.committee import variation_ratio as variation_ratio
    from kernels.committee import virtual_ends as virtual_ends
    from kernels.committee import vote_entropy as vote_entropy
    from kernels.costs import cost_margin as cost_margin
    from kernels.costs import expected_cost as expected_cost
    from kernels.costs import recalibrated as recalibrated
    from kernels.costs import shifted as shifted
    from kernels.costs import weighted_entropy as weighted_entropy
    from kernels.coverage import density as density
    from kernels.coverage import facility_location as facility_location
    from kernels.coverage import k_center_greedy as k_center_greedy
    from kernels.coverage import novelty as novelty
    from kernels.coverage import typicality as typicality
    from kernels.diversity import badge as badge
    from kernels.diversity import kmeans_pp as kmeans_pp
    from kernels.diversity import robust_scale as robust_scale
    from kernels.estimates import Estimate as Estimate
    from kernels.estimates import active_inference as active_inference
    from kernels.estimates import hajek as hajek
    from kernels.estimates import horvitz_thompson as horvitz_thompson
    from kernels.estimates import lure as lure
    from kernels.estimates import stratified_mean as stratified_mean
    from kernels.estimates import stratified_ratio as stratified_ratio
    from kernels.forest import Forest as Forest
    from kernels.hashing import coin as coin
    from kernels.hashing import hash64 as hash64
    from kernels.hashing import hash_int64 as hash_int64
    from kernels.hashing import hash_strings as hash_strings
    from kernels.hashing import unit as unit
    from kernels.metrics import Gower as Gower
    from kernels.metrics import gower as gower
    from kernels.model_text import ForestModel as ForestModel
    from kernels.model_text import ModelTextError as ModelTextError
    from kernels.model_text import parse_model as parse_model
    from kernels.sampling import BottomKSample as BottomKSample
    from kernels.sampling import StreamingTopK as StreamingTopK
    from kernels.sampling import TopK as TopK
    from kernels.sampling import bottom_k as bottom_k
    from kernels.sampling import bottom_k_sample as bottom_k_sample
    from kernels.sampling import bottom_k_threshold as bottom_k_threshold
    from kernels.sampling import top_k as top_k
    from kernels.sketches import QuantileLayout as QuantileLayout
    from kernels.sketches import add_distinct as add_distinct
    from kernels.sketches import add_quantiles as add_quantiles
    from kernels.sketches import distinct_estimate as distinct_estimate
    from kernels.sketches import distinct_sketch as distinct_sketch
    from kernels.sketches import quantile_estimate as quantile_estimate
    from kernels.sketches import quantile_layout as quantile_layout
    from kernels.sketches import quantile_sketch as quantile_sketch
    from kernels.thresholds import Chosen as Chosen
    from kernels.thresholds import ThresholdState as ThresholdState
    from kernels.thresholds import variable_uncertainty as variable_uncertainty
    from kernels.uncertainty import breaking_ties as breaking_ties
    from kernels.uncertainty import entropy as entropy
    from kernels.uncertainty import least_confidence as least_confidence
    from kernels.uncertainty import margin as margin
    from kernels.uncertainty import power_margin as power_margin
    from kernels.uncertainty import ratio as ratio
    from kernels.volumes import VolumeState as VolumeState
    from kernels.volumes import determinantal as determinantal
    from kernels.volumes import volume_sample as volume_sample
    from kernels.volumes import volume_state as volume_state
    from kernels.weighted import WeightedReservoir as WeightedReservoir
    from kernels.weighted import WeightedSample as WeightedSample
    from kernels.weighted import exponential_bottom_k as exponential_bottom_k
    from kernels.weighted import inclusion_probabilities as inclusion_probabilities
    from kernels.weighted import poisson_sample as poisson_sample
    from kernels.weighted import priority_sample as priority_sample
    from kernels.weighted import robust_mixture as robust_mixture
    from kernels.weighted import systematic_sample as systematic_sample
    from kernels.windows import WindowSpec as WindowSpec
    from kernels.windows import WindowState as WindowState

_MODULE_OF = {
    # hashing
    "coin": "hashing",
    "hash64": "hashing",
    "hash_int64": "hashing",
    "hash_strings": "hashing",
    "unit": "hashing",
    # uncertainty
    "breaking_ties": "uncertainty",
    "entropy": "uncertainty",
    "least_confidence": "uncertainty",
    "margin": "uncertainty",
    "power_margin": "uncertainty",
    "ratio": "uncertainty",
    # windows
    "WindowSpec": "windows",
    "WindowState": "windows",
    # sampling
    "BottomKSample": "sampling",
    "StreamingTopK": "sampling",
    "TopK": "sampling",
    "bottom_k": "sampling",
    "bottom_k_sample": "sampling",
    "bottom_k_threshold": "sampling",
    "top_k": "sampling",
    # weighted
    "WeightedReservoir": "weighted",
    "WeightedSample": "weighted",
    "exponential_bottom_k": "weighted",
    "inclusion_probabilities": "weighted",
    "poisson_sample": "weighted",
    "priority_sample": "weighted",
    "robust_mixture": "weighted",
    "systematic_sample": "weighted",
    # model_text
    "ForestModel": "model_text",
    "ModelTextError": "model_text",
    "parse_model": "model_text",
    # estimates
    "Estimate": "estimates",
    "active_inference": "estimates",
    "hajek": "estimates",
    "horvitz_thompson": "estimates",
    "lure": "estimates",
    "stratified_mean": "estimates",
    "stratified_ratio": "estimates",
    # forest
    "Forest": "forest",
    # diversity
    "badge": "diversity",
    "kmeans_pp": "diversity",
    "robust_scale": "diversity",
    # sketches
    "QuantileLayout": "sketches",
    "add_distinct": "sketches",
    "add_quantiles": "sketches",
    "distinct_estimate": "sketches",
    "distinct_sketch": "sketches",
    "quantile_estimate": "sketches",
    "quantile_layout": "sketches",
    "quantile_sketch": "sketches",
    # thresholds
    "Chosen": "thresholds",
    "ThresholdState": "thresholds",
    "variable_uncertainty": "thresholds",
    # coverage
    "k_center_greedy": "coverage",
    "facility_location": "coverage",
    "novelty": "coverage",
    "density": "coverage",
    "typicality": "coverage",
    # metrics
    "Gower": "metrics",
    "gower": "metrics",
    # volumes
    "determinantal": "volumes",
    "volume_sample": "volumes",
    "volume_state": "volumes",
    "VolumeState": "volumes",
    # clusters
    "average_linkage": "clusters",
    "cluster_margin": "clusters",
    # committee
    "bald": "committee",
    "consensus_entropy": "committee",
    "mean_kl": "committee",
    "variation_ratio": "committee",
    "virtual_ends": "committee",
    "vote_entropy": "committee",
    # costs
    "cost_margin": "costs",
    "expected_cost": "costs",
    "recalibrated": "costs",
    "shifted": "costs",
    "weighted_entropy": "costs",
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
