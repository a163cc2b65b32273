package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// LoopbackUp brings lo up; in a new namespace it is down.
func (n *Namespace) LoopbackUp() error {
	return n.withHandle(func(h *netlink.Handle) error {
		lo, err := h.LinkByName("lo")
		if err == nil {
			err = h.LinkSetUp(lo)
		}
		if err != nil {
			return &Error{Op: "bring up", Object: "lo", Err: err, Fix: fixFor(err)}
		}
		return nil
	})
}

// VethPair makes two virtual interfaces that are each other's far end: nameA in
// a and nameB in b. They are down and without addresses; a [Plan] for each does
// the rest. Removing one, or ending its namespace, removes both.
func VethPair(a *Namespace, nameA string, b *Namespace, nameB string) error {
	err := a.withHandle(func(h *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = nameA
		return h.LinkAdd(&netlink.Veth{
			LinkAttrs:     attrs,
			PeerName:      nameB,
			PeerNamespace: netlink.NsFd(b.file.Fd()),
		})
	})
	if err != nil {
		return &Error{Op: "add veth pair", Object: nameA + " and " + nameB, Err: err, Fix: fixFor(err)}
	}
	return nil
}

// RemoveLink removes an interface; one that is not there is no error.
func (n *Namespace) RemoveLink(name string) error {
	return n.withHandle(func(h *netlink.Handle) error {
		link, err := h.LinkByName(name)
		if err == nil {
			err = h.LinkDel(link)
		}
		if err != nil && !gone(err) {
			return &Error{Op: "remove", Object: name, Err: err, Fix: fixFor(err)}
		}
		return nil
	})
}

// HasLink reports whether an interface of that name is in the namespace.
func (n *Namespace) HasLink(name string) (bool, error) {
	found := false
	err := n.withHandle(func(h *netlink.Handle) error {
		_, err := h.LinkByName(name)
		found = err == nil
		if gone(err) {
			return nil
		}
		return err
	})
	return found, err
}

// Sysctl sets a kernel parameter of the namespace, named by its path below
// /proc/sys/net or with dots: "ipv4/ip_forward", "ipv4.ip_forward".
func (n *Namespace) Sysctl(key, value string) error {
	if !strings.Contains(key, "/") {
		key = strings.ReplaceAll(key, ".", "/")
	}
	return n.Do(func() error {
		// Which namespace's parameter a path means is decided when it is opened.
		path := filepath.Join("/proc/sys/net", filepath.Clean("/"+key))
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
			return fmt.Errorf("set kernel parameter: %w", err)
		}
		return nil
	})
}

// gone reports whether err says that what was to be removed is not there.
func gone(err error) bool {
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return true
	}
	for _, e := range []error{unix.ENODEV, unix.ENOENT, unix.ESRCH, unix.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// fixFor is the usual cure for an errno from netlink.
func fixFor(err error) string {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "this takes CAP_NET_ADMIN: run as root, or setcap cap_net_admin+ep on the program"
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP):
		return "the kernel lacks this; IPv6 may be off (ipv6.disable=1)"
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return "the gateway of a route must be on a network that an address of the interface is on"
	}
	return ""
}
