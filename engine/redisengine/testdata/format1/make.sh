#!/usr/bin/env bash
# Makes ../format1.rdb, the dump of a server that the last version of format 1
# has filled, see main.go. Needs redis-server and the history of the repository.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=76553ac
checkout=$(mktemp -d)
data=$(mktemp -d)
cleanup() {
	[ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
	git -C "$here" worktree remove --force "$checkout"
	rm -rf "$data"
}
trap cleanup EXIT
git -C "$here" worktree add --quiet --detach "$checkout" "$version"
mkdir "$checkout/format1"
cp "$here/main.go" "$checkout/format1/"
(cd "$checkout" && go build -o "$data/format1" ./format1)
redis-server --port 16399 --dir "$data" --save '' --appendonly no --loglevel warning &
server=$!
until redis-cli -p 16399 ping >/dev/null 2>&1; do sleep 0.1; done
"$data/format1" redis://127.0.0.1:16399
redis-cli -p 16399 save
cp "$data/dump.rdb" "$here/../format1.rdb"
ls -l "$here/../format1.rdb"
