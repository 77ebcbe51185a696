#!/usr/bin/env bash
# The demo: a trained logic-gate network from ONNX to a board's serial port, the same bits at every stage.
# Run it with `make demo`. BIN holds the commands, OUT takes the results, BOARD names the board.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=${BIN:-.venv/bin} out=${OUT:-build/demo} board=${BOARD:-icebreaker}
mkdir -p "$out"
nl="$bin/neuroloom"

step() { printf '\n\033[1m== %s\033[0m\n' "$1"; shift; printf '$ %s\n' "$*"; "$@"; }

step "Real images: scikit-learn's digits, the test part that training never saw" \
    "$bin/python" "$here/images.py" "$out/digits.npz"

step "Compile: ONNX -> exact integer graph, optimised for 4-input lookup tables" \
    "$nl" compile "$here/digits_logic.onnx" --board "$board" --input-bounds 0..16 -o "$out/digits.nloom"

step "Inspect: layers, types, proven ranges, predicted cycles" \
    "$nl" inspect "$out/digits.nloom"

step "Accuracy: the ONNX source in onnxruntime, and the graph" \
    "$nl" eval "$out/digits.nloom" -i "$out/digits.npz" --source "$here/digits_logic.onnx"

# Two seeds, one per core, to keep the demo short; a build takes three unless told otherwise. Verify takes the file; the report
# finds the build in the cache, by the same seeds.
seeds=1,2
step "Build: a real bitstream, two place-and-route seeds" \
    "$nl" build "$out/digits.nloom" --board "$board" --seeds "$seeds" -o "$out/$board"

step "Verify: every rung equal to the graph, down to the bitstream file" \
    "$nl" verify "$out/digits.nloom" -i "$out/digits.npz" --board "$board" --to bitstream --samples 40 \
    --image "$out/$board/$board.bin" --skip-missing -o "$out/verified.json"

# With the unpacker's tables the virtual board executes the bitstream file itself, else the RTL it was built from.
design="$out/digits.nloom"
grep -A1 '"name": "bitstream"' "$out/verified.json" | grep -q '"ok": true' && design="$out/$board/$board.bin"
step "Run: the virtual board executes $design and answers on a serial port, as a real one would" \
    "$nl" emulate "$design" --board "$board" \
    --then "$nl run $out/digits.nloom --port {port} -i $out/digits.npz --labels $out/digits.npz --check"

step "Report: one page" \
    "$nl" report "$out/digits.nloom" -i "$out/digits.npz" --source "$here/digits_logic.onnx" --board "$board" \
    --seeds "$seeds" --verified "$out/verified.json" -o "$out/report.html"

printf '\nOpen %s in a browser.\n' "$out/report.html"
printf 'With a board on your desk: %s flash %s/%s/%s.bin --board %s, then the same run with --port /dev/ttyUSB1\n' \
    "$nl" "$out" "$board" "$board" "$board"
