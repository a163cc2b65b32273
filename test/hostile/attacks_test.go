package hostile

import (
	"errors"
	"io"
	"slices"
	"strings"

	"culvert/test/scale"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// attack is one way of asking much for little.
type attack struct {
	name    string
	prepare func(*attacker) error // first on each connection
	again   func(*attacker) error // until it is thrown out, or has sent its bytes; nil: once
	bytes   int64                 // of a connection: no more than it takes; 0: roundBytes
	unread  bool                  // reads nothing
	holds   bool                  // keeps what it has got until the end
	server  bool                  // is the upstream of the victim

	ends    []string // how a connection may end
	counter string   // of the victim, that says so; empty: nothing is to be said
}

func (k attack) budget() int64 {
	if k.bytes == 0 {
		return roundBytes
	}
	return k.bytes
}

func only(end string) []string { return []string{end} }

func thrownOut() []string { return []string{calmed, hungUpOn} }

// heldStreams is how many streams an attacker holds: at full size what a client
// may have open by default, but for a few.
func heldStreams() int { return scale.Of(200, 1000) }

// streamLimit is how many streams a client may have open by default.
const streamLimit = 1024

// Clients that mean well: the measures. Each request is for something else, so
// that little is known before: about 40 bytes each.
func ordinaryRequests() attack {
	return attack{
		name: "ordinary requests", prepare: plainly, ends: only(borne),
		again: func(a *attacker) error {
			if _, err := a.get("/"); err != nil {
				return err
			}
			return a.inFlight(16)
		},
	}
}

func ordinaryTunnels() attack {
	return attack{
		name: "ordinary tunnels", ends: only(borne), holds: true,
		prepare: func(a *attacker) error { return errors.Join(plainly(a), a.tunnels(heldStreams())) },
	}
}

// attacks are all of them.
func attacks() []attack {
	return slices.Concat(resetAttacks(), headAttacks(), frameAttacks(), holdingAttacks(), upstreamAttacks())
}

// resetAttacks make streams end early.
func resetAttacks() []attack {
	return []attack{
		{
			name: "CVE-2023-44487 rapid reset", prepare: hello, bytes: 8 << 10, ends: thrownOut(), counter: "http2.too_many_premature_resets",
			again: func(a *attacker) error {
				id, err := a.connect()
				return errors.Join(err, a.WriteRSTStream(id, http2.ErrCodeCancel))
			},
		},
		{
			name: "CVE-2025-8671 resets that the server is made to send", prepare: hello, bytes: 8 << 10, ends: thrownOut(), counter: "http2.too_many_premature_resets",
			again: func(a *attacker) error {
				id, err := a.get(pathHold)
				return errors.Join(err, a.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 4)))
			},
		},
		{
			name: "CVE-2019-9514 malformed requests", prepare: hello, bytes: 4 << 10, ends: thrownOut(), counter: "http2.too_many_premature_resets",
			again: func(a *attacker) error { _, err := a.open(true, "X: 1"); return err },
		},
	}
}

// headAttacks are about heads, and how they are written.
func headAttacks() []attack {
	return []attack{
		{
			name: "CVE-2024-27316 CONTINUATION without end", bytes: 256, ends: thrownOut(), counter: "http2.header_overflow",
			prepare: func(a *attacker) error {
				return errors.Join(hello(a), a.WriteRawFrame(http2.FrameHeaders, 0, 1, []byte{0x82}))
			},
			again: func(a *attacker) error { return a.WriteContinuation(1, false, []byte{0x82}) },
		},
		{
			name: "CVE-2016-6581 HPACK: short blocks that stand for long heads", holds: true, ends: only(borne),
			prepare: func(a *attacker) error { return errors.Join(hello(a), a.cookies(heldStreams())) },
		},
		{
			name: "HPACK: long blocks of short fields", prepare: hello, ends: only(borne), counter: "http2.header_overflow",
			again: func(a *attacker) error {
				id := a.next
				a.next += 2
				return a.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndStream|http2.FlagHeadersEndHeaders, id, indexed(60<<10))
			},
		},
		{
			name: "a head without end, slowly", holds: true, ends: thrownOut(), counter: "http.gateway.downstream_rq_header_timeout",
			prepare: func(a *attacker) error {
				return errors.Join(hello(a), a.WriteRawFrame(http2.FrameHeaders, 0, 1, []byte{0x82}))
			},
		},
	}
}

// frameAttacks are frames that cost their sender little.
func frameAttacks() []attack {
	return []attack{
		{
			name: "CVE-2019-9512 PING, answers unread", prepare: hello, unread: true, bytes: 16 << 20, ends: thrownOut(), counter: "http2.outbound_control_flood",
			again: func(a *attacker) error { return a.WritePing(false, [8]byte{1}) },
		},
		{
			name: "PING, answers read", prepare: hello, ends: []string{borne, calmed, hungUpOn},
			again: func(a *attacker) error { return a.WritePing(false, [8]byte{1}) },
		},
		{
			name: "CVE-2019-9515 SETTINGS, answers unread", prepare: hello, unread: true, bytes: 16 << 20, ends: thrownOut(), counter: "http2.outbound_control_flood",
			again: func(a *attacker) error { return a.WriteSettings() },
		},
		{
			name: "SETTINGS that move the windows of all streams", ends: only(borne),
			prepare: func(a *attacker) error { return errors.Join(hello(a), a.tunnels(heldStreams())) },
			again:   func(a *attacker) error { return a.WriteSettings(windows(100)...) },
		},
		{
			name: "CVE-2019-9518 empty frames", bytes: 256, ends: thrownOut(), counter: "http2.inbound_empty_frames_flood",
			prepare: func(a *attacker) error { return errors.Join(hello(a), a.tunnels(1)) },
			again:   func(a *attacker) error { return a.WriteData(1, false, nil) },
		},
		{
			name: "CVE-2019-9513 PRIORITY", prepare: hello, bytes: 2 << 10, ends: thrownOut(), counter: "http2.inbound_priority_frames_flood",
			again: func(a *attacker) error { return a.WritePriority(3, http2.PriorityParam{StreamDep: 1}) },
		},
		{
			name: "WINDOW_UPDATE", prepare: hello, bytes: 256, ends: thrownOut(), counter: "http2.inbound_window_update_frames_flood",
			again: func(a *attacker) error { return a.WriteWindowUpdate(0, 1) },
		},
		{
			name: "frames of unknown types", prepare: hello, ends: only(borne),
			again: func(a *attacker) error { return a.WriteRawFrame(0x7f, 0, 0, nil) },
		},
	}
}

// holdingAttacks have much wait for them, or sent in small pieces.
func holdingAttacks() []attack {
	return []attack{
		{
			name: "CVE-2019-9511 a byte at a time", ends: []string{borne, calmed, hungUpOn},
			prepare: func(a *attacker) error {
				_, err := a.greetAndGet(pathEndless, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				return err
			},
			again: func(a *attacker) error { return a.WriteWindowUpdate(1, 1) },
		},
		{
			name: "windows that stay shut", holds: true, ends: only(borne),
			prepare: func(a *attacker) error {
				err := a.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				return errors.Join(err, a.gets(pathEndless, heldStreams()))
			},
		},
		{
			name: "CVE-2019-9517 windows open, answers unread", unread: true, ends: only(borne),
			prepare: func(a *attacker) error {
				err := a.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
				return errors.Join(err, a.WriteWindowUpdate(0, 1<<30), a.gets(pathEndless, heldStreams()))
			},
		},
		{
			name: "streams beyond the limit", bytes: 24 << 10, ends: thrownOut(), counter: "http2.too_many_premature_resets",
			prepare: func(a *attacker) error { return errors.Join(hello(a), a.tunnels(streamLimit)) },
			again: func(a *attacker) error {
				_, err := a.connect()
				return errors.Join(err, a.inFlight(256)) // what it makes the victim queue is another attack
			},
		},
	}
}

// upstreamAttacks are of a server that the victim is a client of.
func upstreamAttacks() []attack {
	return []attack{
		{
			name: "informational heads without end", server: true, prepare: answer, ends: only(borne),
			again: func(a *attacker) error { return a.headers(1, false, ":status: 103") },
		},
		{
			name: "CVE-2019-9518 empty frames of an upstream", server: true, bytes: 256, ends: thrownOut(), counter: "cluster.hostile.http2.inbound_empty_frames_flood",
			prepare: func(a *attacker) error { return errors.Join(answer(a), a.headers(1, false, ":status: 200")) },
			again:   func(a *attacker) error { return a.WriteData(1, false, nil) },
		},
		{
			name: "PUSH_PROMISE nobody asked for", server: true, prepare: answer, bytes: 128, ends: []string{refused, hungUpOn}, counter: "cluster.hostile.http2.goaway_sent",
			again: func(a *attacker) error { return a.WriteRawFrame(http2.FramePushPromise, 0, 1, make([]byte, 4)) },
		},
	}
}

// hello is a usual greeting; answer waits for the request that an upstream gets.
func hello(a *attacker) error { return a.greet() }

// plainly is the greeting of a client that reads all it gets: windows need not be
// opened again.
func plainly(a *attacker) error {
	a.plain = true
	return errors.Join(a.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}), a.WriteWindowUpdate(0, 1<<30))
}

func answer(a *attacker) error {
	if err := errors.Join(a.WriteSettings(), a.WriteSettingsAck(), a.out.Flush()); err != nil {
		return err
	}
	select {
	case <-a.asked:
		return nil
	case <-a.ended:
		return io.ErrUnexpectedEOF
	}
}

func (a *attacker) greetAndGet(path string, settings ...http2.Setting) (uint32, error) {
	if err := a.greet(settings...); err != nil {
		return 0, err
	}
	return a.get(path)
}

func (a *attacker) gets(path string, n int) error {
	for range n {
		if _, err := a.get(path); err != nil {
			return err
		}
	}
	return nil
}

// tunnels opens n tunnels and waits for them.
func (a *attacker) tunnels(n int) error {
	for range n {
		if _, err := a.connect(); err != nil {
			return err
		}
	}
	return a.inFlight(0)
}

// cookies asks n times with a head of nearly 60 KiB, for a few bytes each: the
// cookie is in the table after the first.
func (a *attacker) cookies(n int) error {
	const entry, times = 4000, 14
	cookie := hpack.HeaderField{Name: "cookie", Value: strings.Repeat("c", entry)}
	for range n {
		a.block.Reset()
		for _, f := range []string{":method GET", ":scheme http", ":path " + pathHold, ":authority a"} {
			name, value, _ := strings.Cut(f, " ")
			_ = a.enc.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: true}) // it would push the cookie out
		}
		for range times {
			_ = a.enc.WriteField(cookie)
		}
		err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: a.next, BlockFragment: a.block.Bytes(), EndStream: true, EndHeaders: true})
		if err != nil {
			return err
		}
		a.next += 2
	}
	return nil
}

// indexed is a block of n fields of a byte each, all in the static table:
// "accept-encoding: gzip, deflate".
func indexed(n int) []byte {
	block := make([]byte, n)
	for i := range block {
		block[i] = 0x90
	}
	return block
}

// windows is n settings, each of which moves all windows.
func windows(n int) []http2.Setting {
	var all []http2.Setting
	for i := range n {
		all = append(all, http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(65535 + i%2)})
	}
	return all
}
