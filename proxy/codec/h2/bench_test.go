package h2_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
)

// The benchmarks move bytes client → relay → origin, or back, over loopback:
// through one HTTP/2 connection whose far end relays each stream to a socket,
// and through a plain relay of one socket per stream that copies 128 KiB at a
// time. Both run in one process; the ratio is what counts.

const benchChunk = 128 << 10

// source writes n bytes in chunks.
func source(b *testing.B, w io.Writer, n int) {
	buf := make([]byte, benchChunk)
	for n > 0 {
		k, err := w.Write(buf[:min(n, len(buf))])
		if err != nil {
			b.Error(err)
			return
		}
		n -= k
	}
}

// sink reads n bytes.
func sink(b *testing.B, r io.Reader, n int) {
	buf := make([]byte, benchChunk)
	for n > 0 {
		k, err := r.Read(buf)
		if err != nil {
			b.Error(err)
			return
		}
		n -= k
	}
}

// benchOrigin is the far end of a tunnel: it sinks, or sends without end.
func benchOrigin(b *testing.B, down bool) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { // ends with its connection
				defer c.Close()
				buf := make([]byte, benchChunk)
				for err == nil {
					if down {
						_, err = c.Write(buf)
					} else {
						_, err = c.Read(buf)
					}
				}
			})
		}
	})
	b.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func dialSocket(b *testing.B, addr string) network.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	return socket(b, c)
}

// streamConn is a stream as a Conn, as the tunnel makes it.
type streamConn struct {
	codec.Stream
	network.ChunkReader
	network.ChunkWriter
}

func (c streamConn) Abort(cause error)   { c.Reset(codec.CodeConnect, cause) }
func (c streamConn) LocalAddr() net.Addr { return c.LocalAddress() }
func (c streamConn) RemoteAddr() net.Addr {
	return c.RemoteAddress()
}
func (c streamConn) SetDeadline(time.Time) error { return nil } // Relay sets none

func h2Relay(b *testing.B, origin string, streams int) []io.ReadWriter {
	cc := pair(b, h2.Config{}, h2.Config{}, func(ctx context.Context, s codec.ServerStream) {
		up := dialSocket(b, origin)
		accept(b, s)
		network.Relay(ctx, streamConn{s, s.(network.ChunkReader), s.(network.ChunkWriter)}, up, network.RelayOptions{Meter: new(network.Meter)})
	})
	var out []io.ReadWriter
	for range streams {
		out = append(out, open(b, cc))
	}
	return out
}

// copyRelay is a relay that copies, one socket per stream.
func copyRelay(b *testing.B, origin string, streams int) []io.ReadWriter {
	var out []io.ReadWriter
	var wg sync.WaitGroup
	var all []network.Conn
	for range streams {
		near, far := socketPair(b)
		up := dialSocket(b, origin)
		all = append(all, near, far, up)
		pump := func(dst io.Writer, src io.Reader) { // ends with its sockets
			buf := make([]byte, benchChunk)
			for {
				n, err := src.Read(buf)
				if err != nil {
					return
				}
				if _, err := dst.Write(buf[:n]); err != nil {
					return
				}
			}
		}
		wg.Go(func() { pump(up, far) })
		wg.Go(func() { pump(far, up) })
		out = append(out, near)
	}
	b.Cleanup(func() {
		for _, c := range all {
			c.Abort(errTestOver)
		}
		wg.Wait()
	})
	return out
}

func BenchmarkRelay(b *testing.B) {
	relays := map[string]func(*testing.B, string, int) []io.ReadWriter{"h2": h2Relay, "copy": copyRelay}
	for _, down := range []bool{false, true} {
		for _, streams := range []int{1, 8} {
			for _, relay := range []string{"h2", "copy"} {
				name := fmt.Sprintf("%s/streams=%d/%s", map[bool]string{false: "up", true: "down"}[down], streams, relay)
				b.Run(name, func(b *testing.B) {
					ends := relays[relay](b, benchOrigin(b, down), streams)
					b.SetBytes(benchChunk * int64(streams))
					b.ReportAllocs()
					b.ResetTimer()
					var wg sync.WaitGroup
					for _, e := range ends {
						wg.Go(func() {
							if down {
								sink(b, e, b.N*benchChunk)
							} else {
								source(b, e, b.N*benchChunk)
							}
						})
					}
					wg.Wait()
					b.StopTimer()
				})
			}
		}
	}
}

// BenchmarkPingPong is one small message there and back.
func BenchmarkPingPong(b *testing.B) {
	cc := pair(b, h2.Config{}, h2.Config{}, echo)
	for _, streams := range []int{1, 64} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			b.ReportAllocs()
			var wg sync.WaitGroup
			for range streams {
				st := open(b, cc)
				wg.Go(func() {
					buf := make([]byte, 64)
					for range b.N {
						if _, err := st.Write(buf); err != nil {
							b.Error(err)
							return
						}
						if _, err := io.ReadFull(st, buf); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// BenchmarkOpen is a whole tunnel: open, one byte there and back, ends.
func BenchmarkOpen(b *testing.B) {
	cc := pair(b, h2.Config{}, h2.Config{}, echo)
	b.ReportAllocs()
	for b.Loop() {
		st, err := cc.OpenStream(context.Background(), connectTo("example.com:443"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := st.ReadResponse(context.Background()); err != nil {
			b.Fatal(err)
		}
		write(b, st, []byte{1})
		_ = st.CloseWrite()
		if _, err := io.Copy(io.Discard, st); err != nil {
			b.Fatal(err)
		}
		_ = st.Close()
	}
}
