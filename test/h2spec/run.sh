#!/bin/sh
# Runs h2spec against culvert's HTTP/2 server; arguments are passed on.
set -eu
cd "$(dirname "$0")"
exec go run . "$@"
