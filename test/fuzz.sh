#!/bin/sh
# Runs each fuzz target of the module for a while: test/fuzz.sh [TIME], where TIME
# is a duration or a number of runs such as 500x.
set -eu
time=${1:-10s}
go=${GO:-go}
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$dir"/*_test.go | sort -u); do
		echo "== $dir $target"
		"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x "$dir" </dev/null
	done
done
