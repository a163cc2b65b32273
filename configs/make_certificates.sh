#!/bin/sh
# Makes what the examples need into a directory: a certificate authority, and
# certificates of it for gateway.example and for a client. Needs openssl.
set -eu

dir=${1:?usage: make_certificates.sh DIRECTORY}
umask 077
mkdir -p "$dir"
cd "$dir"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
	-keyout ca.key -out ca.pem -subj "/CN=culvert example CA" 2>/dev/null

leaf() { # name, extensions
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
	printf '%s\n' "basicConstraints=CA:FALSE" "$2" >"$1.ext"
	openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial \
		-days 365 -extfile "$1.ext" -out "$1.pem" 2>/dev/null
	rm "$1.csr" "$1.ext"
}
leaf gateway "subjectAltName=DNS:gateway.example
extendedKeyUsage=serverAuth"
leaf client "subjectAltName=DNS:client.example
extendedKeyUsage=clientAuth"
rm -f ca.srl
