"""What a worker carries before its first call."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ONLY_WHEN_USED = (
    "aiohttp",
    "gevent",
    "numpy",
    "psycopg",
    "requests",
    "samplerate",
    "simulator",
    "sqlalchemy.dialects.postgresql",
    "twilio.rest",
    "websockets",
)
APPLICATION = """
import sys
from config import Settings
from web import create_app
create_app(Settings(openai_realtime_url="ws://127.0.0.1:9/v1", database_url="sqlite:///" + sys.argv[1]))
print(*sys.modules)
"""


def test_a_worker_at_rest_has_loaded_nothing_that_only_some_calls_need(tmp_path: Path) -> None:
    """`twilio.rest` alone is 18 MiB and 114 ms."""
    command = [sys.executable, "-c", APPLICATION, str(tmp_path / "switchboard.db")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    loaded = set(ran.stdout.split())
    assert "web.voice" in loaded
    assert sorted(loaded & set(ONLY_WHEN_USED)) == []
