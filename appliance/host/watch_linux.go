package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Watching bounds its own work: what a routing daemon does to other routes
// wakes it too.
const (
	// watchPause is the least time between two looks.
	watchPause = 100 * time.Millisecond
	// watchEvery is how often it looks unasked: a burst of changes may overflow
	// the kernel's queue of messages.
	watchEvery = 10 * time.Second
)

// Change is what somebody else did to a plan in force, and what became of it.
type Change struct {
	// Down: the interface was set down, and nothing leads to it any more.
	Down bool
	// Restored lists the steps that were made again while it was up.
	Restored []string
	// Err is why a step could not be made; the others before it were.
	Err error
}

// Watch keeps the plan in force until ctx ends: addresses, routes and rules that
// somebody removes are made again, and those that the kernel drops when the
// interface is set down, once it is up. The interface itself is left down as
// long as somebody wants it so. Each change is told to notify, which is called
// from this goroutine. Undo is called after Watch has returned. The error is
// why nothing can be watched.
func (a *Applied) Watch(ctx context.Context, notify func(Change)) error {
	file, err := a.ns.changes()
	if err != nil {
		return fmt.Errorf("watch %s: %w", a.plan.Interface, err)
	}
	w := &watcher{a: a, notify: notify, wake: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() { w.read(file) }) // ends when the file is closed
	defer wg.Wait()
	defer file.Close()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		w.look(ctx)
		select { // what comes meanwhile is one look
		case <-time.After(watchPause):
		case <-ctx.Done():
			return nil
		}
		select {
		case <-w.wake:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

type watcher struct {
	a      *Applied
	notify func(Change)
	wake   chan struct{}

	// owned by Watch's goroutine
	down   bool
	failed string // the last failure, told once
}

// changes opens a socket on which the kernel tells of links, addresses and
// routes.
func (n *Namespace) changes() (*os.File, error) {
	var fd int
	err := n.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE |
		1<<(unix.RTNLGRP_IPV4_RULE-1) | 1<<(unix.RTNLGRP_IPV6_RULE-1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("bind netlink: %w", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// read wakes the watcher for what may concern it, until the file is closed.
func (w *watcher) read(file *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := file.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS): // some were lost: look
		case err != nil:
			return
		case !concerns(buf[:n]):
			continue
		}
		select {
		case w.wake <- struct{}{}:
		default: // it is awake
		}
	}
}

// concerns reports messages by which a plan may have lost something: links that
// change, and what is removed.
func concerns(b []byte) bool {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.RTM_NEWLINK, unix.RTM_DELADDR, unix.RTM_DELROUTE, unix.RTM_DELRULE:
			return true
		}
		size = (size + syscall.NLMSG_ALIGNTO - 1) &^ (syscall.NLMSG_ALIGNTO - 1)
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return false
		}
		b = b[size:]
	}
	return false
}

func isDown(link netlink.Link) bool { return link.Attrs().Flags&net.FlagUp == 0 }

// wentDown tells it once; made is what was put back just before.
func (w *watcher) wentDown(made []string) {
	if !w.down {
		w.down = true
		w.notify(Change{Down: true, Restored: made})
	}
}

// look compares what is there with the plan, and makes what is missing.
func (w *watcher) look(ctx context.Context) {
	link, err := w.a.h.LinkByName(w.a.plan.Interface)
	if err != nil { // it is gone, and its reader knows it
		return
	}
	if isDown(link) {
		w.wentDown(nil)
		return
	}
	w.down = false
	again := &worker{ctx: ctx, h: w.a.h, plan: &w.a.plan, link: link, applied: w.a, again: true}
	for _, part := range []func() error{again.addAddresses, again.addRoutes, again.addRules} {
		if err = part(); err != nil {
			break
		}
	}
	if err != nil {
		if now, lerr := w.a.h.LinkByName(w.a.plan.Interface); lerr != nil || isDown(now) {
			w.wentDown(again.made) // meanwhile: that is why
			return
		}
	}
	switch {
	case ctx.Err() != nil:
	case err != nil && err.Error() == w.failed && len(again.made) == 0: // told already
	case err != nil || len(again.made) > 0:
		w.notify(Change{Restored: again.made, Err: err})
	}
	w.failed = ""
	if err != nil {
		w.failed = err.Error()
	}
}
