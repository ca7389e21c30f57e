#!/usr/bin/env bash
# Makes sqlite.db and redis.rdb beside this script, the stores that upgrade_test.go
# opens, with the sources as they are. Once v0.1.0 is released they are never made
# anew: a later format gets a folder of its own. Needs redis-server and redis-cli.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(mktemp -d)
cleanup() {
	[ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
	rm -rf "$data"
}
trap cleanup EXIT
cd "$here"
go build -o "$data/fill" .
"$data/fill" "$data/sqlite.db"
redis-server --port 0 --unixsocket "$data/socket" --dir "$data" --dbfilename redis.rdb --save '' --appendonly no --loglevel warning &
server=$!
until redis-cli -s "$data/socket" ping >/dev/null 2>&1; do sleep 0.1; done
redis-cli -s "$data/socket" config set port 16398 >/dev/null
"$data/fill" redis://127.0.0.1:16398
redis-cli -s "$data/socket" save
cp "$data/sqlite.db" "$data/redis.rdb" "$here"
ls -l "$here"
