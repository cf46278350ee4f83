"""Files of calls: where they are, and how long."""

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from actors.call_file import create, erase_files, erase_older
from tests.conftest import ExpectedLogs

BEGAN = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC).timestamp()
DAY = 86400


def created(folder: Path, suffix: str = ".wav", at: float = BEGAN, kept_days: float | None = None) -> Path:
    descriptor, path = create(folder, "CA1", suffix, at, kept_days)
    os.close(descriptor)
    return path


def test_a_file_is_found_by_its_day_time_and_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert created(Path("calls")) == tmp_path / "calls/2026-11-22/101530-CA1.wav"


def test_a_call_sid_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    descriptor, path = create(tmp_path, "../../etc", ".wav", BEGAN)
    os.close(descriptor)
    assert path.parent == tmp_path / "2026-11-22"


def test_no_file_is_written_twice(tmp_path: Path) -> None:
    assert [created(tmp_path).name for _ in range(3)] == [
        "101530-CA1.wav",
        "101530-CA1-2.wav",
        "101530-CA1-3.wav",
    ]


def test_days_that_are_too_old_go_with_the_first_file_of_another(tmp_path: Path) -> None:
    for days_ago in (9, 8, 7, 1):
        created(tmp_path, at=BEGAN - days_ago * DAY, kept_days=100)
    (tmp_path / "notes").mkdir()
    created(tmp_path, kept_days=7)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "2026-11-15",
        "2026-11-21",
        "2026-11-22",
        "notes",
    ]


def test_what_is_not_ours_is_left_alone_and_said(tmp_path: Path, logs: ExpectedLogs) -> None:
    logs.expect("2026-11-12: is older than it may be, and cannot be erased")
    old = created(tmp_path, at=BEGAN - 10 * DAY)
    foreign = old.with_name("invoice.pdf")
    foreign.write_text("")
    created(tmp_path, kept_days=7)
    assert list(old.parent.iterdir()) == [foreign]


def test_several_processes_may_erase_at_once(tmp_path: Path) -> None:
    now = datetime.fromtimestamp(BEGAN, UTC)
    for days_ago in range(1, 200):
        created(tmp_path, at=BEGAN - days_ago * DAY)
    erasers = [
        threading.Thread(target=erase_older, args=[tmp_path, now - timedelta(days=7)]) for _ in range(8)
    ]
    for eraser in erasers:
        eraser.start()
    for eraser in erasers:
        eraser.join()
    assert len(list(tmp_path.iterdir())) == 7


def test_a_folder_that_is_not_there_has_nothing_to_erase(tmp_path: Path) -> None:
    erase_older(tmp_path / "recordings", datetime.now(UTC))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_searched_is_said(tmp_path: Path, logs: ExpectedLogs) -> None:
    logs.expect("recordings: cannot be searched for what is too old: Not a directory")
    (tmp_path / "recordings").write_text("")
    erase_older(tmp_path / "recordings", datetime.now(UTC))


def test_a_transcript_goes_in_all_of_its_forms_and_what_is_gone_is_no_error(tmp_path: Path) -> None:
    recording, transcript = created(tmp_path), created(tmp_path, ".jsonl")
    created(tmp_path, ".txt")
    erase_files([str(recording), str(transcript), str(recording)])
    assert list(recording.parent.iterdir()) == []
