#!/usr/bin/env bash
# Runs every fuzz target, or those that are named, for a minute (or FUZZ_SECONDS). The stable toolchain is let use the flags that
# libFuzzer needs. Each begins with the files of fuzz/seeds/TARGET, which are the samples of the tests, and what it has found
# before, in fuzz/corpus. Inputs end at 64 KiB: the bounds of larger ones are for the tests, as no fuzzer would get there.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
export RUSTC_BOOTSTRAP=1
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
for target in "${targets[@]}"; do
    echo "fuzz: $target for $seconds s"
    mkdir -p "fuzz/corpus/$target"
    folders=("fuzz/corpus/$target")
    [ ! -d "fuzz/seeds/$target" ] || folders+=("fuzz/seeds/$target")
    flags=(-max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -print_final_stats=1)
    [ ! -f "fuzz/dictionaries/$target.dict" ] || flags+=(-dict="fuzz/dictionaries/$target.dict")
    cargo fuzz run "$target" "${folders[@]}" -- "${flags[@]}"
done
