package topology

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/appliance/host"
	"culvert/test/leak"
	"culvert/test/need"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { leak.Main(m) }

// app 10.1.0.1 ── 10.1.0.2 gw 10.2.0.1 ── 10.2.0.2 origin
//
//	fd00:1::1 ── fd00:1::2    fd00:2::1 ── fd00:2::2
//
// Behind gw there are also 10.8.0.0/24 and fd00:8::/64 (unreachable),
// 10.9.0.0/24 and fd00:9::/64 (silent), 10.7.0.0/24 and fd00:7::/64
// (prohibited).
func line(t *testing.T) (app, gw, origin *Host) {
	t.Helper()
	need.IPv6(t)
	top := New(t)
	app, gw, origin = top.Host("app"), top.Host("gw"), top.Host("origin")
	top.Link(app, gw, "10.1.0.1/24", "10.1.0.2/24", "fd00:1::1/64", "fd00:1::2/64")
	top.Link(gw, origin, "10.2.0.1/24", "10.2.0.2/24", "fd00:2::1/64", "fd00:2::2/64")
	app.Default("10.1.0.2", "fd00:1::2")
	origin.Default("10.2.0.1", "fd00:2::1")
	gw.Forward()
	gw.Unreachable("10.8.0.0/24", "fd00:8::/64")
	gw.Silent("10.9.0.0/24", "fd00:9::/64")
	gw.Prohibited("10.7.0.0/24", "fd00:7::/64")
	return app, gw, origin
}

func TestTraffic(t *testing.T) {
	app, _, origin := line(t)
	for _, addr := range []string{"10.2.0.2:80", "[fd00:2::2]:80"} {
		t.Run(addr, func(t *testing.T) {
			ln := origin.Listen("tcp", addr)
			c, err := app.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			far, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.WriteString(far, "hello")
			_ = far.Close()
			got, rerr := io.ReadAll(c)
			_ = c.Close()
			if string(got) != "hello" || err != nil || rerr != nil {
				t.Errorf("got %q, %v, %v", got, err, rerr)
			}
		})
	}
}

// What an application sees of each kind of refusal. The kernel's words for it,
// with no culvert in the way, are the reference for all later tests.
func TestRefusals(t *testing.T) {
	app, _, _ := line(t)
	for _, c := range []struct {
		addr string
		want error // nil: no answer
	}{
		{"10.2.0.2:1", unix.ECONNREFUSED},
		{"[fd00:2::2]:1", unix.ECONNREFUSED},
		{"10.8.0.1:80", unix.EHOSTUNREACH},
		{"[fd00:8::1]:80", unix.ENETUNREACH},
		{"10.7.0.1:80", unix.EHOSTUNREACH},
		{"[fd00:7::1]:80", unix.EACCES},
		{"10.9.0.1:80", nil},
		{"[fd00:9::1]:80", nil},
	} {
		t.Run(c.addr, func(t *testing.T) {
			want, within := c.want, time.Minute
			if want == nil { // long enough for the first retransmission
				want, within = context.DeadlineExceeded, 1200*time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			conn, err := app.DialContext(ctx, "tcp", c.addr)
			if err == nil {
				_ = conn.Close()
				t.Fatal("connected")
			}
			if !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
}

// Every one of a burst of refused connects is told so, and not only when its SYN
// is sent again, a second later. A machine may be too slow for that once; who
// limits the rate does so each time.
func TestRefusalsAreNotRateLimited(t *testing.T) {
	const connects, attempts = 200, 10
	app, _, _ := line(t)
	for addr, want := range map[string]error{"10.2.0.2:1": unix.ECONNREFUSED, "[fd00:8::1]:80": unix.ENETUNREACH} {
		left := connects
		for range attempts {
			if left = untold(t, app, addr, want, connects); left == 0 {
				break
			}
		}
		if left > 0 {
			t.Errorf("%s: %d of %d connects were not told %v", addr, left, connects, want)
		}
	}
}

// untold is how many of n connects at once are not told what they are to be told
// before they would ask again.
func untold(t *testing.T, from *Host, addr string, want error, n int) (left int) {
	ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
	defer cancel()
	errs := make(chan error, n)
	for range n {
		go func() { // ends with ctx
			_, err := from.DialContext(ctx, "tcp", addr)
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; !errors.Is(err, want) {
			left++
		}
	}
	return left
}

func TestHostAlone(t *testing.T) {
	top := New(t)
	alone := top.Host("alone")
	if top.Host("alone") != alone {
		t.Error("the same name is another host")
	}
	if _, err := alone.Dial("tcp", "192.0.2.1:80"); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("a host that is linked to nothing: %v", err)
	}
	names := []string{}
	if err := alone.Do(func() error {
		list, err := net.Interfaces()
		for _, i := range list {
			names = append(names, i.Name)
		}
		return err
	}); err != nil || strings.Join(names, " ") != "lo" {
		t.Errorf("interfaces %v, %v", names, err)
	}
}

// The shape of the end-to-end tests: a host whose only way out is a TUN, which is
// served from elsewhere.
//
//	app: lo, culvert0 198.18.0.1 ── descriptor in the test's own namespace
func TestHostBehindTUN(t *testing.T) {
	need.TUN(t)
	app := New(t).Host("app")
	fd := -1
	if err := app.Do(func() (err error) {
		if fd, err = unix.Open(host.TUNNode, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		req, err := unix.NewIfreq("culvert0")
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}); err != nil {
		t.Fatal(err)
	}
	tun := os.NewFile(uintptr(fd), "tun")
	defer func() { _ = tun.Close() }()
	applied, err := host.Apply(t.Context(), app.Namespace, host.Plan{
		Interface: "culvert0", NoLinkLocal: true, QueueLength: 10000,
		Addresses: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/32")},
		Routes:    []host.Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = applied.Undo() }()
	ctx, cancel := context.WithCancel(t.Context())
	dialed := make(chan error, 1)
	go func() { // ends when the SYN has been seen
		_, err := app.DialContext(ctx, "tcp", "192.0.2.7:80")
		dialed <- err
	}()
	packet := make([]byte, 2000)
	n, err := tun.Read(packet)
	cancel()
	<-dialed
	if err != nil || n < 40 || !bytes.Equal(packet[12:20], []byte{198, 18, 0, 1, 192, 0, 2, 7}) {
		t.Errorf("read % x, %v; want a packet from 198.18.0.1 to 192.0.2.7", packet[:n], err)
	}
}

func TestTwoWires(t *testing.T) {
	top := New(t)
	a, b := top.Host("a"), top.Host("a-name-longer-than-an-interface")
	top.Link(a, b, "10.1.0.1/24", "10.1.0.2/24")
	top.Link(a, b, "10.2.0.1/24", "10.2.0.2/24")
	for _, addr := range []string{"10.1.0.2:1", "10.2.0.2:1"} {
		if _, err := a.Dial("tcp", addr); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestCommand(t *testing.T) {
	sh := need.Command(t, "sh")
	app, _, _ := line(t)
	out, err := app.Command(sh, "-c", "cat /proc/net/fib_trie").Output()
	if err != nil || !strings.Contains(string(out), "10.1.0.1") {
		t.Errorf("the program runs elsewhere: %v\n%s", err, out)
	}
	if _, err := app.Command(sh, "-c", "echo why >&2; exit 3").Output(); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("Output lost standard error: %v", err)
	}
	if out, err := app.Command(sh, "-c", "echo a; echo b >&2").CombinedOutput(); err != nil || string(out) != "a\nb\n" {
		t.Errorf("CombinedOutput: %q, %v", out, err)
	}
	// Still running at the end: killed, or the leak check of goroutines fails.
	c := app.Command(sh, "-c", "read x")
	if _, err := c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
}
