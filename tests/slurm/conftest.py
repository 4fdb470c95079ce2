"""A real SLURM for the tests of this folder, where `make test-slurm` asks for one; elsewhere they are skipped."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "cluster.sh"
ASKED = "PATCH_TEST_SLURM"  # set by make test-slurm: daemons are started and Debian's packages installed for it only


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The folder of a cluster that is up (cluster.sh), whose commands this process and its children call."""
    if ASKED not in os.environ:
        pytest.skip("starts the daemons of SLURM: `make test-slurm` runs it")
    pytest.importorskip("submitit")
    state = tmp_path_factory.mktemp("slurm")
    environment = {**os.environ, "PATCH_SLURM_STATE": str(state)}
    done = subprocess.run([SCRIPT, "start"], capture_output=True, text=True, env=environment)
    if done.returncode == 3:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", done.stdout.strip())
        patch.setenv("MASTER_ADDR", "127.0.0.1")  # of a run's processes: n1 is no name that a resolver knows
        yield state
    subprocess.run([SCRIPT, "stop"], env=environment, check=True)
