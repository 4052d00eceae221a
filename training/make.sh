#!/usr/bin/env bash
# Art -> sprites -> model -> checkpoint folder -> scores. Takes WORK (default .work) and MINUTES (default 95).
set -euo pipefail
cd "$(dirname "$0")"
work=${WORK:-.work}
minutes=${MINUTES:-95}

# Training constantly allocates and frees large blocks. By default glibc returns each one to the system, and half
# of the time is spent on page faults.
export GLIBC_TUNABLES=glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456:glibc.malloc.hugetlb=1:glibc.malloc.arena_max=4
export OMP_WAIT_POLICY=PASSIVE

[ -d "$work/venv" ] || python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet -r requirements.txt
python="$work/venv/bin/python"
npm install --no-audit --no-fund
[ -f "$work/art/sprites.json" ] || node render.mjs "$work/art"
"$python" train.py --work "$work" --minutes "$minutes"
"$python" export.py --work "$work" --out ../models/pico
"$python" scenes.py --work "$work" --designs seen --count 150 --seed 11 --size 192 --out ../models/evaluation/seen
"$python" scenes.py --work "$work" --designs validation --count 75 --seed 12 --size 192 --out ../models/evaluation/validation
"$python" scenes.py --work "$work" --designs test --count 75 --seed 33 --size 192 --out ../models/evaluation/test
"$python" scenes.py --work "$work" --designs seen --kinds scattered "two scattered" --count 40 --seed 44 --size 192 --out ../models/evaluation/scattered
"$python" score.py ../models/evaluation/seen ../models/evaluation/validation ../models/evaluation/test ../models/evaluation/scattered
