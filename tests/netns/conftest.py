from tests.processes.conftest import pytest_runtest_makereport  # noqa: F401 - a hook: the daemons' logs
