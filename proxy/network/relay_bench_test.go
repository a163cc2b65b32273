package network

import (
	"io"
	"testing"
)

// BenchmarkRelayPingPong is a turn of 64 bytes through a relay and back: what a
// flow that says little waits for.
func BenchmarkRelayPingPong(b *testing.B) {
	for name, wrap := range map[string]func(Conn) Conn{"splice": bare, "chunk": chunks, "copy": plain} {
		b.Run(name, func(b *testing.B) {
			t := &testing.T{}
			r := startRelay(t, wrap, RelayOptions{})
			go io.Copy(struct{ io.Writer }{r.origin}, struct{ io.Reader }{r.origin}) // ends with the relay
			ping := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.app.Write(ping); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(r.app, ping); err != nil {
					b.Fatal(err)
				}
			}
			r.cancel(nil)
			<-r.result
		})
	}
}

// BenchmarkRelayFlow is a flow that is opened, says a word each way, and ends:
// what a relay costs before and after its bytes.
func BenchmarkRelayFlow(b *testing.B) {
	word := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		t := &testing.T{}
		r := startRelay(t, bare, RelayOptions{})
		for _, end := range [][2]io.ReadWriter{{r.app, r.origin}, {r.origin, r.app}} {
			if _, err := end[0].Write(word); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(end[1], word); err != nil {
				b.Fatal(err)
			}
		}
		_, _ = r.app.Close(), r.origin.Close() // as those who have nothing more to say
		<-r.result
	}
}
