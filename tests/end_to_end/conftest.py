"""One server with two workers for all end-to-end tests."""

from collections.abc import Iterator

import pytest

from simulator.realtime import OfflineModel
from simulator.server_process import ServerProcess
from tests.end_to_end.stage import Greeting, Stage, server_settings


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("server")
    script = Greeting()
    with (
        OfflineModel(pace=100, **script.equipment()) as model,
        ServerProcess(server_settings(model, directory), directory) as server,
    ):
        stage = Stage(server, model, script)
        yield stage
    errors = [line for line in stage.log().splitlines() if " ERROR " in line or "Traceback" in line]
    assert errors == []
