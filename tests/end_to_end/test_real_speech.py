"""Prompts that a person recorded, through the whole path: what was spoken is what the model hears, byte for byte."""

import shutil
import subprocess
from pathlib import Path

import pytest

from simulator.script import silence
from simulator.wav import load_wav
from tests.end_to_end.stage import PATIENCE, Stage

PACKAGE = "asterisk-core-sounds-en-wav"
"""Debian's: 8 kHz prompts by Allison Smith, CC-BY-SA-3.0; fetched for this test, never committed."""
SOUNDS = Path("usr/share/asterisk/sounds/en_US_f_Allison")
PROMPTS = ("hello-world", "auth-thankyou", "vm-goodbye")


def fetch(cache: Path) -> Path:
    """The folder of prompts: the system's, the one of an earlier run, or a fresh download. Skips the test if none."""
    for root in (Path("/"), cache):
        if (root / SOUNDS).is_dir():
            return root / SOUNDS
    if shutil.which("apt-get") is None:
        pytest.skip(f"{PACKAGE} is a package of Debian's, and there is no apt-get here")
    fetched = subprocess.run(
        ["apt-get", "download", PACKAGE], cwd=cache, capture_output=True, text=True, check=False, timeout=50
    )
    packages = list(cache.glob(f"{PACKAGE}_*.deb"))
    if not packages:
        pytest.skip(f"{PACKAGE} cannot be had: {fetched.stderr.strip() or fetched.returncode}")
    subprocess.run(["dpkg", "-x", packages[0].name, "."], cwd=cache, check=True, timeout=50)
    return cache / SOUNDS


@pytest.mark.slow
def test_real_speech_reaches_the_model_byte_for_byte_and_in_order(
    stage: Stage, pytestconfig: pytest.Config
) -> None:
    folder = fetch(pytestconfig.cache.mkdir("real-speech"))
    prompts = [load_wav(folder / f"{name}.wav") for name in PROMPTS]
    with stage.call() as (phone, session):
        for prompt in prompts:
            phone.say(prompt + silence(100))
        phone.say(silence(400)).wait(60)
        phone.hang_up()
        phone.await_end(PATIENCE)
    assert session.closed.wait(PATIENCE)
    heard = session.audio
    places = [heard.find(prompt) for prompt in prompts]
    assert -1 not in places
    assert places == sorted(places)
