"""What may stand in the ``parameters:`` section of a LightGBM model.

LightGBM pastes the values into JSON as they are (``GBDT::GetLoadedParam``), and an unquoted word or a quotation mark in
one fails every later load. Types are those of ``Config::ParameterTypes``; names that are not listed hold text.
"""

import re
from typing import Final

_REAL = rb"-?[0-9]{1,25}(?:\.[0-9]{1,30})?(?:e[+-]?[0-9]{1,3})?"
_BRACKETS = rb"\[[0-9]{1,9}(?:,[0-9]{1,9})*\]"

_INTEGER = re.compile(rb"-?[0-9]{1,10}")
_NUMBER = re.compile(_REAL)
_SWITCH = re.compile(rb"[01]")
_NUMBERS = re.compile(_REAL + rb"(?:," + _REAL + rb")*")
_GROUPS = re.compile(_BRACKETS + rb"(?:," + _BRACKETS + rb")*")
_TEXT = re.compile(rb'[^"\\]*')

_GRAMMARS: Final = {
    _INTEGER: """
        num_iterations num_leaves num_threads seed max_depth min_data_in_leaf bagging_freq bagging_seed
        feature_fraction_seed extra_seed early_stopping_round max_drop drop_seed min_data_per_group max_cat_threshold
        max_cat_to_onehot top_k verbosity saved_feature_importance_type snapshot_freq num_grad_quant_bins max_bin
        min_data_in_bin bin_construct_sample_cnt data_random_seed start_iteration_predict num_iteration_predict
        pred_early_stop_freq objective_seed num_class lambdarank_truncation_level metric_freq multi_error_top_k
        num_machines local_listen_port time_out gpu_platform_id gpu_device_id num_gpu""",
    _NUMBER: """
        learning_rate histogram_pool_size min_sum_hessian_in_leaf bagging_fraction pos_bagging_fraction
        neg_bagging_fraction feature_fraction feature_fraction_bynode early_stopping_min_delta max_delta_step lambda_l1
        lambda_l2 linear_lambda min_gain_to_split drop_rate skip_drop top_rate other_rate cat_l2 cat_smooth
        monotone_penalty refit_decay_rate cegb_tradeoff cegb_penalty_split path_smooth pred_early_stop_margin
        scale_pos_weight sigmoid alpha fair_c poisson_max_delta_step tweedie_variance_power
        lambdarank_position_bias_regularization""",
    _SWITCH: """
        deterministic force_col_wise force_row_wise bagging_by_query extra_trees first_metric_only xgboost_dart_mode
        uniform_drop use_quantized_grad quant_train_renew_leaf stochastic_rounding linear_tree is_enable_sparse
        enable_bundle use_missing zero_as_missing feature_pre_filter pre_partition two_round header save_binary
        precise_float_parser predict_raw_score predict_leaf_index predict_contrib predict_disable_shape_check
        pred_early_stop is_unbalance boost_from_average reg_sqrt lambdarank_norm is_provide_training_metric
        gpu_use_dp""",
    _NUMBERS: """
        monotone_constraints max_bin_by_feature ignore_column categorical_feature eval_at feature_contri
        cegb_penalty_feature_lazy cegb_penalty_feature_coupled label_gain auc_mu_weights""",
    _GROUPS: "interaction_constraints",
}
_GRAMMAR_OF: Final = {name.encode(): grammar for grammar, names in _GRAMMARS.items() for name in names.split()}


def is_written_so(name: bytes, value: bytes) -> bool:
    """Whether LightGBM can have written this value of this parameter, and can read it back."""
    return not value or _GRAMMAR_OF.get(name, _TEXT).fullmatch(value) is not None
