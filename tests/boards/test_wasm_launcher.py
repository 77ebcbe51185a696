"""The launcher of WebAssembly tools: status and arguments pass through, and the stack is as large as promised."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from neuroloom.boards import toolchain, wasm_launcher

LAUNCHER = Path(wasm_launcher.__file__)


def launch(tmp_path: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "sample_tool.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-P", str(LAUNCHER), "sample_tool:run", *arguments]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_arguments_and_status_pass_through(tmp_path: Path) -> None:
    done = launch(tmp_path, "import sys\ndef run():\n    print(sys.argv)\n    return 5\n", "-p", "a b")
    assert done.stdout == "['sample_tool', '-p', 'a b']\n" and done.returncode == 5
    assert launch(tmp_path, "def run():\n    return None\n").returncode == 0
    assert launch(tmp_path, "import sys\ndef run():\n    sys.exit(3)\n").returncode == 3


def test_recursion_as_deep_as_a_long_register_chain_survives(tmp_path: Path) -> None:
    if toolchain.find("yosys").origin != "pypi":
        pytest.skip("a native Yosys has no sandbox")
    count = 12_000  # Yosys' sorting recurses once per register of this chain; with the default stack it dies here
    body = "".join(f"  $_DFF_P_ r{i} (.C(c), .D(n[{i}]), .Q(n[{i + 1}]));\n" for i in range(count))
    text = f"module top(input c, input d, output q);\n wire [{count}:0] n;\n assign n[0] = d; assign q = n[{count}];\n"
    script = "read_verilog -icells chain.v\ntorder\n"
    (tmp_path / "chain.v").write_text(text + body.replace("$_DFF_P_", "\\$_DFF_P_ ") + "endmodule\n", encoding="utf-8")
    (tmp_path / "run.ys").write_text(script, encoding="utf-8")
    done = toolchain.run("yosys", ["-q", "-s", "run.ys"], cwd=tmp_path, timeout=300)
    assert done.returncode == 0


def test_tool_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    # with no chance to clean up, as after SIGKILL or SIGTERM
    (tmp_path / "sample_tool.py").write_text("import time\ndef run():\n    time.sleep(60)\n", encoding="utf-8")
    code = (
        "import pathlib, sys, threading\nfrom neuroloom.boards import toolchain\n"
        f"tool = toolchain.Tool('sample', (sys.executable, '-P', {str(LAUNCHER)!r}, 'sample_tool:run'), '1', 'pypi', "
        "pathlib.Path('.'))\n"
        f"run = lambda: toolchain.run(tool, [], cwd=pathlib.Path({str(tmp_path)!r}), timeout=60, "
        f"env={{'PYTHONPATH': {str(tmp_path)!r}}})\n"
        "threading.Thread(target=run, daemon=True).start()\n"
        "import time; time.sleep(1.5); print('started', flush=True); time.sleep(60)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    starter.stdout.readline()
    children = [int(pid) for pid in _children(starter.pid)]
    assert children
    starter.kill()
    starter.wait()
    starter.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(_alive(pid) for pid in children):
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in children)


def _children(parent: int) -> list[str]:
    found = []
    for thread in Path(f"/proc/{parent}/task").iterdir():
        found += (thread / "children").read_text().split()
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
