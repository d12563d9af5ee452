"""What can go wrong around a program like this, and the test that shows what then happens here.

The rows are those of the fault table of docs/trust.md: A pictures and data sets, B training,
C model files, D prediction and evaluation, E the service, F the surroundings. Where a row has no
test, the reason stands in its place.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "trust.md"

IMAGES, READING = "unit/pictures/test_images.py", "unit/pictures/test_reading.py"
INSPECT, JOBS = "unit/data/test_inspect.py", "unit/predict/test_jobs.py"
SOURCES, ARCHIVES = "unit/predict/test_sources.py", "unit/data/prepare/test_archives.py"
RESUME, RUNS = "contract/test_resume.py", "contract/test_runs.py"
KILLS, MACHINE = "trust/test_kills.py", "trust/test_machine.py"
CHECKPOINT, TORCHFILE = "unit/weights/test_checkpoint.py", "unit/weights/test_torchfile.py"
GATE, CREW, SERVICE = (
    "unit/serving/test_gate.py",
    "unit/serving/test_crew.py",
    "contract/test_service.py",
)
FOREIGN = "unit/evaluation/test_foreign.py"

FAULTS: dict[str, tuple[str, ...]] = {
    "A1": (
        f"{INSPECT}::test_everything_inside_the_files_is_found_in_one_go",
        f"{RUNS}::test_damaged_data_is_told_before_the_first_step_with_every_file",
    ),
    "A2": (f"{INSPECT}::test_everything_inside_the_files_is_found_in_one_go",),
    "A3": (
        f"{READING}::test_exif_turns_a_picture_as_pillow_does",
        f"{READING}::test_a_label_map_decides_whether_its_picture_is_turned",
    ),
    "A4": (
        f"{READING}::test_sixteen_bits_are_scaled_not_cut",
        f"{IMAGES}::test_grey_of_16_bits_is_no_colour",
    ),
    "A5": (f"{IMAGES}::test_label_maps_of_16_bits_a_channel_are_refused_not_cut",),
    "A6": (
        f"{IMAGES}::test_palettes_are_colours_in_pictures_and_indices_in_labels",
        "unit/data/test_doubts.py::test_masks_in_colours_are_one_question_for_all_files",
    ),
    "A7": (
        f"{IMAGES}::test_label_maps_in_colours_or_jpeg_are_refused",
        "unit/data/test_doubts.py::test_antialiased_masks_are_asked_about_and_cut_half_way",
    ),
    "A8": (
        f"{READING}::test_cmyk_is_converted_and_float_is_refused_by_name",
        f"{READING}::test_alpha_is_laid_over_white",
        f"{READING}::test_other_colour_spaces_come_near_the_colours_they_had",
    ),
    "A9": (
        "unit/pictures/test_imagefile.py::test_what_is_no_picture",
        "unit/pictures/test_imagefile.py::test_cut_files_are_refused_at_every_length",
    ),
    "A11": ("unit/pictures/test_imagefile.py::test_a_bomb_is_refused_from_its_header",),
    "A12": (f"{IMAGES}::test_bits_and_one_pixel",),
    "A13": (
        f"{JOBS}::test_a_picture_too_large_for_memory_is_refused_before_it_is_tried",
        "unit/predict/test_large.py::test_a_picture_that_is_cut_has_the_labels_of_the_whole",
    ),
    "A14": (
        f"{SOURCES}::test_two_pictures_of_one_name_are_refused",
        f"{SOURCES}::test_composed_and_decomposed_letters_are_one_name",
    ),
    "A15": (f"{INSPECT}::test_problems_of_the_listing_do_not_hide_those_in_the_files",),
    "A16": (
        "unit/cli/test_app.py::test_hostile_names_are_shown_as_they_are_and_escaped",
        f"{SOURCES}::test_names_too_long_for_an_ending_are_cut_and_stay_apart",
    ),
    "A17": (f"{SOURCES}::test_pipes_are_not_waited_for_and_links_not_followed_in_circles",),
    "A18": ("unit/cli/test_app.py::test_evaluate_refuses_other_classes_and_splits",),
    "A19": (
        "unit/data/test_label_files.py::test_large_numbers_need_16_bits",
        "unit/predict/test_predictor.py::"
        "test_the_first_of_equal_scores_wins_and_many_classes_take_sixteen_bits",
    ),
    "A20": (
        f"{INSPECT}::test_absent_classes_and_empty_maps_are_warnings",
        f"{INSPECT}::test_the_same_picture_in_two_splits_is_a_leak",
    ),
    "A21": (
        "unit/pictures/test_matfile_process.py::test_the_reader_ends_with_a_process_that_is_killed",
    ),
    "A22": (
        f"{ARCHIVES}::test_names_that_lead_out_are_refused",
        f"{ARCHIVES}::test_links_and_devices_are_left_out",
        f"{ARCHIVES}::test_a_bomb_is_refused_before_it_is_laid_down",
        "unit/data/test_unpacking.py::test_an_unsafe_archive_leaves_nothing",
    ),
    "B1": (
        f"{KILLS}::test_killed_at_random_moments_it_ends_as_if_it_never_had_been",
        f"{KILLS}::test_a_promise_that_is_broken_on_purpose_is_caught",
    ),
    "B2": (f"{KILLS}::test_killed_at_each_touch_of_a_file_it_ends_as_if_it_never_had_been",),
    "B3": (f"{MACHINE}::test_files_are_on_the_disk_before_they_have_their_names",),
    "B4": (f"{RESUME}::test_a_signal_saves_and_says_how_to_go_on",),
    "B5": (f"{RESUME}::test_a_signal_saves_and_says_how_to_go_on",),
    "B6": (f"{MACHINE}::test_a_disk_that_fills_up_ends_training_which_then_goes_on",),
    "B7": (
        f"{MACHINE}::test_a_read_only_disk_is_told_before_work_begins",
        f"{MACHINE}::test_a_folder_of_somebody_else_is_told",
    ),
    "B8": (
        f"{RUNS}::test_a_rate_that_explodes_is_named_and_the_last_state_is_finite",
        "unit/training/test_step.py::test_what_is_not_finite_stops_before_any_weight_changes",
    ),
    "B11": (f"{MACHINE}::test_64_kilobytes_of_shared_memory_suffice",),
    "B12": (f"{MACHINE}::test_the_same_command_never_waits_for_a_second_trainer",),
    "B13": (f"{MACHINE}::test_states_are_told_apart_by_their_step_and_not_by_the_clock",),
    "B14": (
        f"{RESUME}::test_a_run_does_not_go_on_with_other_data",
        "contract/test_going_on.py::test_what_a_resumed_run_may_change",
    ),
    "B15": (f"{KILLS}::test_killed_at_random_moments_it_ends_as_if_it_never_had_been",),
    "B16": (
        "unit/cli/test_stdout.py::test_a_reader_that_goes_away_is_no_error",
        f"{MACHINE}::test_surroundings_do_not_matter",
    ),
    "B17": (f"{RUNS}::test_a_step_that_cannot_fit_is_refused_before_memory_is_taken",),
    "C1": (f"{RESUME}::test_a_damaged_state_falls_back_to_the_one_before",),
    "C2": (
        f"{TORCHFILE}::test_code_in_a_file_is_refused_and_not_run",
        f"{TORCHFILE}::test_programs_are_refused_by_their_records",
    ),
    "C3": (
        f"{TORCHFILE}::test_a_bomb_is_refused_before_it_is_opened",
        f"{TORCHFILE}::test_tensors_that_do_not_own_their_bytes_are_refused",
        f"{TORCHFILE}::test_tensors_that_are_not_dense_are_refused",
        f"{CHECKPOINT}::test_a_hostile_container_is_refused",
        f"{CHECKPOINT}::test_a_net_takes_exactly_its_own_tensors",
    ),
    "C4": (
        f"{CHECKPOINT}::test_weights_that_are_not_finite_are_refused",
        "unit/predict/test_model.py::test_weights_that_are_not_finite_are_refused_by_name",
    ),
    "C5": (
        "contract/test_older_files.py::test_a_checkpoint_labels_pictures_as_it_did",
        f"{CHECKPOINT}::test_a_newer_version_is_named",
    ),
    "C6": (
        "unit/weights/test_caffe.py::test_a_hostile_file_is_refused_with_its_place",
        "unit/weights/test_caffe.py::test_every_cut_of_a_file_is_refused_or_whole",
    ),
    "C7": (f"{CHECKPOINT}::test_the_mode_follows_the_umask",),
    "C8": (
        f"{CHECKPOINT}::test_a_file_overwritten_in_place_does_not_change_what_was_loaded",
        f"{CHECKPOINT}::"
        "test_a_file_that_is_written_over_is_noticed_and_one_that_is_replaced_is_not_missed",
    ),
    "C9": (
        "unit/export/test_export.py::test_a_file_is_compared_where_the_net_takes_the_size",
        "unit/export/test_export.py::test_strange_files_are_refused_before_they_run",
    ),
    "D1": (f"{KILLS}::test_killed_at_random_moments_it_ends_as_if_it_never_had_been",),
    "D2": (f"{JOBS}::test_another_model_or_view_is_refused_and_force_replaces",),
    "D3": (f"{JOBS}::test_bad_pictures_are_listed_and_the_others_done",),
    "D4": (
        f"{SOURCES}::test_an_output_folder_that_holds_inputs_is_refused",
        f"{SOURCES}::test_an_output_folder_that_is_a_file_is_refused",
        f"{JOBS}::test_outputs_are_of_the_bytes_that_were_hashed_whatever_happens_to_the_file",
    ),
    "D5": (f"{JOBS}::test_scores_that_are_not_finite_give_no_label_map",),
    "D6": (
        f"{FOREIGN}::test_missing_and_extra_files_are_all_listed",
        f"{FOREIGN}::test_sizes_values_and_unreadable_files_are_listed_together",
    ),
    "D7": (f"{JOBS}::test_shards_share_a_folder_and_give_the_same_bytes",),
    "E1": (f"{CREW}::test_one_more_than_the_queue_holds_is_refused_and_told_when_to_come_back",),
    "E2": (f"{GATE}::test_a_body_that_is_too_long_is_refused_and_the_refusal_can_be_read",),
    "E3": (
        f"{GATE}::test_who_sends_slowly_is_told_and_holds_no_place",
        f"{GATE}::test_headers_that_do_not_end_close_the_connection",
    ),
    "E4": (f"{SERVICE}::test_what_cannot_be_labelled_is_told_with_its_code",),
    "E5": (f"{CREW}::test_a_client_that_goes_away_leaves_its_place",),
    "E6": (
        f"{SERVICE}::test_a_worker_that_is_killed_is_started_again",
        f"{CREW}::test_a_service_whose_workers_end_again_and_again_gives_up",
    ),
    "E7": (f"{CREW}::test_a_picture_that_takes_too_long_fails_at_once",),
    "E8": (f"{SERVICE}::test_a_damaged_model_and_a_taken_port_end_the_command",),
    "E10": (f"{SERVICE}::test_a_damaged_model_and_a_taken_port_end_the_command",),
    "E11": (f"{GATE}::test_a_request_that_is_not_permitted_is_told_why",),
    "E12": (f"{GATE}::test_what_is_not_there_is_a_problem_document",),
    "E13": (
        "contract/test_page.py::test_markup_in_a_class_name_is_text",
        "unit/pages/test_report.py::test_hostile_names_are_text_and_nothing_else",
    ),
    "F": (
        f"{MACHINE}::test_surroundings_do_not_matter",
        f"{MACHINE}::test_nothing_rests_on_assertions_or_passes_with_warnings",
    ),
}

WITHOUT: dict[str, str] = {
    "A10": "a flipped bit that still decodes is noticed where a run goes on with its data "
    "(fingerprints), not in a folder on its own: no list of checksums is written",
    "B9": "a loss over no pixel is 0 and finite, which the tests of the losses show one by one",
    "B10": "samples are read by threads of the one process: there is no worker to be killed",
    "E9": "a hundred stops under load are part of the soak, not of the tests",
    "E14": "the soak takes half an hour",
    "E15": "the service writes no access log",
}


@pytest.mark.parametrize("row", FAULTS)
def test_a_fault_has_tests_that_are_there(row: str) -> None:
    for caught_by in FAULTS[row]:
        file, _, name = caught_by.partition("::")
        assert name in functions(TESTS / file), f"{row}: there is no {caught_by}"


def test_every_row_of_the_page_has_a_test_or_a_reason() -> None:
    rows = re.findall(r"^\| ([A-F]\d*) \|", PAGE.read_text(encoding="utf-8"), flags=re.M)
    assert sorted(rows) == sorted(FAULTS.keys() | WITHOUT.keys())
    assert not FAULTS.keys() & WITHOUT.keys()


@cache
def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
