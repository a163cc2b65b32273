#!/bin/sh
# Generates the Go code of culvert's own messages, configs/culvert/v1/*.pb.go,
# with the plugins that go.mod names. Needs protoc (Debian: protobuf-compiler).
set -eu

cd "$(dirname "$0")/../.."

if ! command -v protoc >/dev/null; then
	echo "generate.sh: protoc is missing: apt-get install protobuf-compiler" >&2
	exit 1
fi

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
install() { # package module
	GOBIN="$bin" go install "$1@$(go list -m -f '{{.Version}}' "$2")"
}
install google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/protobuf
install github.com/envoyproxy/protoc-gen-validate github.com/envoyproxy/protoc-gen-validate

pgv=$(go list -m -f '{{.Dir}}' github.com/envoyproxy/protoc-gen-validate)

PATH="$bin:$PATH" protoc \
	-I configs -I "$pgv" \
	--go_out=configs --go_opt=paths=source_relative \
	--validate_out=lang=go,paths=source_relative:configs \
	configs/culvert/v1/*.proto

# The plugin writes the version of protoc it ran under, which differs from
# machine to machine and says nothing about the code.
sed -i '/^\/\/ \tprotoc  *v/d' configs/culvert/v1/*.pb.go
gofmt -w configs/culvert/v1/*.go
