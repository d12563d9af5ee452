"""What reimplementations of the paper's system get wrong, and the tests that catch it here.

The traps are those that questions and issues of other projects tell of (pytorch-fcn,
pytorch-semseg, wkentaro/fcn, caffe, mxnet, DIGITS and the official repository among them). Each
test is there, and asserts something.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).resolve().parents[1]


class Trap(NamedTuple):
    mistake: str
    caught_by: tuple[str, ...]
    """<file below tests>::<function>."""


HAND = "unit/nets/test_exactness.py::test_fcn8s_vgg16_equals_the_net_written_by_hand"
ALEXNET = "unit/nets/test_exactness.py::test_fcn32s_alexnet_equals_the_net_written_by_hand"

TRAPS = {
    1: Trap(
        "crops are taken from the centre, or at any offset that fits",
        (
            HAND,
            "unit/nets/heads/test_fcn.py::test_crop_offsets_are_the_released_ones",
            "unit/nets/heads/test_fcn.py::test_slack_beyond_the_crops",
            "unit/engine/test_network.py::test_crop_begins_at_the_offset_of_both_axes",
        ),
    ),
    2: Trap(
        "pad 100 becomes 1, and the offsets stay",
        (
            "unit/nets/heads/test_fcn.py::test_vgg_offsets_follow_the_closed_forms",
            "unit/nets/heads/test_fcn.py::test_alexnet_offset_follows_the_closed_form",
            "unit/nets/test_exactness.py::test_tight_and_caffe_geometry_agree_in_the_interior",
        ),
    ),
    3: Trap(
        "pools round down",
        (
            HAND,
            "unit/nets/trunks/test_trunks.py::test_sizes_are_those_of_the_fact_sheet",
            "unit/nets/test_released.py::test_sizes_of_every_map_in_the_fact_sheet",
        ),
    ),
    4: Trap(
        "a mean with the summed loss's rate, or a sum with the mean's",
        (
            "unit/training/test_optim.py::test_absurd_pairs_are_refused",
            "unit/training/test_optim.py::test_sum_with_a_small_rate_is_mean_with_a_large_one",
            "unit/training/test_step.py::"
            "test_the_sum_at_1e_10_moves_as_the_mean_at_1e_10_times_the_pixels",
        ),
    ),
    5: Trap(
        "fc6 and fc7 are not taken over, and stay random",
        (
            "unit/weights/test_surgery.py::test_vgg16_of_2014_becomes_the_trunk_of_an_fcn",
            "unit/weights/test_surgery.py::"
            "test_a_fully_connected_layer_becomes_the_convolution_that_computes_the_same",
            "contract/test_fine_tuning.py::"
            "test_layers_that_a_file_lacks_are_named_before_they_are_trained_from_random_values",
        ),
    ),
    6: Trap(
        "upsampling begins at zero or at random",
        (
            "unit/engine/test_upsampling.py::test_kernel_is_caffes",
            "unit/engine/test_network.py::test_learned_upsampling_starts_equal_to_fixed",
        ),
    ),
    7: Trap(
        "a bilinear filler fills all pairs of classes, so that each score is the sum of all",
        (
            "unit/engine/test_network.py::test_learned_upsampling_starts_equal_to_fixed",
            "unit/weights/test_surgery.py::test_a_stored_bilinear_kernel_is_checked_not_copied",
            "unit/weights/test_exporting.py::"
            "test_upsampling_is_dense_with_its_kernel_on_the_diagonal",
        ),
    ),
    8: Trap(
        "fixed upsampling, or the at-once factors, are trained by accident",
        (
            "contract/test_wiring_recipe.py::test_upsampling_is_trained_where_it_is_asked_for",
            "unit/engine/test_network.py::test_scale_is_stored_and_not_trained",
        ),
    ),
    9: Trap(
        "torchvision's weights see Caffe's pixels, or Caffe's see torchvision's",
        (
            "unit/weights/test_load.py::test_torchvisions_vgg16_gets_torchvisions_preprocessing",
            "unit/weights/test_load.py::test_caffes_vgg16_gets_caffes_preprocessing",
            "unit/weights/test_load.py::test_caffes_numbers_under_torchvisions_names_are_known",
            "contract/test_real_weights.py::test_googlenet_repeats_what_caffe_computed",
        ),
    ),
    10: Trap(
        "8s at once without 0.01 and 0.0001, or those factors on staged weights",
        (
            "unit/nets/test_exactness.py::test_the_at_once_net_equals_the_net_written_by_hand",
            "unit/nets/heads/test_fcn.py::test_at_once_scales_are_the_released_ones",
            "unit/weights/test_surgery.py::test_at_once_and_staged_weights_are_not_mixed",
        ),
    ),
    11: Trap(
        "judged on all of VOC's val after training on SBD, which holds a part of it",
        (
            "unit/data/prepare/test_voc.py::test_sbd_beside_voc_gives_the_splits_of_the_paper",
            "contract/test_leaks.py::"
            "test_evaluate_tells_of_pictures_that_were_trained_on_under_any_name",
        ),
    ),
    12: Trap(
        "palette label maps are read as colours, or 255 reaches the loss as a class",
        (
            "unit/pictures/test_images.py::"
            "test_palettes_are_colours_in_pictures_and_indices_in_labels",
            "unit/losses/test_cross_entropy.py::test_sum_is_the_sum_over_pixels_that_are_not_void",
        ),
    ),
    13: Trap(
        "mean IU of each picture, averaged",
        (
            "unit/evaluation/test_evaluate.py::test_counts_are_added_over_the_set_not_averaged",
            "unit/metrics/test_protocols.py::test_every_protocol_by_hand",
        ),
    ),
    14: Trap(
        "dropout of whole channels",
        (
            "unit/engine/test_network.py::test_dropout_drops_elements_and_scales_the_rest",
            "contract/test_pytorch_fcn.py::"
            "test_dropout_is_of_single_values_here_and_of_whole_channels_there",
        ),
    ),
    15: Trap(
        "skips are taken from convolutions instead of pools",
        (HAND, "unit/nets/test_released.py::test_who_reads_what"),
    ),
    16: Trap(
        "interpolation in place of the deconvolutions, whose scores fade at the rim",
        (
            HAND,
            "unit/nets/test_exactness.py::test_constant_scores_fade_at_the_rim_as_in_the_releases",
            "contract/test_caffe_oracle.py::test_the_border_fades_as_in_the_released_nets",
        ),
    ),
    17: Trap(
        "biases decay, or learn at the rate of weights",
        (
            "unit/training/test_optim.py::test_biases_learn_twice_as_fast_and_do_not_decay",
            "unit/training/test_optim.py::test_the_rule_of_the_released_alexnet_can_be_written",
            "unit/training/test_step.py::test_a_plain_sgd_step_by_hand",
        ),
    ),
    18: Trap(
        "AlexNet normalises before it pools, lacks its groups, or does not divide alpha",
        (
            ALEXNET,
            "unit/engine/test_network.py::test_lrn_is_torchs",
            "unit/engine/test_network.py::test_lrn_by_hand",
        ),
    ),
    19: Trap(
        "HHA is read in the order of another library, or turned as colours are",
        (
            "unit/data/test_hha.py::test_the_bytes_of_the_authors_matlab_code_come_out",
            "unit/data/test_preprocess.py::"
            "test_the_means_of_the_released_nyud_and_siftflow_layers_by_hand",
        ),
    ),
    20: Trap(
        "the logarithm is taken of metres",
        (
            "unit/data/test_preprocess.py::"
            "test_the_mean_of_a_logarithm_is_a_depth_of_two_and_a_half_metres",
            "unit/data/test_depth_files.py::test_a_likely_mistake_of_the_unit_is_told",
        ),
    ),
    21: Trap(
        "NYUDv2's 0 is a class, the 41st",
        (
            "unit/data/prepare/test_nyudv2.py::"
            "test_frames_are_cropped_and_mapped_as_by_the_scripts_of_gupta",
            "unit/data/prepare/test_nyudv2.py::"
            "test_the_archive_of_fcn_is_kept_to_the_byte_and_its_labels_lose_one",
        ),
    ),
    22: Trap(
        "PASCAL-Context's 59 classes with and without the background are one figure",
        (
            "unit/data/prepare/test_context.py::test_59_classes_and_background",
            "unit/data/prepare/test_context.py::test_background_as_void",
        ),
    ),
    23: Trap(
        "each picture once an epoch, where the original draws with replacement",
        (
            "unit/training/test_feed.py::test_draws_are_pythons_own",
            "unit/training/test_feed.py::test_pictures_are_shown_as_they_are_drawn",
        ),
    ),
    24: Trap(
        "8s at once is trained for a third of its 300,000 iterations",
        ("contract/test_recipes.py::test_each_solver",),
    ),
    25: Trap(
        "the 5^-5 that is printed for GoogLeNet's rate is read literally",
        ("unit/training/test_regimes.py::test_the_light_regime",),
    ),
    26: Trap(
        "the two streams of late fusion are added where the release takes their mean",
        (
            "unit/nets/test_exactness.py::test_late_fusion_equals_two_trunks_written_by_hand",
            "unit/nets/test_exactness.py::"
            "test_two_streams_with_a_skip_are_the_mean_of_two_whole_nets",
            "unit/nets/test_released.py::test_coefficients_are_one_for_each_map",
        ),
    ),
}


@cache
def functions(file: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def asserts(node: ast.AST) -> bool:
    """Whether something can fail: an assert, ``raises``, or another function of asserting name."""
    return any(
        isinstance(part, ast.Assert)
        or (isinstance(part, ast.Call) and "assert" in ast.unparse(part.func))
        or (isinstance(part, ast.Call) and ast.unparse(part.func).endswith("raises"))
        for part in ast.walk(node)
    )


def test_no_trap_is_left_out() -> None:
    assert list(TRAPS) == list(range(1, 27))


@pytest.mark.parametrize("number", TRAPS)
def test_every_trap_has_a_test_that_would_catch_it(number: int) -> None:
    assert TRAPS[number].caught_by
    for test in TRAPS[number].caught_by:
        file, _, name = test.partition("::")
        assert name in functions(TESTS / file), f"{test} is no test; {TRAPS[number].mistake}"
        assert asserts(functions(TESTS / file)[name]), f"{test} asserts nothing"
