"""A sweep whose runs are all finished shows its table where nothing can be written any more."""

import errno
import os

import pytest

from analysis.plots import style
from experiments import sweep
from experiments.cli.resolve import resolve
from experiments.cli.sweep_options import runs_of
from scaling.errors import ConfigError
from tests.analysis.test_fit_laws import save

WORDS = ["shapes.deit_nano", "--patch", "16,8,4"]


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A folder of three finished runs that cannot be written. As root nothing keeps from writing, so the system says so
    here."""
    for patch in (16, 8, 4):
        save(tmp_path / "archive", resolve("shapes.deit_nano", patch, {})[0], 0.4 + 0.3 * patch**0.6)

    def read_only(path, content):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode & os.W_OK == 0 and access(path, mode))
    monkeypatch.setattr("analysis.report.output.write_atomically", read_only)
    monkeypatch.setattr(style, "files", lambda stem, figure: {f"{stem}.png": b""})
    for name in ("law_figure", "frontier_figure"):
        monkeypatch.setattr(f"analysis.report.law_files.{name}", lambda *args, **options: None)
    return tmp_path / "archive"


def test_the_table_is_shown_and_what_was_not_written_is_said(archive, capsys):
    assert sweep.main([*WORDS, "--results", str(archive)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("have deit_nano p") == 3
    for word in ("tokens", "top-1", "deit_nano", "power"):
        assert word in said
    assert f"not written: cannot write to {archive / 'analysis'} (Read-only file system)" in said
    assert f"`python analysis/fit_laws.py --results {archive} --out DIR` writes them elsewhere" in said


def test_a_study_too_is_shown(tmp_path, monkeypatch, capsys):
    runs = runs_of(sweep.arguments(["shapes.table5", "--patch", "8"])[1])
    for run in runs:
        save(tmp_path / "archive", run, 1.0)
    (tmp_path / "archive" / "analysis").write_text("a file in the place of the folder")
    assert sweep.main(["shapes.table5", "--patch", "8", "--results", str(tmp_path / "archive")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "shapes.table5: table and figure are not written: cannot write to" in said


def test_with_a_run_left_to_do_it_is_refused_before_anything_is_shown(archive, capsys):
    with pytest.raises(ConfigError, match=r"archive.* cannot be written; name another: --results"):
        sweep.main([*WORDS[:2], "16,8,4,2", "--results", str(archive)])
    assert capsys.readouterr().out == ""
