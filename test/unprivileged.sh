#!/bin/sh
# Runs a command as an ordinary user (uid 65534) who may open a TUN, as on a
# desktop: in a mount namespace of its own, /dev/net/tun is a node with mode
# 0666. Run it as root: test/unprivileged.sh COMMAND...
set -eu
if [ "${1:-}" != --inside ]; then
	exec unshare --mount --propagation private "$0" --inside "$@"
fi
shift
node=$(mktemp -d)
chmod 755 "$node"
mount -t tmpfs -o dev,mode=755 tmpfs "$node"
mknod -m 0666 "$node/tun" c 10 200
mkdir -p /dev/net
[ -e /dev/net/tun ] || : >/dev/net/tun
mount --bind "$node/tun" /dev/net/tun
# The binary may lie where that user cannot read it.
cp "$1" "$node/command"
chmod 755 "$node/command"
shift
cd /
exec env HOME=/nonexistent TMPDIR=/tmp setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs "$node/command" "$@"
