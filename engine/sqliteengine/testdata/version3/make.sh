#!/bin/sh
# Makes version3.db anew, with the last sources whose files are of version 3.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'git -C "$here" worktree remove --force "$tree"' EXIT
git -C "$here" worktree add --detach "$tree" "${1:-76553ac}"
cp "$here/make_test.go" "$tree/engine/sqliteengine/make_version3_test.go"
(cd "$tree/engine/sqliteengine" && rm -f version3.db && go test -count 1 -run '^TestMakeVersion3$' .)
cp "$tree/engine/sqliteengine/version3.db" "$here/version3.db"
