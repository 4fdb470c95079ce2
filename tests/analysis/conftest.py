"""What tests of the programs that run models share: small runs, and a command that is refused."""

import pytest

from scaling.config.edit import edit


@pytest.fixture
def flexible(trained, tiny):
    """The folder of a run of one weights for patches of 8 and 4 px."""
    config = edit(tiny, patch_size=4, patch_embed="flexible", step_shapes="random_patch", patches="8,4", epochs=1)
    return trained(config) / config.run_id


@pytest.fixture
def fixed(trained, tiny):
    """The folder of a run of one patch size."""
    return trained(tiny) / tiny.run_id


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """refused(main, words, "sharpness", message): the program ends with status 2 and one line, and writes nothing."""

    def check(main, words, program, message):
        monkeypatch.chdir(tmp_path)
        assert main([*words, "--out", "out"]) == 2
        output = capsys.readouterr()
        (line,) = output.err.splitlines()
        assert line.startswith(f"{program}: ")
        assert message in line
        assert not output.out
        assert not list(tmp_path.iterdir())

    return check
