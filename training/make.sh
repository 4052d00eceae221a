#!/usr/bin/env bash
# Art -> sprites -> model -> matcher -> checkpoint folders -> scores. Takes WORK (default .work), MINUTES (default 95) of
# the model and MATCHER_MINUTES (default 150).
set -euo pipefail
cd "$(dirname "$0")"
work=$(realpath -m "${WORK:-.work}")

# Training constantly allocates and frees large blocks. By default glibc returns each one to the system, and half
# of the time is spent on page faults.
export GLIBC_TUNABLES=glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456:glibc.malloc.hugetlb=1:glibc.malloc.arena_max=4
export OMP_WAIT_POLICY=PASSIVE

[ -d "$work/venv" ] || python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet -r requirements.txt
python="$work/venv/bin/python"
npm install --no-audit --no-fund
[ -f "$work/art/sprites.json" ] || node render.mjs "$work/art"
"$python" train.py --work "$work" --minutes "${MINUTES:-95}"
"$python" export.py --work "$work" --out "$work/models/pico"
"$python" views.py --work "$work" --checkpoint "$work/models/pico"
"$python" matcher.py --work "$work" --checkpoint "$work/models/pico" --minutes "${MATCHER_MINUTES:-150}"
"$python" export.py --work "$work" --run itm --matcher "$work/models/pico" --out "$work/models/pico-itm"

# Scores, from the graphs that onnxruntime-node runs.
"$python" pack.py --work "$work" --designs trained --count 300 --seed 101 --size 256 --out "$work/packs/seen"
"$python" pack.py --work "$work" --designs unseen --count 300 --seed 102 --size 256 --out "$work/packs/unseen"
"$python" pack.py --work "$work" --designs trained --kinds scattered "two scattered" --count 100 --seed 201 --size 256 --out "$work/packs/scattered"
"$python" matching_pack.py --work "$work" --designs trained --count 1000 --seed 301 --out "$work/packs/matching-seen"
"$python" matching_pack.py --work "$work" --designs unseen --count 300 --seed 302 --out "$work/packs/matching-unseen"
(cd .. && npm install --no-audit --no-fund && npm run compile)
node ../dist/cli/main.js build "$work/models/pico" --with "$work/models/pico-itm" --out "$work/artifact" --precision fp32
node ../dist/cli/main.js evaluate --model "$work/artifact" "$work/packs/seen" "$work/packs/unseen" "$work/packs/scattered"
node score-matching.mjs "$work/artifact" "$work/packs/matching-seen" "$work/packs/matching-unseen"
