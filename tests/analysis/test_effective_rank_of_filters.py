"""The effective rank of filters, by hand and by eigenvalues, and of the runs of a study."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.claims.filters import share_of_full_rank
from experiments.filters import main
from scaling.comparison.effective_rank import effective_rank, trained_filters
from scaling.config.edit import edit
from scaling.errors import ConfigError
from scaling.runs.record import WEIGHTS


def test_of_orthogonal_filters_it_is_their_number_and_of_multiples_it_is_1():
    assert effective_rank(torch.eye(5)) == pytest.approx(5)
    assert effective_rank(torch.outer(torch.arange(1.0, 4), torch.ones(7))) == pytest.approx(1)
    assert effective_rank(torch.diag(torch.tensor([3.0, 1]))) == pytest.approx(4 / 3**0.75)


@pytest.mark.parametrize("shape", [(6, 12), (48, 3)])
def test_it_is_the_entropy_of_the_roots_of_the_eigenvalues(shape):
    filters = np.random.default_rng(0).normal(size=shape)
    square = filters @ filters.T if shape[0] < shape[1] else filters.T @ filters
    roots = [math.sqrt(value) for value in np.linalg.eigvalsh(square)]
    entropy = -sum(root / sum(roots) * math.log(root / sum(roots)) for root in roots)
    assert effective_rank(torch.from_numpy(filters)) == pytest.approx(math.exp(entropy))


def test_the_runs_of_a_study_are_read_from_its_table(trained, tiny, tmp_path, capsys):
    results = trained(tiny)
    rows = [{"run_id": tiny.run_id, "backbone": "deit_nano", "patch": 8, "seed": 0, "embedding": "conv"}]
    table = tmp_path / "analysis" / "shapes_embeddings.csv"
    table.parent.mkdir()
    pd.DataFrame([*rows, {**rows[0], "run_id": "none", "embedding": "overlapping"}]).to_csv(table, index=False)
    (tmp_path / tiny.run_id).symlink_to(results / tiny.run_id)
    assert main([str(tmp_path)]) == 0
    found = pd.read_csv(table.parent / "shapes_embeddings_filters.csv")
    kernel = torch.load(results / tiny.run_id / WEIGHTS, weights_only=True)["model"]["patch_embed.proj.weight"]
    assert found["filters"].tolist() == [kernel.shape[0]]
    assert found["inputs"].tolist() == [kernel[0].numel()]
    assert found["effective_rank"].iloc[0] == pytest.approx(effective_rank(kernel.flatten(1)), rel=1e-5)
    assert "effective rank" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="embeddings writes it"):
        main([str(tmp_path), "cifar10.embeddings"])


def test_another_embedding_than_a_convolution_is_refused(trained, tiny):
    stem = edit(tiny, patch_embed="conv_stem")
    with pytest.raises(ConfigError, match="has the embedding conv_stem"):
        trained_filters(trained(stem) / stem.run_id)


def test_the_claim_has_the_share_of_the_largest_possible_rank():
    rows = [("deit_nano", 1, seed, 48, 3, 1.5 + 0.03 * seed) for seed in range(3)]
    rows += [("deit_nano", 8, seed, 48, 192, 12.0 + 4.8 * seed) for seed in range(3)]
    table = pd.DataFrame(rows, columns=["backbone", "patch", "seed", "filters", "inputs", "effective_rank"])
    found = share_of_full_rank(table)
    assert [one.what for one in found] == ["DeiT-nano, 1 px", "DeiT-nano, 8 px"]
    assert [one.value for one in found] == pytest.approx([0.51, 0.35])
    assert found[1].high - found[1].value == pytest.approx(4.302653 * 0.1 / math.sqrt(3))
