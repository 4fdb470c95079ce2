"""Without a network a Hugging Face data set is one line within seconds, not half a minute of retries per split."""

import pytest

from scaling.data.files.hub_sets import open_hub
from scaling.errors import ConfigError

datasets = pytest.importorskip("datasets")
constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture
def asked(monkeypatch):
    """What the client was told of the network, each time that a data set was asked for."""
    told = []

    def load_dataset(name, **_):
        told.append(constants.HF_HUB_OFFLINE)
        raise ConnectionError(f"no {name}\nnowhere")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return told


@pytest.mark.parametrize("answers", [True, False])
def test_a_hub_is_asked_only_if_it_answers(asked, monkeypatch, answers):
    monkeypatch.setattr("scaling.downloads._answers", lambda address: answers)
    with pytest.raises(ConfigError, match=r"hfds/pets has no train images with labels \(train: no pets") as caught:
        open_hub("hfds/pets", "", ("train", "training"))
    assert "\n" not in str(caught.value)
    assert asked == [not answers] * 2
    assert constants.HF_HUB_OFFLINE is False


def test_a_folder_is_none_of_the_hubs(asked, monkeypatch, tmp_path):
    def never(address):
        raise AssertionError("it was asked")

    monkeypatch.setattr("scaling.downloads._answers", never)
    with pytest.raises(ConfigError, match="has no train images"):
        open_hub(f"hfds/{tmp_path}", "", ("train",))
    assert asked == [False]
