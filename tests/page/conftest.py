"""A browser for the tests of the report page."""

import pytest

from tests.page.alone import chromium


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found
