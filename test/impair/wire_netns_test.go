package impair

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/test/leak"
	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/scale"
	"culvert/test/topology"
)

func TestMain(m *testing.M) { leak.Main(m) }

// connect joins two hosts.
//
//	a 198.51.100.1 ── link ── 198.51.100.2 b
//	  fd00:100::1 ─────────── fd00:100::2
func connect(t *testing.T, l Link) (a, b *topology.Host, w *Wire) {
	t.Helper()
	need.TUN(t)
	need.IPv6(t)
	top := topology.New(t)
	a, b = top.Host("a"), top.Host("b")
	w, err := Connect(
		End{Namespace: a.Namespace, Interface: "b", Addresses: prefixes("198.51.100.1/24", "fd00:100::1/64")},
		End{Namespace: b.Namespace, Interface: "a", Addresses: prefixes("198.51.100.2/24", "fd00:100::2/64")}, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return a, b, w
}

func prefixes(all ...string) (out []netip.Prefix) {
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

const address4, address6 = "198.51.100.2:80", "[fd00:100::2]:80"

// exchange moves bytes both ways between a and an origin on b.
func exchange(t *testing.T, a, b *topology.Host, address string, size int64) {
	t.Helper()
	up, down := peer.Stream{Seed: 1, Size: size}, peer.Stream{Seed: 2, Size: size}
	srv := peer.Serve(t, b.Listen("tcp", address), peer.Exchange(down, up))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	c, err := a.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Within(ctx, 2*patience, c)()
	if err := peer.Exchange(up, down)(ctx, c); err != nil {
		t.Error(err)
	}
	if err := srv.Result(ctx); err != nil {
		t.Error(err)
	}
}

// Everything at once, and TCP makes the bytes whole again.
func TestBadLink(t *testing.T) {
	for _, address := range []string{address4, address6} {
		t.Run(address, func(t *testing.T) {
			a, b, w := connect(t, Link{
				Delay: time.Millisecond, Jitter: time.Millisecond, Seed: 7,
				Loss: 0.005, Reorder: 0.01, Duplicate: 0.01, Corrupt: 0.01,
			})
			start := time.Now()
			exchange(t, a, b, address, 4<<20)
			fromA, fromB := w.Stats()
			for _, s := range []Stats{fromA, fromB} {
				if s.Lost == 0 || s.Reordered == 0 || s.Duplicated == 0 || s.Corrupted == 0 || s.Overflowed != 0 {
					t.Errorf("%+v", s)
				}
				if s.SentBytes > s.Sent*MTU {
					t.Errorf("%d bytes in %d packets", s.SentBytes, s.Sent)
				}
			}
			// What of the corruptions hit a TCP segment and not an IPv4 header.
			caught := checksumErrors(t, a) + checksumErrors(t, b)
			if caught == 0 || caught > fromA.Corrupted+fromB.Corrupted+fromA.Duplicated+fromB.Duplicated {
				t.Errorf("%d checksums were wrong, %d packets corrupted", caught, fromA.Corrupted+fromB.Corrupted)
			}
			t.Logf("after %v: %+v, %+v; %d wrong checksums", time.Since(start), fromA, fromB, caught)
		})
	}
}

// checksumErrors is how many TCP segments a host's kernel has dropped for their
// checksum.
func checksumErrors(t *testing.T, h *topology.Host) (n uint64) {
	t.Helper()
	err := h.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		var rows [][]string
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "Tcp:") {
				rows = append(rows, strings.Fields(line))
			}
		}
		for i, name := range rows[0] {
			if name == "InCsumErrors" {
				_, err := fmt.Sscan(rows[1][i], &n)
				return err
			}
		}
		return fmt.Errorf("no InCsumErrors in %q", text)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A link that is cut is silent, and works again when it is whole.
func TestCut(t *testing.T) {
	a, b, w := connect(t, Link{})
	exchange(t, a, b, address4, 1<<10)
	w.Set(Link{Loss: 1})
	const moment = 100 * time.Millisecond
	if r := peer.Connect(t.Context(), a, "tcp", address4, moment); r.Outcome != peer.NothingWithinLimit {
		t.Errorf("a connect over a link that is cut: %v", r)
	}
	w.Set(Link{})
	exchange(t, a, b, address4, 1<<10)
	w.SetEach(Link{}, Link{Loss: 1}) // the way back
	if r := peer.Connect(t.Context(), a, "tcp", address4, moment); r.Outcome != peer.NothingWithinLimit {
		t.Errorf("a connect that cannot be answered: %v", r)
	}
}

func TestConnectRefused(t *testing.T) {
	a, b, _ := connect(t, Link{})
	ends := []End{{Namespace: a.Namespace, Interface: "b"}, {Namespace: b.Namespace, Interface: "new"}}
	if w, err := Connect(ends[1], ends[0], Link{}); err == nil {
		_ = w.Close()
		t.Error("an interface that is there was made again")
	}
	if _, err := Connect(ends[1], ends[1], Link{Loss: 2}); err == nil {
		t.Error("a loss of 2")
	}
	// The first of two that failed is gone again.
	names := ""
	if err := b.Do(func() error {
		list, err := net.Interfaces()
		for _, i := range list {
			names += i.Name + " "
		}
		return err
	}); err != nil || names != "lo a " {
		t.Errorf("interfaces %q, %v", names, err)
	}
}

// What the link itself can carry, to know what a measurement over it means.
func TestLoadLink(t *testing.T) {
	need.Long(t)
	for _, c := range []struct {
		name string
		link Link
	}{
		{"clean", Link{}},
		{"2 ms", Link{Delay: time.Millisecond}},
		{"20 ms", Link{Delay: 10 * time.Millisecond}},
		{"20 ms, 0.1 % loss", Link{Delay: 10 * time.Millisecond, Loss: 0.001, Seed: 1}},
		{"20 ms, 12.5 MB/s", Link{Delay: 10 * time.Millisecond, Rate: 12_500_000, Seed: 1}},
	} {
		a, b, w := connect(t, c.link)
		size := int64(scale.Of(4<<20, 128<<20))
		start := time.Now()
		exchange(t, a, b, address4, size)
		took := time.Since(start)
		fromA, fromB := w.Stats()
		scale.Figure(t, "%s: %.1f MB/s each way, %d packets, %d overflowed", c.name,
			float64(size)/took.Seconds()/1e6, fromA.Sent+fromB.Sent, fromA.Overflowed+fromB.Overflowed)
	}
}
