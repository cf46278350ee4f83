"""Python that an assistant's file names: tools, listeners and functions, each written "module:name".

A module is imported once. Changed, it needs a restart, also where the file that names it is read again.
"""

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.listener import Listener
from actors.tool import AnyTool, Tool


def load_tool(name: str, directory: Path) -> AnyTool:
    """The tool of that name. Raises ValueError, with what to do about it."""
    found = _load(name, directory)
    if not isinstance(found, Tool):
        raise ValueError(f"{name} is not a tool; put @tool before the function")
    return found


def load_listener(name: str, directory: Path) -> type[Listener]:
    """The listener of that name. Raises ValueError, with what to do about it."""
    found = _load(name, directory)
    if not isinstance(found, type) or not issubclass(found, Listener):
        raise ValueError(f"{name} is not a listener; derive the class from actors.Listener")
    if not isinstance(found.wants, tuple) or not all(isinstance(each, type) for each in found.wants):
        raise ValueError(f"{name}: wants is not a tuple of message classes; write it like wants = (HangUp,)")
    return found


def load_function(name: str, directory: Path) -> Callable[..., Any]:
    """The function of that name. Raises ValueError, with what to do about it."""
    found = _load(name, directory)
    if not callable(found):
        raise ValueError(f"{name} is not a function")
    if inspect.iscoroutinefunction(found):
        raise ValueError(f"{name} is async; it runs in a thread and may block: use def")
    return found


def _load(name: str, directory: Path) -> object:
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise ValueError(f"{name!r} does not name anything; write it like my_tools:look_up_order")
    folder = str(directory.resolve())
    if folder not in sys.path:
        sys.path.append(folder)  # at the end: a file beside the assistant's must not hide a package
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.startswith(error.name):
            raise ValueError(f"there is no module {module_name}, neither in {folder} nor installed") from None
        raise ValueError(f"{module_name} cannot be imported: {error}") from error
    except (Exception, SystemExit) as error:
        raise ValueError(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error
    try:
        found: object = getattr(module, attribute)
    except AttributeError:
        raise ValueError(f"{module_name} has no {attribute}") from None
    return found
