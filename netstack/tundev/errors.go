package tundev

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Why a TUN could not be opened. Open's errors wrap exactly one of them, or
// none where the kernel's word is all that is known.
var (
	// ErrMissing: there is no /dev/net/tun, or no driver behind it.
	ErrMissing = errors.New("no TUN driver: " + devicePath + " is missing")
	// ErrDenied: /dev/net/tun is there and may not be opened by this user.
	ErrDenied = errors.New(devicePath + " may not be opened")
	// ErrNotCapable: it opens, but making an interface needs CAP_NET_ADMIN in
	// the network namespace.
	ErrNotCapable = errors.New("making a TUN needs CAP_NET_ADMIN in this network namespace")
	// ErrBusy: the name belongs to another interface, or another process has
	// the TUN open.
	ErrBusy = errors.New("interface is in use")
	// ErrName: the kernel does not take the name (at most 15 bytes).
	ErrName = errors.New("not an interface name")
)

// devicePath is where wireguard/tun looks; a container or an unprivileged
// namespace mounts a node of its own there.
const devicePath = "/dev/net/tun"

// openError classifies what opening the device node said.
func openError(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("open tun %q: %w: %w", name, ErrMissing, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("open tun %q: %w: %w", name, ErrDenied, err)
	}
	return fmt.Errorf("open tun %q: %w", name, err)
}

// createError classifies what making the interface said.
func createError(name string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("create tun %q: %w: %w", name, ErrNotCapable, err)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return fmt.Errorf("create tun %q: %w: %w", name, ErrBusy, err)
	}
	return fmt.Errorf("create tun %q: %w", name, err)
}
