"""The study of position encodings: its runs, and its report of losses by size of the test images."""

from analysis.records.position_text import position_text
from experiments.recipes import shapes
from experiments.studies.catalogue import STUDIES
from experiments.studies.positions import at_other_sizes
from scaling.config.edit import edit, make_config


def test_its_runs_differ_in_the_encoding_alone():
    runs = at_other_sizes(shapes.deit_nano, 2)
    names = [position_text(run) for run in runs]
    assert len(set(names)) == len(names) == 13
    plain = {edit(run, pos_embed="learned").run_id for run in runs}
    assert len(plain) == 1
    assert runs[0].packing.image_sizes == "8-12"
    assert runs[0].evaluation.eval_img_sizes == (6, 8, 10, 12, 14)


def test_adventurer_has_those_that_need_no_attention():
    studied = STUDIES["shapes.positions"]()
    kinds = {run.model.pos_embed.kind for run in studied if run.model.family == "adventurer"}
    assert kinds == {"learned", "grid", "sincos", "sincos1d", "none", "factorized", "fourier"}


def test_an_encoding_is_named_by_what_is_not_the_default():
    assert position_text(make_config(pos_embed="sincos")) == "sincos"
    assert position_text(make_config(pos_embed="fourier")) == "fourier, fractional"
    own = make_config(pos_embed="factorized", position_coordinates="fractional_ar", max_side=7)
    assert position_text(own) == "factorized, fractional_ar, max_side 7"
