package tundev_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"culvert/netstack/link"
	"culvert/netstack/netstacktest"
	"culvert/netstack/tundev"
	"culvert/proxy/network"
	"culvert/test/need"
	"culvert/test/program"
	"culvert/test/scale"

	"golang.org/x/sys/unix"
)

// injector puts any bytes on an interface, as if the kernel had sent them there.
type injector struct {
	fd    int
	index int
	vnet  bool // each packet has a virtio header before it
}

func (n *namespace) newInjector(t *testing.T, index int, vnet bool) *injector {
	t.Helper()
	in := &injector{index: index, vnet: vnet}
	n.must(t, func() (err error) {
		if in.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil || !vnet {
			return err
		}
		return unix.SetsockoptInt(in.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1)
	})
	t.Cleanup(func() { _ = unix.Close(in.fd) })
	return in
}

// send is an error if the kernel does not take the packet, which it need not.
func (in *injector) send(h link.Header, b []byte) error {
	protocol := uint16(unix.ETH_P_IP)
	if len(b) > 0 && b[0]>>4 == 6 {
		protocol = unix.ETH_P_IPV6
	}
	if in.vnet {
		v := make([]byte, 10, 10+len(b))
		v[0], v[1] = h.Flags, h.GSOType
		for i, field := range []uint16{h.HeaderLen, h.GSOSize, h.ChecksumStart, h.ChecksumOffset} {
			binary.NativeEndian.PutUint16(v[2+2*i:], field)
		}
		b = append(v, b...)
	}
	to := &unix.SockaddrLinklayer{Ifindex: in.index, Protocol: binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, protocol))}
	return unix.Sendto(in.fd, b, 0, to)
}

// Malformed packets through the real TUN, half of them with virtio headers that
// the kernel has to make sense of first: a flow goes on all the time, new ones are
// served, and nothing is left.
func TestLoadMalformedPackets(t *testing.T) {
	need.Long(t)
	need.TUN(t)
	const between = 200 // packets between two looks at the flow
	packets := scale.Of(2000, 20_000)
	n := newNamespace(t)
	d := n.openTUN(t, tundev.Options{Name: "culvert0"})
	s := serve(t, d, network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		if a := f.Info().LocalAddress.String(); a != target(kernel4, hostAccepts).String() && a != target(kernel6, hostAccepts).String() {
			return errors.New("no")
		}
		return echo(ctx, f)
	}), nil)
	old := n.echoing(t, kernel4)
	exchange(t, old)
	goroutines := runtime.NumGoroutine()

	m := netstacktest.NewMangler(3, netip.MustParseAddrPort("203.0.113.99:443"), netip.MustParseAddrPort("[2001:db8::99]:443"))
	injectors := []*injector{n.newInjector(t, d.Index(), false), n.newInjector(t, d.Index(), true)}
	refused := 0
	for i := 1; i <= packets; i++ {
		if err := injectors[i%2].send(m.Next()); err != nil {
			refused++
		}
		if i%between == 0 {
			exchange(t, old) // and so all before it has been read
		}
		if i%(packets/10) == 0 {
			for _, family := range []netip.Addr{kernel4, kernel6} {
				c := n.echoing(t, family)
				exchange(t, c)
				_ = c.Close()
			}
		}
	}
	st := s.Stats()
	scale.Figure(t, "%d packets, %d of them refused by the kernel: %d read, %d SYNs, %d malformed, %d with a wrong checksum",
		packets, refused, st.Link.RxPackets, st.SynSeen, st.Link.RxMalformed, st.Link.RxChecksum)
	if refused > packets/2 || st.Link.RxChecksum == 0 || st.Link.RxMalformed == 0 {
		t.Errorf("not much was tried: %d refused, %+v", refused, st)
	}
	program.Eventually(t, patience, "nothing is left", func() error {
		if flows, now := s.Stats().Flows, runtime.NumGoroutine(); flows > 1 || now > goroutines+5 {
			return fmt.Errorf("%d flows, %d goroutines, %d before", flows, now, goroutines)
		}
		return nil
	})
	exchange(t, old)
}

// echoing is a connection that echoes, until the test ends.
func (n *namespace) echoing(t *testing.T, family netip.Addr) net.Conn {
	t.Helper()
	c, err := n.connect(target(family, hostAccepts), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// exchange wants a few bytes back.
func exchange(t *testing.T, c net.Conn) {
	t.Helper()
	if err := roundTrip(c, time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
}

func roundTrip(c net.Conn, deadline time.Time) error {
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	want := []byte("still here")
	if _, err := c.Write(want); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%q came back", got)
	}
	return nil
}
