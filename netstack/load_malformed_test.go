package netstack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"culvert/netstack/netstacktest"
	"culvert/proxy/network"
	"culvert/test/need"
	"culvert/test/scale"
)

// A million malformed packets, offload headers that lie among them: nothing
// panics, nothing is kept, a flow that was there goes on all the time, and new
// ones are served.
func TestLoadMalformedPackets(t *testing.T) {
	need.Long(t)
	const (
		between = 500      // packets between two looks at the flow
		kept    = 16 << 20 // bytes that fragments and remembered verdicts may hold
	)
	packets := scale.Of(50_000, 1_000_000)
	near, far := netstacktest.NewPair()
	honest4, honest6 := netip.MustParseAddrPort("203.0.113.200:7"), netip.MustParseAddrPort("[2001:db8::200]:7")
	s := start(t, far, network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		if a := f.Info().LocalAddress.String(); a != honest4.String() && a != honest6.String() {
			return errors.New("no")
		}
		return echoBytes(ctx, f)
	}), nil)
	host := netstacktest.NewHost(t, near)
	old := dial(t, host, honest4)
	defer old.Close()
	exchange(t, old)
	goroutines, before := runtime.NumGoroutine(), held()

	m := netstacktest.NewMangler(1, netip.MustParseAddrPort("203.0.113.7:443"), netip.MustParseAddrPort("[2001:db8::7]:443"))
	began := time.Now()
	for n := 1; n <= packets; n++ {
		h, b := m.Next()
		if err := near.Write(h, [][]byte{b}); err != nil {
			t.Fatal(err)
		}
		if n%between == 0 {
			exchange(t, old) // and so all before it has been read
		}
		if n%(packets/20) == 0 {
			for _, to := range []netip.AddrPort{honest4, honest6} {
				c := dial(t, host, to)
				exchange(t, c)
				c.Abort()
				c.Close()
			}
		}
	}
	scale.Figure(t, "%d packets in %v", packets, time.Since(began).Round(time.Millisecond))
	eventually(t, "the flows to end", func() bool { return s.Stats().Flows == 1 })
	eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
	exchange(t, old)
	st := s.Stats()
	scale.Figure(t, "%d SYNs, %d malformed, %d with a wrong checksum, %d unsupported, %d echo replies, %d UDP",
		st.SynSeen, st.Link.RxMalformed, st.Link.RxChecksum, st.Link.RxUnsupported, st.EchoReplies, st.UDPUnreachable)
	if st.SynSeen == 0 || st.Link.RxChecksum == 0 || st.Link.RxMalformed == 0 ||
		st.Link.RxUnsupported == 0 || st.UDPUnreachable == 0 {
		t.Errorf("not much was tried: %+v", st)
	}
	if grown := held() - before; grown > kept {
		t.Errorf("%d bytes are kept", grown)
	}
}

// dial is an application's connect that must succeed.
func dial(t *testing.T, host *netstacktest.Host, to netip.AddrPort) *netstacktest.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := host.Dial(ctx, to)
	if err != nil {
		t.Fatalf("connect to %s: %v", to, err)
	}
	return c
}

// exchange wants a few bytes back.
func exchange(t *testing.T, c *netstacktest.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience)) // it never fails
	want := []byte("still here")
	got := make([]byte, len(want))
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%q came back: %v", got, err)
	}
}
