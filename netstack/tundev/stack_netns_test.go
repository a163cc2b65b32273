package tundev_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/netstack"
	"culvert/netstack/link"
	"culvert/netstack/tundev"
	"culvert/proxy/network"
	"culvert/test/need"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// eventually waits for a condition that nothing signals.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// The last byte of the address an application connects to says what becomes of
// it, 203.0.113.N and 2001:db8::N.
const (
	hostAccepts = iota + 1
	hostRefuses
	hostUnreachable
	netUnreachable
	hostProhibited
	hostSilent
	hostPending
)

func target(family netip.Addr, host byte) netip.AddrPort {
	ip := netip.AddrFrom4([4]byte{203, 0, 113, host})
	if family.Is6() {
		b := netip.MustParseAddr("2001:db8::").As16()
		b[15] = host
		ip = netip.AddrFrom16(b)
	}
	return netip.AddrPortFrom(ip, 7)
}

// far is the far end of every flow.
type far struct {
	attempts [16]atomic.Int32 // by host
	canceled chan error       // of hostPending
}

func (p *far) ServeFlow(ctx context.Context, f network.Flow) error {
	ip := f.Info().LocalAddress.IP.Addr().AsSlice()
	host := ip[len(ip)-1]
	p.attempts[host].Add(1)
	switch host {
	case hostAccepts:
		return echo(ctx, f)
	case hostRefuses:
		f.Reject(network.WithReason(network.ReasonConnectionRefused, nil))
	case hostUnreachable:
		f.Reject(network.WithReason(network.ReasonUnroutable, nil))
	case netUnreachable:
		f.Reject(network.WithReason(network.ReasonGateway, nil))
	case hostProhibited:
		f.Reject(network.WithReason(network.ReasonProhibited, nil))
	case hostSilent:
		f.Reject(context.DeadlineExceeded)
	case hostPending:
		<-ctx.Done()
		p.canceled <- context.Cause(ctx)
	}
	return nil
}

// echo sends back what comes, in chunks, and ends as the application does.
func echo(ctx context.Context, f network.Flow) error {
	c, err := f.Accept(ctx)
	if err != nil {
		return err
	}
	r, w := c.(network.ChunkReader), c.(network.ChunkWriter)
	for {
		chunk, err := r.ReadChunk()
		if errors.Is(err, io.EOF) {
			return errors.Join(c.CloseWrite(), c.Close())
		}
		if err != nil {
			return err
		}
		if err := w.WriteChunk(chunk); err != nil {
			return err
		}
	}
}

// serve runs a stack over the device until the test ends.
func serve(t testing.TB, d link.Device, h network.Handler, p netstack.Prober) *netstack.Stack {
	t.Helper()
	s, err := netstack.New(netstack.Config{Name: "test", TCPListener: "x"}, netstack.Deps{
		Device: d, Prober: p, Lookup: func(string) (network.Handler, bool) { return h, true },
	})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

// socket makes a TCP socket in the namespace.
func (n *namespace) socket(family netip.Addr) (fd int, err error) {
	af := unix.AF_INET
	if family.Is6() {
		af = unix.AF_INET6
	}
	err = n.do(func() error {
		fd, err = unix.Socket(af, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	return fd, err
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// connect connects as an application does, and gives up in time.
func (n *namespace) connect(to netip.AddrPort, within time.Duration) (net.Conn, error) {
	fd, err := n.socket(to.Addr())
	if err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(int64(within))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	for {
		err = unix.Connect(fd, sockaddr(to))
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	_ = unix.SetNonblock(fd, true) // fails for no socket
	f := os.NewFile(uintptr(fd), "application")
	defer f.Close() // FileConn has a duplicate
	return net.FileConn(f)
}

// What the kernel's connect() makes of each verdict.
func TestConnect(t *testing.T) {
	need.TUN(t)
	n := newNamespace(t)
	p := &far{}
	s := serve(t, n.openTUN(t, tundev.Options{Name: "culvert0"}), p, nil)
	for _, c := range []struct {
		name   string
		host   byte
		v4, v6 error
	}{
		{"accepted", hostAccepts, nil, nil},
		{"refused", hostRefuses, unix.ECONNREFUSED, unix.ECONNREFUSED},
		{"host unreachable", hostUnreachable, unix.EHOSTUNREACH, unix.EHOSTUNREACH},
		{"net unreachable", netUnreachable, unix.ENETUNREACH, unix.ENETUNREACH},
		{"prohibited", hostProhibited, unix.EHOSTUNREACH, unix.EACCES},
		{"silent", hostSilent, unix.EINPROGRESS, unix.EINPROGRESS}, // Linux's word for SO_SNDTIMEO
	} {
		for _, family := range []netip.Addr{kernel4, kernel6} {
			want := c.v4
			if family.Is6() {
				want = c.v6
			}
			t.Run(fmt.Sprintf("%s to %s", c.name, family), func(t *testing.T) {
				p.attempts[c.host].Store(0)
				wait := patience
				if want == unix.EINPROGRESS {
					wait = 2500 * time.Millisecond // long enough for two retransmissions
				}
				conn, err := n.connect(target(family, c.host), wait)
				if conn != nil {
					conn.Close()
				}
				if !errors.Is(err, want) {
					t.Errorf("connect: %v, want %v", err, want)
				}
				if got := p.attempts[c.host].Load(); got != 1 {
					t.Errorf("%d attempts for one connect", got)
				}
			})
		}
	}
	eventually(t, "retransmissions", func() bool { return s.Stats().SynRetransmitted >= 2 })
	if st := s.Stats(); st.Silent != 2 || st.Link.TxFull+st.Link.TxFailed != 0 {
		t.Errorf("stats %+v", st)
	}
}

// An application that closes its socket while it connects cancels the dial,
// without a packet: the kernel is asked.
func TestApplicationGivesUp(t *testing.T) {
	need.TUN(t)
	n := newNamespace(t)
	d := n.openTUN(t, tundev.Options{Name: "culvert0"})
	prober, err := netstack.NewSockDiagIn(n.path, d.Index())
	if err != nil {
		t.Fatal(err)
	}
	defer prober.Close()
	p := &far{canceled: make(chan error, 2)}
	s := serve(t, d, p, prober)
	for _, family := range []netip.Addr{kernel4, kernel6} {
		p.attempts[hostPending].Store(0)
		fd, err := n.socket(family)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.SetNonblock(fd, true)
		if err := unix.Connect(fd, sockaddr(target(family, hostPending))); err != unix.EINPROGRESS {
			t.Fatalf("connect: %v", err)
		}
		// Who was never seen connecting cannot be missed.
		eventually(t, "the dial", func() bool { return p.attempts[hostPending].Load() == 1 })
		_ = unix.Close(fd)
		select {
		case cause := <-p.canceled:
			if network.ReasonFor(cause) != network.ReasonCanceled {
				t.Errorf("canceled with %v", cause)
			}
		case <-time.After(patience):
			t.Fatalf("the dial for %s goes on", family)
		}
	}
	eventually(t, "two to be counted", func() bool { return s.Stats().CanceledGone == 2 })
}

// Sockets as the kernel lists them.
func TestSockDiag(t *testing.T) {
	need.TUN(t)
	n := newNamespace(t)
	n.openTUN(t, tundev.Options{Name: "culvert0"}) // nobody answers
	prober, err := netstack.NewSockDiagIn(n.path, 0)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := netstack.NewSockDiag(0)
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	for _, family := range []netip.Addr{kernel4, kernel6} {
		to := target(family, hostSilent)
		fd, err := n.socket(family)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.SetNonblock(fd, true)
		if err := unix.Connect(fd, sockaddr(to)); err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		sa, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		var from netip.AddrPort
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			from = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
		case *unix.SockaddrInet6:
			from = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
		}
		if l := prober.Probe(from, to); l != netstack.LivenessAlive {
			t.Errorf("connecting: %v", l)
		}
		if l := elsewhere.Probe(from, to); l != netstack.LivenessGone {
			t.Errorf("asked in another namespace: %v", l)
		}
		unix.Close(fd)
		if l := prober.Probe(from, to); l != netstack.LivenessGone {
			t.Errorf("closed: %v", l)
		}
	}
	if err := prober.Close(); err != nil {
		t.Fatal(err)
	}
	if l := prober.Probe(target(kernel4, 1), target(kernel4, 2)); l != netstack.LivenessUnknown {
		t.Errorf("after Close: %v", l)
	}
}

// echoThrough sends a little through a device and wants it back.
func echoThrough(t testing.TB, n *namespace, d link.Device, family netip.Addr) error {
	t.Helper()
	s := serve(t, d, &far{}, nil)
	defer s.Close()
	c, err := n.connect(target(family, hostAccepts), patience)
	if err != nil {
		return err
	}
	defer c.Close()
	return transfer(c, 1<<20)
}

// transfer sends n bytes, ends, and wants the same back and then the end.
func transfer(c net.Conn, n int64) error {
	sent, got := sha256.New(), sha256.New()
	wrote := make(chan error, 1)
	go func() { // ends with the connection
		src := io.LimitReader(rand.NewChaCha8([32]byte{7}), n)
		_, err := io.CopyBuffer(struct{ io.Writer }{c}, io.TeeReader(src, sent), make([]byte, 256<<10))
		wrote <- errors.Join(err, c.(*net.TCPConn).CloseWrite())
	}()
	back, err := io.CopyBuffer(got, struct{ io.Reader }{c}, make([]byte, 256<<10))
	if err := errors.Join(err, <-wrote); err != nil {
		return err
	}
	if back != n || string(sent.Sum(nil)) != string(got.Sum(nil)) {
		return fmt.Errorf("sent %d bytes, got %d back, or others", n, back)
	}
	return nil
}

// Both ways at once, four flows, byte for byte; superpackets stay whole and
// nothing is sent twice.
func TestBulk(t *testing.T) {
	need.TUN(t)
	const total, flows = 64 << 20, 4
	for _, family := range []netip.Addr{kernel4, kernel6} {
		t.Run(family.String(), func(t *testing.T) {
			n := newNamespace(t)
			s := serve(t, n.openTUN(t, tundev.Options{Name: "culvert0"}), &far{}, nil)
			var wg sync.WaitGroup
			for range flows {
				c, err := n.connect(target(family, hostAccepts), patience)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				wg.Go(func() {
					if err := transfer(c, total/flows); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			st := s.Stats()
			t.Logf("in %d packets of %d bytes, out %d of %d, %d retransmitted", st.Link.RxPackets,
				st.Link.RxBytes/st.Link.RxPackets, st.Link.TxPackets, st.Link.TxBytes/st.Link.TxPackets, st.Retransmits)
			if st.Link.RxChecksum+st.Link.RxMalformed+st.Link.RxUnsupported+st.Link.TxFull+st.Link.TxFailed != 0 {
				t.Errorf("packets were lost: %+v", st.Link)
			}
			// Acknowledgements are among them; split, the average would be below the MTU.
			if st.Link.RxBytes/st.Link.RxPackets < 3000 || st.Link.TxBytes/st.Link.TxPackets < 3000 {
				t.Error("superpackets were split")
			}
		})
	}
}

// Moving bytes allocates next to nothing.
func BenchmarkTUN(b *testing.B) {
	need.TUN(b)
	n := newNamespace(b)
	s := serve(b, n.openTUN(b, tundev.Options{Name: "culvert0"}), &far{}, nil)
	c, err := n.connect(target(kernel4, hostAccepts), patience)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if err := warm(n); err != nil {
		b.Fatal(err)
	}
	const step = 1 << 20
	b.SetBytes(2 * step)
	before := packets(s)
	var mem0, mem1 runtime.MemStats
	runtime.ReadMemStats(&mem0)
	b.ResetTimer()
	if err := transfer(c, int64(b.N)*step); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	runtime.ReadMemStats(&mem1)
	if moved := packets(s) - before; moved > 0 {
		b.ReportMetric(float64(mem1.Mallocs-mem0.Mallocs)/float64(moved), "allocs/packet")
	}
}

// warm fills the pools.
func warm(n *namespace) error {
	c, err := n.connect(target(kernel4, hostAccepts), patience)
	if err != nil {
		return err
	}
	defer c.Close()
	return transfer(c, 128<<20)
}

func packets(s *netstack.Stack) uint64 {
	st := s.Stats().Link
	return st.RxPackets + st.TxPackets
}
