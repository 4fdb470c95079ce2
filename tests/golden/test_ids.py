"""No run_id and no group of a shipped recipe changes: run folders of earlier versions are found by them."""

from tests.golden import adapter, ids


def test_every_shipped_recipe_and_study_has_the_run_ids_and_groups_that_it_had():
    assert ids.taken() == ids.expected()


def test_the_ids_cover_every_shipped_recipe_and_study_and_no_two_runs_share_one():
    expected = ids.expected()
    assert {command.split()[0] for command in expected} == {*adapter.recipe_names(), *adapter.study_names()}
    run_ids = {tuple(pair) for pairs in expected.values() for pair in pairs}
    assert len({run_id for run_id, _ in run_ids}) == len(run_ids) > 200
