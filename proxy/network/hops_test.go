package network

import (
	"errors"
	"net/netip"
	"testing"
)

func TestHops(t *testing.T) {
	conn := NewStreamInfo(1)
	conn.RaiseHops(3)
	conn.RaiseHops(2) // a smaller count changes nothing
	exchange := conn.Child(2)
	inner := exchange.Inner(3)
	if got := inner.Hops(); got != 3 {
		t.Errorf("hops %d, want those of the connection", got)
	}
	if n, err := inner.NextHop(); n != 4 || err != nil {
		t.Errorf("next hop %d, %v", n, err)
	}
	inner.RaiseHops(MaxHops)
	if _, err := inner.NextHop(); ReasonFor(err) != ReasonLoop {
		t.Errorf("hop %d: %v", MaxHops+1, err)
	}
	if exchange.Hops() != 3 {
		t.Error("a child's count reached its parent")
	}
}

// A listener may come again so often; others in between, and exchanges, do not
// count, however many there are.
func TestEnter(t *testing.T) {
	info := NewStreamInfo(0)
	visits := 0
	var err error
	for id := uint64(1); err == nil; id += 3 {
		info = info.Inner(id)
		if err = info.Enter("loop"); err != nil {
			break
		}
		visits++
		for _, other := range []string{"a", "b", "c", "d"} {
			info = info.Inner(id + 1)
			if visits > 1 {
				other += string(rune('0' + visits))
			}
			if err := info.Enter(other); err != nil {
				t.Fatal(err)
			}
		}
		info = info.Child(id + 2)
		info.Listener = "loop"
	}
	if visits != MaxHops || ReasonFor(err) != ReasonLoop {
		t.Errorf("%d visits, then %v", visits, err)
	}
	if err := NewStreamInfo(1).Inner(2).Enter("loop"); err != nil {
		t.Errorf("another flow: %v", err)
	}
}

// With UF, each hop would try the loop again.
func TestLoopIsNotTriedAgain(t *testing.T) {
	err := WithReason(ReasonLoop, errors.New("x"))
	if FlagFor(err) != 0 || VerdictFor(err) != VerdictNetUnreachable {
		t.Errorf("flag %v, verdict %v", FlagFor(err), VerdictFor(err))
	}
	if r, ok := ReasonForToken(ReasonLoop.Token()); r != ReasonLoop || !ok {
		t.Errorf("token %q is %v", ReasonLoop.Token(), r)
	}
}

func TestInnerAt(t *testing.T) {
	ip := func(s string) Address { return IPAddress(netip.MustParseAddrPort(s)) }
	endpoint := InternalAddress("inner", "7")
	for _, c := range []struct {
		name        string
		local       Address // of the outer flow
		direct      Address
		captured    bool
		at, want    Address
		wantRestore bool
	}{
		{"a socket's", ip("127.0.0.1:80"), ip("127.0.0.1:80"), false, endpoint, endpoint, false},
		{"captured", ip("10.0.0.1:80"), ip("10.0.0.1:80"), true, endpoint, ip("10.0.0.1:80"), true},
		{"restored", ip("10.0.0.1:80"), ip("127.0.0.1:15001"), false, endpoint, ip("10.0.0.1:80"), true},
		{"restored, a hop before", ip("10.0.0.1:80"), InternalAddress("outer", ""), false, endpoint, ip("10.0.0.1:80"), true},
		{"bound address", ip("127.0.0.1:80"), ip("127.0.0.1:80"), false, ip("198.18.0.10:80"), ip("198.18.0.10:80"), false},
		{"captured, bound elsewhere", ip("10.0.0.1:80"), ip("10.0.0.1:80"), true, ip("198.18.0.10:80"), ip("198.18.0.10:80"), true},
		{"internal", InternalAddress("outer", ""), InternalAddress("outer", ""), false, endpoint, endpoint, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			outer := NewStreamInfo(1)
			outer.RemoteAddress = ip("192.0.2.1:4000")
			outer.DirectRemoteAddress, outer.LocalAddress, outer.DirectLocalAddress = outer.RemoteAddress, c.local, c.direct
			if c.captured {
				outer.SetFilterState(StateDestination, c.local.String())
			}
			in := outer.InnerAt(2, c.at)
			if in.LocalAddress != c.want || in.DirectLocalAddress != c.at || in.RemoteAddress != outer.RemoteAddress {
				t.Errorf("local %v direct %v remote %v", in.LocalAddress, in.DirectLocalAddress, in.RemoteAddress)
			}
			if got := in.DirectRemoteAddress.String(); got != "envoy://internal_client_address/" {
				t.Errorf("direct remote %s", got)
			}
			if outer.Restored() != c.wantRestore {
				t.Errorf("restored %v", outer.Restored())
			}
			if in.FilterState != nil || in.TLS != nil || in.Parent != outer || in.ConnectionID != 2 {
				t.Errorf("%+v", in)
			}
		})
	}
}

func TestPathName(t *testing.T) {
	s, _ := socketPair(t)
	if got, want := PathName(observer{s}, s), choosePath(s, s).name(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := PathName(plain(s), s); got != "copy" {
		t.Errorf("%q", got)
	}
}

// A connection that flows share remembers the way of the first, and no more.
func TestSharedInner(t *testing.T) {
	s := NewStreamInfo(1)
	s.SetFilterState("secret", "x")
	for i := range MaxHops {
		if err := s.Enter("a"); err != nil {
			t.Fatalf("visit %d: %v", i, err)
		}
		s = s.SharedInner(uint64(i+2), InternalAddress("a", ""))
	}
	if err := s.Enter("a"); err == nil {
		t.Error("a loop over shared connections is not found")
	}
	if _, ok := s.LookupFilterState("secret"); ok || s.Restored() || s.LocalAddress != InternalAddress("a", "") {
		t.Error("it knows more than it should")
	}
}
