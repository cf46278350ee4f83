"""The assistants of a server, by the number that is called, as their files say at the moment."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.assistant import Assistant, AssistantError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often it is looked whether a file has changed, at most."""

KEPT_VERSIONS = 16
"""How many versions are kept for calls that began with them: of all files together, the latest."""

Look = tuple[str, int, int, int]
"""At a file: path, time of change in ns, size, inode. Where it differs from the last one, the file is read again."""


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    """One assistant's file, as it was last seen, with the sounds that it names."""

    looks: tuple[Look, ...]
    assistant: Assistant | None
    """its latest version without a mistake; None: there has been none"""


class Assistants:
    """One assistant, or one for each called number. Any thread; shared by all calls of a process.

    `path` is a file, or a folder in which every `*.toml` is an assistant. Of several, exactly one has no `numbers`:
    it answers all other calls. A file that changes, comes or goes counts for calls that begin afterwards; it is
    noticed when one does. Where a file has a mistake, or they do not go together, this is logged once, and what was
    there before stays. Python that a file names is imported once: changed, it needs a restart.

    A file should be replaced by renaming, as most editors do: of one that is being written, half may be seen.
    """

    def __init__(
        self,
        path: Path,
        load: Callable[[Path], Assistant] = Assistant.load,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads and checks all files. Raises AssistantError, with a line for each file that has a mistake.

        `load` reads one, and raises AssistantError where it has a mistake or cannot be served here.
        """
        self.path = path
        self._load = load
        self._clock = clock
        self._looking = threading.Lock()
        self._looked_at = clock()
        self._files: dict[Path, _File] = {}
        self._refusal = ""
        # Replaced as a whole and never altered: who reads takes what there is at the moment.
        self._all: Mapping[str, Assistant] = {}
        self._by_number: Mapping[str, Assistant] = {}
        self._versions: OrderedDict[str, Assistant] = OrderedDict()
        if problems := self._read():
            raise AssistantError("\n".join(problems))

    def choose(self, number: str, name: str | None = None, version: str | None = None) -> Assistant:
        """The assistant for a call: the one of that name, where there is one, or the one with that number.

        `name` is a file's, without `.toml`; `number` one of ours, in E.164. Otherwise it is the default. `version` is
        the one that a call began with which goes on: it goes before all, also where its file has changed since,
        as long as it is among the latest.
        """
        self._look()
        began_with = self._versions.get(version) if version else None
        named = self._all.get(name) if name else None
        return began_with or named or self._by_number.get(number) or self.default

    @property
    def default(self) -> Assistant:
        """The one without numbers, or the only one."""
        every = self.all
        return next((each for each in every.values() if not each.numbers), None) or next(iter(every.values()))

    @property
    def all(self) -> Mapping[str, Assistant]:
        """Every assistant, by its name for `choose`."""
        self._look()
        return self._all

    def _look(self) -> None:
        # Whoever comes first looks, and for no other call is there anything to wait for.
        if self._clock() < self._looked_at + LOOK_SECONDS or not self._looking.acquire(blocking=False):
            return
        try:
            self._looked_at = self._clock()
            before = self._versions
            for problem in self._read():
                logger.error("%s; the assistants stay as they were", problem)
            if self._versions is not before:
                logger.info("%s has changed: new calls have %s", self.path, ", ".join(self._all))
        finally:
            self._looking.release()

    def _read(self) -> list[str]:
        """Read what has changed. Returns what is wrong and was not so when this was last called."""
        problems = []
        try:
            paths = self._paths()
        except AssistantError as error:
            return self._refused(str(error))
        files: dict[Path, _File] = {}
        for path in paths:
            known = self._files.get(path)
            former = None if known is None else known.assistant
            # Before it is read: what changes meanwhile is seen the next time.
            look = _look_at(path)
            if known is not None and known.looks == (look, *_looks_at_sounds(former)):
                files[path] = known
                continue
            latest = former
            try:
                latest = self._load(path)
            except AssistantError as error:
                problems.append(str(error))
            files[path] = _File((look, *_looks_at_sounds(latest)), latest)
        changed = files != self._files
        self._files = files
        if not changed:
            return problems
        # A mistake elsewhere is no reason to do without a version that was good once.
        assistants = {path: file.assistant for path, file in files.items() if file.assistant is not None}
        try:
            self._take(assistants)
            self._refusal = ""
        except AssistantError as error:
            # Where a file is to blame, that has been said, and this follows from it.
            problems += [] if problems else self._refused(str(error))
        return problems

    def _refused(self, problem: str) -> list[str]:
        said, self._refusal = self._refusal, problem
        return [] if said == problem else [problem]

    def _paths(self) -> list[Path]:
        try:
            if not self.path.is_dir():
                return [self.path]
            # Hidden ones are an editor's.
            found = sorted(path for path in self.path.iterdir() if path.match("[!.]*.toml"))
        except OSError as error:
            raise AssistantError(f"{self.path}: cannot be read: {error.strerror}") from None
        if not found:
            raise AssistantError(
                f"{self.path}: there is no *.toml in it; write one, or let ASSISTANT name a file"
            )
        return found

    def _take(self, assistants: Mapping[Path, Assistant]) -> None:
        """Let these be the assistants from now on. Raises AssistantError where they do not go together."""
        numbers: dict[str, Path] = {}
        without = [path for path, assistant in assistants.items() if not assistant.numbers]
        for path, assistant in assistants.items():
            for number in assistant.numbers:
                if number in numbers:
                    raise AssistantError(
                        f"{path}: numbers: {number} is in {numbers[number]} too; only one can answer it"
                    )
                numbers[number] = path
        if len(without) > 1:
            raise AssistantError(
                f"{without[1]}: numbers: there are none, as in {without[0]}; only one can answer all other calls"
            )
        if not without and len(assistants) != 1:
            raise AssistantError(
                f"{self.path}: every file has numbers; leave them out in the one that is to answer all other calls"
            )
        versions = OrderedDict(self._versions)
        for assistant in assistants.values():
            versions[assistant.version] = assistant
            versions.move_to_end(assistant.version)
        while len(versions) > KEPT_VERSIONS + len(assistants):
            versions.popitem(last=False)
        self._versions = versions
        self._all = {path.stem: assistant for path, assistant in assistants.items()}
        self._by_number = {number: assistants[path] for number, path in numbers.items()}


def _looks_at_sounds(assistant: Assistant | None) -> tuple[Look, ...]:
    return () if assistant is None else tuple(map(_look_at, assistant.sound_files))


def _look_at(path: Path) -> Look:
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), found.st_mtime_ns, found.st_size, found.st_ino
