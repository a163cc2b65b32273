package resolver

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// wire asks as package net does, so that /etc/hosts, search lists and truncated
// answers are its business, and reads the TTLs of the answers as they pass by.
type wire struct {
	control func(network, address string, c syscall.RawConn) error
}

func (w *wire) lookup(ctx context.Context, network, host string) ([]netip.Addr, time.Duration, error) {
	var seen ttls
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{Control: w.control}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return observe(c, &seen), nil
	}}
	addrs, err := r.LookupNetIP(ctx, network, host)
	return addrs, seen.least(), err
}

// observe keeps what package net looks for: a datagram socket is a
// net.PacketConn, a stream is not.
func observe(c net.Conn, seen *ttls) net.Conn {
	if u, ok := c.(*net.UDPConn); ok {
		return &datagrams{u, seen}
	}
	return &stream{Conn: c, seen: seen}
}

// datagrams is a UDP socket: each read is a message.
type datagrams struct {
	*net.UDPConn
	seen *ttls
}

func (d *datagrams) Read(p []byte) (int, error) {
	n, err := d.UDPConn.Read(p)
	if err == nil {
		d.seen.message(p[:n])
	}
	return n, err
}

// stream is a TCP connection: messages with their length in front (RFC 1035
// §4.2.2). package net asks one question on it.
type stream struct {
	net.Conn
	seen *ttls
	buf  []byte
}

// maxMessage is the largest DNS message with its length, bytes.
const maxMessage = 2 + 65535

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if len(s.buf)+n > maxMessage {
		return n, err
	}
	s.buf = append(s.buf, p[:n]...)
	if len(s.buf) >= 2 && len(s.buf) == 2+int(s.buf[0])<<8+int(s.buf[1]) {
		s.seen.message(s.buf[2:])
	}
	return n, err
}

// ttls is the least TTL of all answers that were seen. Questions for both
// families are asked at once.
type ttls struct {
	mu    sync.Mutex
	known bool
	min   uint32 // seconds
}

// message reads a message as far as it can be read. Whether it is the answer to
// anything is package net's to judge: a forged one that it drops can only
// shorten the time.
func (t *ttls) message(b []byte) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || !h.Response || h.RCode != dnsmessage.RCodeSuccess || p.SkipAllQuestions() != nil {
		return
	}
	for {
		r, err := p.AnswerHeader()
		if err != nil {
			return
		}
		t.note(r.TTL)
		if p.SkipAnswer() != nil {
			return
		}
	}
}

func (t *ttls) note(ttl uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known || ttl < t.min {
		t.known, t.min = true, ttl
	}
}

// least is at least a second: a TTL of 0 is for the question that was asked
// (RFC 1035 §3.2.1), and 0 here means that nobody said.
func (t *ttls) least() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known {
		return 0
	}
	return max(time.Duration(t.min)*time.Second, time.Second)
}
