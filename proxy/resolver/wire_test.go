package resolver

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// answerTo builds the response to a question: one A record for each ttl.
func answerTo(t testing.TB, query []byte, ttls ...uint32) []byte {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		t.Fatal(err)
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	for i, ttl := range ttls {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: ttl},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, byte(i + 1)}},
		})
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// query is a question for an A record.
func query(t testing.TB) []byte {
	m := dnsmessage.Message{Questions: []dnsmessage.Question{{
		Name: dnsmessage.MustNewName("a.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
	}}}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTTLsOfMessages(t *testing.T) {
	for _, c := range []struct {
		name string
		ttls []uint32
		want time.Duration
	}{
		{"none", nil, 0},
		{"one", []uint32{300}, 5 * time.Minute},
		{"the least", []uint32{300, 20, 60}, 20 * time.Second},
		{"zero", []uint32{0}, time.Second},
	} {
		var seen ttls
		seen.message(answerTo(t, query(t), c.ttls...))
		if got := seen.least(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	var seen ttls
	seen.message(query(t)) // no response
	if seen.least() != 0 {
		t.Error("a question has a TTL")
	}
}

// The system's resolver asks a server of ours over TCP, as it does where an
// answer is truncated, and the TTL arrives with the answer.
func TestStreamsAreObserved(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	answered := make(chan struct{})
	go func() { // ends with the answer
		defer close(answered)
		b := make([]byte, 512)
		n, _ := server.Read(b)
		reply := answerTo(t, b[2:n], 42)
		_, _ = server.Write(append([]byte{byte(len(reply) >> 8), byte(len(reply))}, reply...))
	}()
	var seen ttls
	r := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return observe(client, &seen), nil
	}}
	addrs, err := r.LookupNetIP(t.Context(), "ip4", "a.test.")
	if err != nil || len(addrs) != 1 || seen.least() != 42*time.Second {
		t.Errorf("%v, %v, ttl %v", addrs, err, seen.least())
	}
	<-answered
}

func TestDatagramsAreObserved(t *testing.T) {
	ln, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("udp", ln.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var seen ttls
	o := observe(c, &seen)
	if _, ok := o.(net.PacketConn); !ok {
		t.Fatal("package net would take it for a stream")
	}
	if _, err := ln.WriteTo(answerTo(t, query(t), 7), c.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Read(make([]byte, 512)); err != nil || seen.least() != 7*time.Second {
		t.Errorf("%v, ttl %v", err, seen.least())
	}
}

// A record's TTL shortens what is kept, and is told on, growing shorter.
func TestTTLBoundsTheCache(t *testing.T) {
	asked := 0
	c := Config{}.withDefaults()
	r := New(Config{}).(*system)
	r.config = c
	r.config.lookup = func(context.Context, string, string) ([]netip.Addr, time.Duration, error) {
		asked++
		return addrs("192.0.2.1"), time.Hour, nil
	}
	if _, ttl, err := r.LookupTTL(t.Context(), "a.test", Auto); err != nil || ttl <= 59*time.Minute {
		t.Errorf("ttl %v, %v", ttl, err)
	}
	if _, ttl, _ := r.LookupTTL(t.Context(), "a.test", Auto); asked != 1 || ttl <= 59*time.Minute || ttl > time.Hour {
		t.Errorf("asked %d times, ttl %v", asked, ttl)
	}
	r.config.lookup = func(context.Context, string, string) ([]netip.Addr, time.Duration, error) {
		asked++
		return addrs("192.0.2.1"), time.Nanosecond, nil
	}
	for range 2 {
		_, _, _ = r.LookupTTL(t.Context(), "b.test", Auto)
	}
	if asked != 3 {
		t.Errorf("asked %d times: a TTL that has passed was kept", asked)
	}
}

// Whatever arrives, nothing panics.
func FuzzTTLs(f *testing.F) {
	f.Add(answerTo(f, query(f), 1, 2))
	f.Add(query(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		var seen ttls
		seen.message(b)
		_ = seen.least()
	})
}
