"""The assistants of a server: which of them answers, and what becomes of it when their files change."""

import os
import threading
import wave
from pathlib import Path

import pytest

from actors.assistant import Assistant, AssistantError
from actors.assistants import KEPT_VERSIONS, LOOK_SECONDS, Assistants
from tests.conftest import ExpectedLogs

SALES, SERVICE, OTHER = "+4930111111", "+4930222222", "+4930999999"


class Folder:
    """A folder of assistants' files, and a clock that goes on when a file is looked at again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 100.0
        self.loads: list[str] = []
        self._changes = 0

    def write(self, name: str, text: str = "", instructions: str = "") -> None:
        file = self.path / f"{name}.toml"
        file.write_text(f'instructions = "{instructions or name}"\n{text}')
        # Two changes within a tick of the file system's clock would be one.
        self._changes += 1
        os.utime(file, ns=(self._changes, self._changes))

    def assistants(self, file: str = "") -> Assistants:
        return Assistants(self.path / file, self.load, lambda: self.now)

    def load(self, path: Path) -> Assistant:
        self.loads.append(path.stem)
        return Assistant.load(path)

    def wait(self) -> None:
        self.now += LOOK_SECONDS


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "assistants").mkdir()
    return Folder(tmp_path / "assistants")


@pytest.fixture
def three(folder: Folder) -> Folder:
    folder.write("desk")
    folder.write("sales", f'numbers = ["{SALES}", "+4930111112"]')
    folder.write("service", f'numbers = ["{SERVICE}"]')
    return folder


def chosen(assistants: Assistants, number: str, name: str | None = None, version: str | None = None) -> str:
    return assistants.choose(number, name, version).instructions


# Which of them


def test_a_file_is_the_only_assistant_whatever_its_numbers(folder: Folder) -> None:
    folder.write("desk", f'numbers = ["{SALES}"]')
    folder.write("other")
    assistants = folder.assistants("desk.toml")
    assert chosen(assistants, OTHER) == chosen(assistants, SALES) == "desk"
    assert list(assistants.all) == ["desk"]


def test_the_called_number_chooses_and_the_one_without_numbers_takes_the_rest(three: Folder) -> None:
    assistants = three.assistants()
    numbers = (SALES, "+4930111112", SERVICE, OTHER, "", "client:alice")
    assert [chosen(assistants, number) for number in numbers] == [
        "sales", "sales", "service", "desk", "desk", "desk",
    ]  # fmt: skip
    assert assistants.default.instructions == "desk"
    assert list(assistants.all) == ["desk", "sales", "service"]


def test_a_name_goes_before_the_number(three: Folder) -> None:
    assistants = three.assistants()
    assert chosen(assistants, SALES, "service") == "service"
    assert chosen(assistants, SALES, "gone") == "sales"
    assert chosen(assistants, SALES, "") == "sales"


def test_only_a_folders_visible_toml_files_count(three: Folder) -> None:
    for name in (".#desk.toml", "desk.toml~", "crm.py", "notes.txt"):
        (three.path / name).write_text("not TOML")
    assert list(three.assistants().all) == ["desk", "sales", "service"]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, r"assistants: there is no \*\.toml in it"),
        ({"a": "", "b": ""}, r"b\.toml: numbers: there are none, as in .*a\.toml"),
        (
            {"a": f'numbers = ["{SALES}"]', "b": f'numbers = ["{SALES}"]', "c": ""},
            rf"b\.toml: numbers: \{SALES} is in .*a\.toml too",
        ),
        ({"a": f'numbers = ["{SALES}", "{SALES}"]', "b": ""}, r"a\.toml: numbers: .* is in .*a\.toml too"),
        ({"a": f'numbers = ["{SALES}"]', "b": f'numbers = ["{SERVICE}"]'}, "every file has numbers"),
        ({"a": 'numbers = ["030 1234"]'}, r"a\.toml: numbers\.0: "),
        ({"a": 'voice = "x"', "b": "speed = 9"}, r"(?s)a\.toml: voice: .*\n.*b\.toml: speed: "),
        (
            {"a": "", "b": 'greeting = "{caler}"'},
            r"b\.toml: greeting: .*there is no \{caler\}; there are caller,",
        ),
    ],
)
def test_what_does_not_go_together_names_file_and_key(
    folder: Folder, files: dict[str, str], complaint: str
) -> None:
    for name, text in files.items():
        folder.write(name, text)
    with pytest.raises(AssistantError, match=complaint):
        folder.assistants()


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(AssistantError, match=r"cannot be read.*ASSISTANT"):
        Assistants(tmp_path / "nowhere")


# When files change


def test_nothing_is_read_a_second_time_where_nothing_has_changed(three: Folder) -> None:
    assistants = three.assistants()
    for _ in range(3):
        three.wait()
        assistants.choose(SALES)
    assert three.loads == ["desk", "sales", "service"]


def test_a_changed_file_counts_for_the_next_call_and_not_sooner_than_it_is_looked(three: Folder) -> None:
    assistants = three.assistants()
    before = assistants.choose(SALES)
    three.write("sales", f'numbers = ["{SALES}"]', "new sales")
    assert assistants.choose(SALES) is before
    three.wait()
    assert chosen(assistants, SALES) == "new sales"
    assert chosen(assistants, "+4930111112") == "desk"
    assert three.loads[3:] == ["sales"]
    assert before.instructions == "sales"


def test_a_file_of_the_same_size_and_time_is_another_one_if_it_took_its_place(three: Folder) -> None:
    assistants = three.assistants()
    old = three.path / "desk.toml"
    new = three.path / "desk.tmp"
    new.write_text(old.read_text().replace("desk", "Desk"))
    os.utime(new, ns=(old.stat().st_mtime_ns, old.stat().st_mtime_ns))
    new.replace(old)
    three.wait()
    assert chosen(assistants, OTHER) == "Desk"


def test_files_come_and_go(three: Folder) -> None:
    assistants = three.assistants()
    three.write("night", f'numbers = ["{OTHER}"]')
    (three.path / "sales.toml").unlink()
    three.wait()
    assert [chosen(assistants, number) for number in (OTHER, SALES, SERVICE)] == ["night", "desk", "service"]
    assert list(assistants.all) == ["desk", "night", "service"]


def test_a_number_moves_from_one_file_to_another(three: Folder) -> None:
    assistants = three.assistants()
    three.write("sales", f'numbers = ["{SERVICE}"]')
    three.write("service", f'numbers = ["{SALES}"]')
    three.wait()
    assert [chosen(assistants, number) for number in (SALES, SERVICE)] == ["service", "sales"]


def test_a_mistake_is_logged_once_and_changes_nothing(three: Folder, logs: ExpectedLogs) -> None:
    assistants = three.assistants()
    three.write("sales", f'numbers = ["{SALES}"]\nvoice = "nobody"')
    three.write("desk", "", "new desk")
    logs.expect(r"sales\.toml: voice: .*; the assistants stay as they were")
    for _ in range(3):
        three.wait()
        assert chosen(assistants, SALES) == "sales"
    assert chosen(assistants, OTHER) == "new desk", "the other file has no mistake"
    assert three.loads[3:] == ["desk", "sales"]
    assert len(logs.records) == 1
    three.write("sales", f'numbers = ["{SALES}"]', "mended")
    three.wait()
    assert chosen(assistants, SALES) == "mended"


def test_files_that_do_not_go_together_any_more_change_nothing(three: Folder, logs: ExpectedLogs) -> None:
    assistants = three.assistants()
    three.write("service", f'numbers = ["{SALES}"]', "new service")
    logs.expect(rf"service\.toml: numbers: \{SALES} is in .*sales\.toml too")
    for _ in range(3):
        three.wait()
        assert [chosen(assistants, number) for number in (SALES, SERVICE)] == ["sales", "service"]
    assert len(logs.records) == 1
    three.write("sales", f'numbers = ["{SERVICE}"]', "new sales")
    three.wait()
    assert [chosen(assistants, number) for number in (SALES, SERVICE)] == ["new service", "new sales"]


def test_a_file_that_was_never_right_is_not_missed(three: Folder, logs: ExpectedLogs) -> None:
    assistants = three.assistants()
    three.write("night", f'numbers = ["{OTHER}"]\nvoise = 1')
    logs.expect(r"night\.toml: voise")
    three.wait()
    assert chosen(assistants, OTHER) == "desk"
    assert list(assistants.all) == ["desk", "sales", "service"]


@pytest.mark.parametrize(
    ("gone", "complaint"),
    [("desk.toml", "every file has numbers"), ("", r"assistants: cannot be read")],
)
def test_what_is_gone_and_needed_stays(three: Folder, logs: ExpectedLogs, gone: str, complaint: str) -> None:
    assistants = three.assistants()
    (three.path / gone).rename(three.path.parent / "elsewhere")
    logs.expect(complaint)
    for _ in range(2):
        three.wait()
        assert chosen(assistants, OTHER) == "desk"
    assert len(logs.records) == 1
    (three.path.parent / "elsewhere").rename(three.path / gone)
    three.wait()
    three.write("desk", "", "new desk")
    three.wait()
    assert chosen(assistants, OTHER) == "new desk"


def test_a_folder_that_is_emptied_is_said_once_and_its_assistants_stay(
    three: Folder, logs: ExpectedLogs
) -> None:
    assistants = three.assistants()
    for file in three.path.iterdir():
        file.unlink()
    logs.expect(r"there is no \*\.toml in it")
    for _ in range(3):
        three.wait()
        assert chosen(assistants, SALES) == "sales"
    assert len(logs.records) == 1


def test_a_sound_that_changes_is_another_sound_for_new_calls(folder: Folder) -> None:
    sound = folder.path / "hm.wav"

    def record(samples: int) -> None:
        with wave.open(str(sound), "wb") as wav:
            wav.setparams((1, 2, 8000, 0, "NONE", ""))
            wav.writeframes(bytes(2 * samples))

    record(80)
    folder.write("desk", '[dead_air]\nfiller = "hm.wav"')
    assistants = folder.assistants()
    record(160)
    folder.wait()
    assert len(assistants.default.sounds.filler) == 160


# Versions


def test_a_version_is_known_after_its_file_has_changed(three: Folder) -> None:
    assistants = three.assistants()
    before = assistants.choose(SALES)
    three.write("sales", f'numbers = ["{SALES}"]', "new sales")
    three.wait()
    after = assistants.choose(SALES)
    assert after.version != before.version
    assert assistants.choose(OTHER, "desk", before.version) is before
    assert assistants.choose(OTHER, "desk", after.version) is after
    assert chosen(assistants, SERVICE, version="000000000000") == chosen(assistants, SERVICE) == "service"


def test_only_the_latest_versions_are_kept(folder: Folder) -> None:
    folder.write("desk")
    assistants = folder.assistants()
    versions = [assistants.default.version]
    for number in range(KEPT_VERSIONS + 1):
        folder.write("desk", "", f"desk {number}")
        folder.wait()
        versions.append(assistants.default.version)
    known = [assistants.choose(OTHER, version=version).version == version for version in versions]
    assert known == [False] + [True] * (KEPT_VERSIONS + 1)


def test_a_call_does_not_wait_while_another_ones_thread_reads(folder: Folder) -> None:
    folder.write("desk")
    reading, go_on = threading.Event(), threading.Event()

    def slow(path: Path) -> Assistant:
        if folder.loads:
            reading.set()
            assert go_on.wait(5)
        return folder.load(path)

    assistants = Assistants(folder.path, slow, lambda: folder.now)
    folder.write("desk", "", "new desk")
    folder.wait()
    other = threading.Thread(target=assistants.choose, args=(OTHER,))
    other.start()
    assert reading.wait(5)
    folder.wait()
    assert chosen(assistants, OTHER) == "desk"
    go_on.set()
    other.join(5)
    assert chosen(assistants, OTHER) == "new desk"
