"""Plug-ins are loaded where they are named, and their content is part of a run."""

import os
import py_compile
import sys

import pytest

from scaling.config import plugin_files
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.plugin_files import check_loaded, load_for_job, load_plugin
from scaling.errors import ConfigError, PluginNeededError
from scaling.runs.identity import same_run
from tests.plugins import no_plugin

ADDS = """
from scaling.model_specs import MODEL_SPECS, ModelSpec
MODEL_SPECS["mine_tiny"] = ModelSpec("mine", 8, 1, 8, 8)
"""


@pytest.fixture(autouse=True)
def fresh():
    with no_plugin():
        yield


def of(plugin: plugin_files.Plugin, **given: object) -> ExperimentConfig:
    return make_config(recipes=plugin.source, recipes_digest=plugin.digest, **given)


def file(folder, text=ADDS, name="mine.py"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return str(folder / name)


def loaded_afresh(path: str) -> plugin_files.Plugin:
    with no_plugin():
        return load_plugin(path)


def test_the_run_id_covers_the_content_and_not_the_place(tmp_path):
    first = loaded_afresh(file(tmp_path / "a"))
    moved = loaded_afresh(file(tmp_path / "b", name="renamed.py"))
    changed = loaded_afresh(file(tmp_path / "a", ADDS + "# a comment\n"))
    ids = [of(plugin).run_id for plugin in (first, moved, changed)]
    assert ids[0] == ids[1] != ids[2]
    assert of(first).group == of(moved).group != of(changed).group
    assert of(first) == of(moved) != of(changed)
    assert same_run(of(first), of(moved))
    assert not same_run(of(first), of(changed))
    assert make_config().run_id not in ids


def test_a_configuration_is_read_where_its_plugin_is_loaded(tmp_path):
    path = file(tmp_path)
    with no_plugin():
        config = of(load_plugin(path), backbone="mine_tiny")
        values = config.to_dict()
        assert ExperimentConfig.from_dict(values) == config
    with pytest.raises(PluginNeededError, match=r"made with the plug-in .*mine.py: add --recipes"):
        ExperimentConfig.from_dict(values)
    assert plugin_files.loaded() is None
    load_for_job(values)
    assert ExperimentConfig.from_dict(values) == config
    check_loaded(config.plugin, "RUN")


def test_numbers_of_a_run_without_own_names_are_read_without_its_plugin(tmp_path):
    values = of(loaded_afresh(file(tmp_path))).to_dict()
    config = ExperimentConfig.from_dict(values)
    with pytest.raises(PluginNeededError, match="RUN: made with the plug-in"):
        check_loaded(config.plugin, "RUN")


def test_a_job_and_a_model_refuse_another_content(tmp_path):
    path = file(tmp_path)
    config = of(loaded_afresh(path))
    file(tmp_path, ADDS + "x = 1\n")
    with no_plugin(), pytest.raises(ConfigError, match="has changed since this run was handed over"):
        load_for_job(config.to_dict())
    load_plugin(path)
    with pytest.raises(ConfigError, match=r"RUN was made with .* restore the former, or start its recipe by name"):
        check_loaded(config.plugin, "RUN")


def test_one_plugin_per_process(tmp_path):
    first, second = file(tmp_path), file(tmp_path, "x = 1\n", "other.py")
    assert load_plugin(first) is load_plugin(first)
    with pytest.raises(ConfigError, match="is loaded in this process; start a new process"):
        load_plugin(second)
    file(tmp_path, "x = 2\n")
    with pytest.raises(ConfigError, match="has changed since it was loaded"):
        load_plugin(first)


def test_what_was_hashed_is_executed_although_a_compiled_file_lies_beside_it(tmp_path):
    """Same length, same time: a cached compilation would pass for that of the new content."""
    path = file(tmp_path, "x = 1\n")
    os.utime(path, ns=(10**18, 10**18))
    py_compile.compile(path)
    file(tmp_path, "x = 2\n")
    os.utime(path, ns=(10**18, 10**18))
    assert load_plugin(path).module.x == 2


def test_the_fingerprint_of_a_package_covers_all_its_files(tmp_path):
    folder = tmp_path / "lab"
    file(folder, "from .parts import x\n", "__init__.py")
    file(folder, "x = 1\n", "parts.py")
    with no_plugin():
        first = load_plugin(f"{folder}/")
        assert (first.name, first.module.x) == ("lab", 1)
    file(folder, "x = 3\n", "parts.py")
    del sys.modules[f"{plugin_files.PREFIX}lab.parts"]
    assert loaded_afresh(f"{folder}/").digest != first.digest


def test_an_installed_package_offers_one_by_its_entry_point(tmp_path, monkeypatch):
    about = tmp_path / "lab_models-1.0.dist-info"
    file(about, "Metadata-Version: 2.1\nName: lab_models\nVersion: 1.0\n", "METADATA")
    file(about, f"[{plugin_files.GROUP}]\nlab = lab_models.plugin\n", "entry_points.txt")
    file(tmp_path / "lab_models", "", "__init__.py")
    file(tmp_path / "lab_models", ADDS, "plugin.py")
    with pytest.raises(ConfigError, match=r"--recipes lab is neither FILE\.py nor an installed plug-in"):
        load_plugin("lab")
    monkeypatch.syspath_prepend(tmp_path)
    plugin = load_plugin("lab")
    assert (plugin.name, plugin.source, plugin.module.__name__) == ("lab", "lab", "lab_models.plugin")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("gone.py", None, "gone.py: no such file"),
        ("mine.py", "x = 1\ny = undefined\n", "mine.py, line 2: NameError: name 'undefined' is not defined"),
        ("mine.py", "x = 1\n\nif x\n", "mine.py, line 3: SyntaxError: "),
        ("mine.py", "import sys\nsys.exit(3)\n", "mine.py, line 2: SystemExit: 3"),
        ("mine.py", "import nothing_of_this_name\n", "line 1: ModuleNotFoundError: No module named"),
        (
            "mine.py",
            "from scaling.config.edit import make_config\nmake_config(lr=-1)\n",
            "line 2: lr -1 must be above 0",
        ),
        ("my-file.py", "x = 1\n", "my-file cannot be the first part of a recipe's name; rename the file"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_line(tmp_path, name, text, said):
    if text is not None:
        file(tmp_path, text, name)
    with pytest.raises(ConfigError) as caught:
        load_plugin(str(tmp_path / name))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert plugin_files.loaded() is None


def test_a_variant_keeps_the_plugin(tmp_path):
    config = of(loaded_afresh(file(tmp_path)))
    assert edit(config, lr=1e-4).plugin == config.plugin
