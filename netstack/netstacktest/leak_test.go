package netstacktest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/netstack"
	"culvert/netstack/netstacktest"
	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/refs"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// The leak check counts references in the whole process and must be on from
// the start, so this package has no other tests of the netstack.
func TestMain(m *testing.M) {
	refs.SetLeakMode(refs.LeaksPanic)
	m.Run()
}

// leaked lists what gVisor still counts references of.
func leaked() (report string) {
	defer func() {
		if r := recover(); r != nil {
			report = fmt.Sprint(r)
		}
	}()
	refs.DoRepeatedLeakCheck()
	return ""
}

// by destination port, what becomes of a connect
const (
	portEcho = iota + 1
	portRefused
	portUnreachable
	portSilent
	portPending
	portAborted
)

func serve(ctx context.Context, f network.Flow) error {
	switch f.Info().LocalAddress.Port() {
	case portRefused:
		f.Reject(network.WithReason(network.ReasonConnectionRefused, nil))
		return nil
	case portUnreachable:
		f.Reject(network.WithReason(network.ReasonUnroutable, nil))
		return nil
	case portSilent:
		f.Reject(context.DeadlineExceeded)
		return nil
	case portPending:
		<-ctx.Done()
		return context.Cause(ctx)
	}
	c, err := f.Accept(ctx)
	if err != nil {
		return err
	}
	if f.Info().LocalAddress.Port() == portAborted {
		c.Abort(errors.New("no more"))
		return nil
	}
	for {
		chunk, err := c.(network.ChunkReader).ReadChunk()
		if err != nil {
			return errors.Join(c.CloseWrite(), c.Close())
		}
		if err := c.(network.ChunkWriter).WriteChunk(chunk); err != nil {
			return err
		}
	}
}

// Everything that can happen to a SYN gives its packet back.
func TestNoPacketLeaks(t *testing.T) {
	t.Run("traffic", func(t *testing.T) {
		near, far := netstacktest.NewPair()
		host := netstacktest.NewHost(t, near)
		s := run(t, far)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, ip := range []string{"203.0.113.7", "2001:db8::7"} {
			to := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(ip), port) }
			app, err := host.Dial(ctx, to(portEcho))
			if err != nil {
				t.Fatal(err)
			}
			data := strings.Repeat("culvert ", 100000)
			go func() { // ends when all is echoed
				_, _ = io.WriteString(app, data)
				_ = app.CloseWrite()
			}()
			if got, err := io.ReadAll(app); string(got) != data || err != nil {
				t.Fatalf("echo of %d bytes: %d, %v", len(data), len(got), err)
			}
			app.Close()
			for _, port := range []uint16{portRefused, portUnreachable} {
				if port == portUnreachable && strings.Contains(ip, ":") {
					continue // the application's stack does not heed this one: it would wait
				}
				if _, err := host.Dial(ctx, to(port)); err == nil {
					t.Errorf("port %d answered", port)
				}
			}
			if app, err := host.Dial(ctx, to(portAborted)); err == nil {
				app.Close()
			}
		}
		s.Close()
	})
	t.Run("packets", func(t *testing.T) {
		near, far := netstacktest.NewPair()
		w := netstacktest.NewWire(t, near)
		s := run(t, far)
		src := netip.AddrPortFrom(netstacktest.HostIPv4, 999)
		for i, port := range []uint16{portSilent, portPending, portRefused, portPending, portEcho} {
			dst := netip.AddrPortFrom(netip.MustParseAddr("203.0.113.7"), port)
			for isn := range uint32(2) {
				syn := netstacktest.SYN(src, dst, isn+uint32(i)*10)
				w.Send(syn.Bytes())
				w.Send(syn.Bytes())
			}
			if i == 1 {
				w.Send(netstacktest.Segment{Src: src, Dst: dst, Flags: header.TCPFlagRst, Seq: 12}.Bytes())
			}
			w.Send(netstacktest.UDP(src, dst, make([]byte, 9000)))
			w.Send(netstacktest.Echo(src.Addr(), dst.Addr(), 1, 1, nil))
		}
		const packets = 5*(4+2) + 1
		wait(t, func() bool { return s.Stats().Link.RxPackets == packets })
		s.Close()
	})
	report := leaked()
	if strings.Contains(report, "PacketBuffer") || strings.Contains(report, "chunk") {
		t.Error(report)
	}
}

// The check must be able to fail.
func TestLeakIsSeen(t *testing.T) {
	near, far := netstacktest.NewPair()
	w := netstacktest.NewWire(t, near)
	s := run(t, far)
	dst := netip.AddrPortFrom(netip.MustParseAddr("203.0.113.7"), portPending)
	w.Send(netstacktest.SYN(netip.AddrPortFrom(netstacktest.HostIPv4, 999), dst, 1).Bytes())
	wait(t, func() bool { return s.Stats().Pending == 1 })
	if report := leaked(); !strings.Contains(report, "PacketBuffer") {
		t.Errorf("a SYN that is kept is not seen: %q", report)
	}
}

func wait(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

func run(t *testing.T, d *netstacktest.Device) *netstack.Stack {
	t.Helper()
	s, err := netstack.New(netstack.Config{TCPListener: "x"}, netstack.Deps{
		Device: d,
		Lookup: func(string) (network.Handler, bool) { return network.HandlerFunc(serve), true },
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
