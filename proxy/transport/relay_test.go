package transport_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"testing"

	"culvert/proxy/network"
	"culvert/proxy/transport"
	"culvert/proxy/transport/transporttest"
)

// chopped gives and takes a few bytes at a time and knows no chunks, so that
// records arrive in pieces.
type chopped struct {
	network.Conn
	turn int
}

func (c *chopped) Read(p []byte) (int, error) {
	c.turn++
	return c.Conn.Read(p[:min(len(p), 1+c.turn*7%97)])
}

// A record that arrives in pieces is read as whole ones are, and what comes
// between application data (session tickets) is not mistaken for it.
func TestRecordsInPieces(t *testing.T) {
	ca := transporttest.Authority(t)
	u := upstream(t, transporttest.Client(ca, "a.test"))
	d := downstream(t, transporttest.Server(transporttest.Issue(t, ca, "a.test")))
	a, b := transporttest.Pair(t)
	data := make([]byte, 300<<10)
	_, _ = rand.Read(data)
	var wg sync.WaitGroup
	wg.Go(func() {
		server, err := d.Wrap(t.Context(), &chopped{Conn: b}, network.NewStreamInfo(1))
		if err != nil {
			t.Error(err)
			return
		}
		if got, err := io.ReadAll(server); err != nil || !bytes.Equal(got, data) {
			t.Errorf("server: %d bytes, %v", len(got), err)
		}
		for rest := data; len(rest) > 0; rest = rest[min(len(rest), 5000):] {
			_, _ = server.Write(rest[:min(len(rest), 5000)])
		}
		_ = server.CloseWrite()
		_ = server.Close()
	})
	client, err := u.Wrap(t.Context(), &chopped{Conn: a}, transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for {
		chunk, err := client.(network.ChunkReader).ReadChunk()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
		got = append(got, chunk.Data...)
		chunk.Release()
	}
	if !bytes.Equal(got, data) {
		t.Errorf("client: %d bytes", len(got))
	}
	_ = client.Close()
	wg.Wait()
}

// relayed is a TLS client, a relay that takes the TLS off, and a raw origin.
func relayed(t *testing.T) (client network.Conn, clientRaw, origin *network.Socket, result <-chan network.RelayResult) {
	t.Helper()
	e := plain(t)
	out, origin := transporttest.Pair(t)
	done := make(chan network.RelayResult, 1)
	var wg sync.WaitGroup
	wg.Go(func() { // ends with either end, which the test aborts
		done <- network.Relay(t.Context(), e.server, out, network.RelayOptions{Meter: &e.info.Meter})
	})
	t.Cleanup(func() { e.client.Abort(nil); wg.Wait() })
	return e.client, e.clientRaw, origin, done
}

// Each direction ends on its own, and after both all is closed.
func TestRelayHalfClose(t *testing.T) {
	client, _, origin, result := relayed(t)
	data := make([]byte, 2<<20)
	_, _ = rand.Read(data)
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(origin); len(got) > 0 || err != nil {
		t.Fatalf("origin: %d bytes, %v", len(got), err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = origin.Write(data)
		_ = origin.CloseWrite()
	})
	if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, data) {
		t.Errorf("client: %d bytes, %v", len(got), err)
	}
	wg.Wait()
	if r := <-result; r.Err != nil || r.Downstream != network.EndFIN || r.Upstream != network.EndFIN {
		t.Errorf("%+v", r)
	}
}

// A reset behind TLS is a reset in front of it, after the bytes before it.
func TestRelayReset(t *testing.T) {
	client, _, origin, result := relayed(t)
	if _, err := origin.Write([]byte("before")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	origin.Abort(nil)
	if _, err := client.Read(make([]byte, 1)); !network.IsReset(err) || errors.Is(err, transport.ErrTruncated) {
		t.Errorf("client: %v", err)
	}
	if r := <-result; r.Upstream != network.EndReset || !network.IsReset(r.Err) {
		t.Errorf("%+v", r)
	}
}

// What looks like an end on the wire, but is none in TLS, resets the origin.
func TestRelayTruncation(t *testing.T) {
	client, clientRaw, origin, result := relayed(t)
	if _, err := client.Write([]byte("half a")); err != nil {
		t.Fatal(err)
	}
	if err := clientRaw.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(origin)
	if string(got) != "half a" || !network.IsReset(err) {
		t.Errorf("origin: %q, %v", got, err)
	}
	if r := <-result; r.Downstream != network.EndReset || !errors.Is(r.Err, transport.ErrTruncated) {
		t.Errorf("%+v", r)
	}
}
