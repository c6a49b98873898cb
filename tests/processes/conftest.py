from collections.abc import Generator
from typing import Any

import pytest

from bench.cluster import Cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of the daemons' logs with a test that failed."""
    report = yield
    given: dict[str, Any] = getattr(item, "funcargs", {})
    for nodes in given.values() if report.failed else ():
        if isinstance(nodes, Cluster):
            report.sections += [(f"log of {daemon.name}", daemon.log_tail()) for daemon in nodes.daemons]
    return report
